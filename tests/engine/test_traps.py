"""Where sam2 1.1.0 crashes, misleads or depends on hardware, we do what it documents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from _scale import FULL, scaled
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.decoder import Decoded
from napari_sam_amg.engine.encoder import model_input
from napari_sam_amg.engine.grid import Crop
from napari_sam_amg.engine.scoring import Cut, Scorer
from napari_sam_amg.engine.upsampling import Upsampler
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters
from parity_tools import binary, reference


@pytest.fixture(scope="module")
def image(sample_images):
    return sample_images[0][100:260, 100:300]


EVERYTHING = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def test_no_mask_of_area_0_even_with_thresholds_at_0(small, image):
    low = {"mask_threshold": 2.0, "points_per_side": 8, **EVERYTHING}
    records = AutomaticMaskGenerator(small, **low).generate(image)
    assert all(r["area"] > 0 for r in records)
    proposals = AutomaticMaskGenerator(small, **low).propose(image)
    assert 0 < len(proposals) < 3 * 8 * 8  # most masks have no pixel above this cutoff
    assert (proposals.store.areas > 0).all()


@pytest.mark.parametrize("layers", range(5 if FULL else 3))
@pytest.mark.parametrize("use_m2m", [False, True])
def test_nothing_found_is_an_empty_result(small, image, layers, use_m2m):
    generator = AutomaticMaskGenerator(
        small, pred_iou_thresh=2.0, points_per_side=2, crop_n_layers=layers, use_m2m=use_m2m
    )
    assert generator.generate(image[:60, :60]) == []
    masks = generator.segment(image[:60, :60])
    assert masks.to_labels().shape == (60, 60)
    assert not masks.to_labels().any()
    assert len(masks.features) == 0
    assert list(masks.features.columns)[:2] == ["label", "area"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 2), (9, 200)])
def test_tiny_images_under_deep_crop_layers(small, shape):
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    generator = AutomaticMaskGenerator(small, points_per_side=1, crop_n_layers=3, **EVERYTHING)
    masks = generator.segment(image)
    assert masks.shape == shape
    if shape == (1, 1):
        assert masks.provenance["skipped_crops"] > 0


def test_min_mask_region_area_works_on_a_cpu_as_documented(nano, image):
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
    from sam2.utils.amg import MaskData, mask_to_rle_pytorch

    chosen = {
        "points_per_side": 6,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 0.95,
    }
    smallest = 60
    records = reference(nano, image, chosen)
    masks = torch.tensor(np.array([binary(r) for r in records]))
    boxes = torch.tensor([r["bbox"] for r in records])
    boxes[:, 2:] += boxes[:, :2]
    data = MaskData(
        rles=mask_to_rle_pytorch(masks), boxes=boxes.long(), row=torch.arange(len(records))
    )
    data = SAM2AutomaticMaskGenerator.postprocess_small_regions(data, smallest, 0.95)
    from sam2.utils.amg import rle_to_mask

    expected = [(int(i), rle_to_mask(r)) for i, r in zip(data["row"], data["rles"], strict=True)]
    found = AutomaticMaskGenerator(
        nano, min_mask_region_area=smallest, output_mode="uncompressed_rle", **chosen
    ).generate(image)
    expected = [(i, m) for i, m in expected if m.any()]
    assert len(found) == len(expected) > 3
    changed = 0
    for record, (row, mask) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(binary(record), mask)
        assert record["predicted_iou"] == pytest.approx(records[row]["predicted_iou"], abs=1e-4)
        assert record["area"] == mask.sum()
        changed += int((mask != binary(records[row])).any())
    assert changed > 0


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"point_grids": [[(0.5, 0.5)]], "crop_n_layers": 1}, "2"),
        ({"point_grids": [[(0.5, 1.5)]]}, "between 0 and 1"),
        ({"point_grids": [[]]}, "empty"),
        ({"stability_thresh": 0.5}, "stability_score_thresh"),
        ({"points_per_side": None}, "points_per_side"),
        ({"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2}, "layer"),
    ],
)
def test_arguments_that_sam2_fails_on_late_or_swallows(nano, chosen, message):
    with pytest.raises(ParameterError, match=message):
        AutomaticMaskGenerator(nano, **chosen)


def test_point_grids_alone_are_enough(small, image):
    grid = np.random.default_rng(0).random((12, 2))
    records = AutomaticMaskGenerator(small, point_grids=[grid], **EVERYTHING).generate(image)
    asked = np.float32(grid * [image.shape[1], image.shape[0]])
    for record in records:
        assert np.abs(asked - np.float32(record["point_coords"][0])).sum(1).min() < 1e-3


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.repeat(x[..., None], 3, axis=2),
        lambda x: x[..., None],
        lambda x: np.dstack([x, x, x, np.full_like(x, 7)]),
        lambda x: np.asfortranarray(x),
    ],
    ids=["rgb", "one channel", "rgba", "fortran"],
)
def test_layouts_that_sam2_fails_on(small, image, change):
    generator = AutomaticMaskGenerator(small, points_per_side=4, **EVERYTHING)
    expected = generator.generate(image)
    found = generator.generate(change(image))
    assert len(expected) == len(found) > 0
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a["segmentation"], b["segmentation"])


@pytest.mark.parametrize(
    ("change", "contrast"),
    [
        (lambda x: x.astype(np.float32), (0, 255)),
        (lambda x: x.astype(np.float64) / 255, (0, 1)),
        (lambda x: x.astype(np.uint16) * 257, (0, 65535)),
    ],
    ids=["float 0-255", "float 0-1", "uint16"],
)
def test_types_that_sam2_mis_scales(nano, image, change, contrast):
    plain = AutomaticMaskGenerator(nano).preview(image)
    np.testing.assert_array_equal(
        AutomaticMaskGenerator(nano, contrast=contrast).preview(change(image)), plain
    )


def test_not_a_number_does_not_empty_the_result(small, image):
    holed = image.astype(np.float32)
    holed[5, 5] = np.nan
    masks = AutomaticMaskGenerator(small, points_per_side=6, **EVERYTHING).segment(holed)
    assert len(masks) > 0
    assert masks.provenance["input"]["nan_count"] == 1


def test_stability_counts_beyond_the_range_of_int16():
    shape = (2, 40_000)  # sam2 sums each row in int16: more than 32,767 wrap around
    scorer = Scorer(
        Upsampler((8, 8), shape, size_kept=shape, device=torch.device("cpu")),
        shape=shape,
        crop=Crop((0, 0, shape[1], shape[0]), 0),
        crop_index=0,
        parameters=AmgParameters(),
        cut=Cut(0.8, 0.95),
    )
    first = torch.zeros(1, dtype=torch.int64)
    decoded = Decoded(torch.full((1, 8, 8), 5.0), first, first, torch.ones(1, 1))
    chunk = scorer.candidates(decoded, np.zeros((1, 2), np.float32))
    assert [(row.area_high, row.area_low) for row in chunk.rows] == [(80_000, 80_000)]
    assert chunk.store.areas.tolist() == [80_000]


@pytest.mark.parametrize("shape", [(100, 160), (520, 696), (700, 333)])
def test_the_model_input_is_that_of_sam2(shape):
    from sam2.utils.transforms import SAM2Transforms

    image = np.random.default_rng(0).integers(0, 255, (*shape, 3), dtype=np.uint8)
    expected = SAM2Transforms(512, 0.0)(image)
    tensor, frame = model_input(image, 512, "stretch")
    assert torch.equal(tensor[0], expected)
    assert frame == shape


def test_the_object_score_is_ignored_as_in_sam2(small, image):
    generator = AutomaticMaskGenerator(small, points_per_side=4, **EVERYTHING)
    expected = generator.generate(image)
    head = small.sam_mask_decoder.pred_obj_score_head
    bias = head.layers[-1].bias
    before = bias.detach().clone()
    try:
        with torch.no_grad():
            bias.sub_(1000)
        found = generator.generate(image)
    finally:
        with torch.no_grad():
            bias.copy_(before)
    assert len(found) == len(expected) > 0


@pytest.mark.parametrize("case", range(scaled(200)))
def test_images_of_any_size_with_crops(small, sample_images, case):
    rng = np.random.default_rng((4, case))
    height, width = rng.integers(1, 301, 2)
    layers = int(rng.integers(0, 3))
    image = sample_images[0][:height, :width]
    parameters = {**EVERYTHING, "points_per_side": 2, "crop_n_layers": layers}
    masks = AutomaticMaskGenerator(small, **parameters).segment(image)
    assert masks.shape == (height, width)
    assert (masks.areas > 0).all()
    inside = masks.crop_boxes[:, :2] + masks.crop_boxes[:, 2:]
    assert (masks.crop_boxes[:, 2:] > 0).all()
    assert (inside <= [width, height]).all()
