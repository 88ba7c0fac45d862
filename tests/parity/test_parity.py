"""Our records equal those of sam2's own generator, one by one, for many parameter sets."""

from __future__ import annotations

import numpy as np
import pytest

from _scale import FULL
from napari_sam_amg import AutomaticMaskGenerator
from parity_tools import compare, random_hiera_tiny, random_parameters, reference

SIZES = [(96, 131), (200, 200), (57, 240), (260, 301), (512, 512)]


def _cases(seed: int, ci: int, full: int) -> list[tuple[int, dict]]:
    rng = np.random.default_rng(seed)
    return [(i, random_parameters(rng)) for i in range(full if FULL else ci)]


def _check(model, image: np.ndarray, parameters: dict) -> None:
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
