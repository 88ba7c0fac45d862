"""Our records equal those of sam2's own generator, one by one, for many parameter sets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from _scale import FULL
from napari_sam_amg import AutomaticMaskGenerator
from parity_tools import compare, random_hiera_tiny, random_parameters, reference

SIZES = [(96, 131), (200, 200), (57, 240), (260, 301), (512, 512)]


def _cases(seed: int, ci: int, full: int) -> list[tuple[int, dict]]:
    rng = np.random.default_rng(seed)
    return [(i, random_parameters(rng)) for i in range(full if FULL else ci)]


def _check(model, image: np.ndarray, parameters: dict) -> int:
    """Compare with sam2; return how many masks there were to compare."""
    expected = reference(model, image, parameters)
    found = AutomaticMaskGenerator(model, **parameters).generate(image)
    result = compare(expected, found, parameters)
    assert result.unexplained == 0
    assert result.score_difference <= 1e-3
    if result.counts[0] == result.counts[1] and result.f1(0.99) == 1:
        assert result.same_order
    assert result.f1(0.99) >= 0.999
    assert result.mean_iou >= 0.999
    for a, b in zip(expected, found, strict=True):
        assert list(a) == list(b)
        assert [type(v) for v in a.values()] == [type(v) for v in b.values()]
        for key in ("bbox", "crop_box", "point_coords"):
            np.testing.assert_allclose(a[key], b[key], atol=1e-3)
        assert a["area"] == pytest.approx(b["area"], rel=0.01, abs=2)
    return len(expected)


@pytest.fixture(scope="module")
def tiny():
    return random_hiera_tiny(seed=1)


@pytest.mark.parametrize(("index", "parameters"), _cases(11, 12, 60))
def test_embedded_model(nano, sample_images, index, parameters):
    height, width = SIZES[index % len(SIZES)]
    image = sample_images[index % len(sample_images)][:height, :width]
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    _check(nano, image, parameters)


@pytest.mark.parametrize(("index", "parameters"), _cases(12, 8, 40))
def test_random_hiera_tiny(tiny, sample_images, index, parameters):
    # Random weights give ragged masks as large as the image: few prompts say enough.
    if parameters.get("points_per_side"):
        parameters = parameters | {"points_per_side": min(parameters["points_per_side"], 4)}
        parameters["crop_n_points_downscale_factor"] = 1
    parameters = parameters | {"crop_n_layers": min(parameters["crop_n_layers"], 1)}
    image = sample_images[index % len(sample_images)][:150, :171]
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    _check(tiny, image, parameters)


ALL = {"points_per_side": 8, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
NAMED = {
    "one mask": {"multimask_output": False},
    "mask to mask": {"use_m2m": True},
    "mask to mask, one mask": {"use_m2m": True, "multimask_output": False},
    "one layer of crops": {"crop_n_layers": 1, "points_per_side": 5},
    "two layers of crops": {"crop_n_layers": 2, "points_per_side": 4},
    "fewer points in crops": {"crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "own points": {
        "points_per_side": None,
        "point_grids": [np.random.default_rng(5).random((60, 2))],
    },
    "duplicates kept": {"box_nms_thresh": 1.0, "points_per_side": 5},
    "usual thresholds": {
        "points_per_side": 20,
        "pred_iou_thresh": 0.3,
        "stability_score_thresh": 0.4,
    },
}


@pytest.mark.parametrize("name", NAMED)
def test_every_way_of_finding_masks_finds_some(nano, sample_images, name):
    image = np.repeat(sample_images[0][100:360, :313, None], 3, axis=2)
    assert _check(nano, image, ALL | NAMED[name]) > 4


def test_logits_are_clamped_before_they_are_hints(sample_images):
    from napari_sam_amg.engine.decoder import Decoder
    from napari_sam_amg.engine.encoder import encode
    from napari_sam_amg.parameters import AmgParameters

    model = random_hiera_tiny(seed=1, spread=400.0)
    image = np.repeat(sample_images[0][:150, :171, None], 3, axis=2)
    parameters = ALL | {"points_per_side": 3, "use_m2m": True, "stability_score_offset": 20.0}
    with torch.no_grad():
        decoder = Decoder(model, encode(model, image, "stretch"), AmgParameters())
        logits = decoder.decode(np.array([[40, 50]], dtype=np.float32)).logits
    assert float(logits.abs().max()) > 100
    assert _check(model, image, parameters) > 0
