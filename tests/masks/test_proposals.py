"""`Proposals.select` and records against sam2's own generator on made-up answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from _masks import Scene
from _scale import scaled
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals, nms, regions
from napari_sam_amg.parameters import AmgParameters


def random_thresholds(rng):
    """Thresholds on the grid that the scores lie on, so that equality is met often."""
    return {
        "pred_iou_thresh": float(rng.choice([0.0, 0.5, 0.55, 0.7, 0.8, 0.95])),
        "stability_score_thresh": float(rng.choice([0.0, 0.5, 0.9, 0.95, 1.0])),
        "box_nms_thresh": float(rng.choice([0.0, 0.3, 0.5, 0.7, 1.0])),
        "crop_nms_thresh": float(rng.choice([0.0, 0.3, 0.5, 0.7, 1.0])),
        "min_mask_region_area": int(rng.choice([0, 0, 2, 10, 100])),
        "min_area": [None, 0, 1, 5, 40][rng.integers(5)],
        "max_area": [None, 5000, 400, 60][rng.integers(4)],
        "exclude_border": bool(rng.random() < 0.2),
    }


def random_scene(rng):
    layers = int(rng.choice([0, 0, 1, 2]))
    parameters = AmgParameters(
        # Of 21 crops, where few points are already many.
        points_per_side=int(rng.integers(4, 7)) if layers < 2 else 4,
        points_per_batch=int(rng.choice([1, 5, 64])),
        crop_n_layers=layers,
        crop_n_points_downscale_factor=int(rng.choice([1, 2])) if layers < 2 else 1,
        crop_overlap_ratio=float(rng.choice([0.0, 0.2, 512 / 1500])),
        mask_threshold=float(rng.choice([0.0, 0.25])),
        output_mode=str(rng.choice(["binary_mask", "uncompressed_rle", "coco_rle"])),
    )
    shape = tuple(rng.integers(30, 130, 2).tolist())
    return Scene(rng, shape, parameters)


def assert_same_records(found, expected):
    assert len(found) == len(expected)
    for record, reference in zip(found, expected, strict=True):
        assert list(record) == list(reference)
        mask, reference_mask = record.pop("segmentation"), reference.pop("segmentation")
        if isinstance(reference_mask, np.ndarray):
            assert mask.dtype == reference_mask.dtype
            np.testing.assert_array_equal(mask, reference_mask)
        else:
            assert mask == reference_mask
        assert record == reference
        for name, value in reference.items():
            assert type(record[name]) is type(value), name
            if isinstance(value, list) and not isinstance(value[0], list):
                assert [type(v) for v in record[name]] == [type(v) for v in value]


@pytest.mark.parametrize("seed", range(scaled(100)))
def test_select_equals_sam2(seed, monkeypatch):
    """As they were found, and prepared, wholly or in part, to be selected from again and again."""
    rng = np.random.default_rng([6, seed])
    scene = random_scene(rng)
    proposals, prepared, partly = (scene.proposals() for _ in range(3))
    prepared.prepare()
    monkeypatch.setattr(nms, "_MOST_PAIRS", 30)
    partly.prepare()
    for _ in range(6):
        thresholds = random_thresholds(rng)
        parameters = AmgParameters(**{**dict(scene.parameters), **thresholds})
        expected = scene.oracle_records(parameters)
        for ours in (proposals, prepared, partly):
            records = [dict(record) for record in expected]
            assert_same_records(ours.select(**thresholds).records(), records)


def test_scenes_are_hard():
    """What the comparison above meets: every step removes something, and ties occur."""
    rng = np.random.default_rng(8)
    parameters = AmgParameters(points_per_side=6, crop_n_layers=1)
    proposals = Scene(rng, (101, 120), parameters).proposals()
    free = {
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
        "box_nms_thresh": 1.0,
        "crop_nms_thresh": 1.0,
    }
    everything = len(proposals.select(**free))
    assert everything < len(proposals)  # near the edge of a crop
    for change in (
        {"pred_iou_thresh": 0.8},
        {"stability_score_thresh": 0.95},
        {"box_nms_thresh": 0.7},
        {"crop_nms_thresh": 0.7},
        {"min_area": 20},
        {"max_area": 2000},
        {"exclude_border": True},
    ):
        assert 0 < len(proposals.select(**{**free, **change})) < everything, change
    assert len(set(proposals.predicted_iou.tolist())) < 12
    assert (proposals.store.areas == 1).any()


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("layers", [0, 1])
def test_more_boxes_than_torchvision_takes_at_once(layers, prepared):
    """Above 1,000 boxes torchvision goes another way, whose order at ties is its own."""
    rng = np.random.default_rng([9, layers])
    parameters = AmgParameters(
        points_per_side=20,
        crop_n_layers=layers,
        crop_n_points_downscale_factor=2,
        box_nms_thresh=1.0,
        crop_nms_thresh=0.9,
        pred_iou_thresh=0.0,
        stability_score_thresh=0.0,
        output_mode="coco_rle",
    )
    scene = Scene(rng, (45, 52), parameters)
    proposals = scene.proposals()
    if prepared:
        proposals.prepare()
    masks = proposals.select()
    assert len(masks) > (1000 if layers == 0 else 100)
    assert_same_records(masks.records(), scene.oracle_records(parameters))


@pytest.mark.parametrize("floor", [0.5, 0.55, 0.8])
def test_floor(floor):
    scene = random_scene(np.random.default_rng(10))
    everything, above = scene.proposals(), scene.proposals(floor=floor)
    assert len(above) < len(everything)
    assert above.nbytes < everything.nbytes
    for threshold in (floor, 0.9):
        one = above.select(pred_iou_thresh=threshold, min_area=1)
        other = everything.select(pred_iou_thresh=threshold, min_area=1)
        assert_same_records(one.records(), other.records())
    for threshold in (0.0, floor - 0.01):
        with pytest.raises(ParameterError, match=f"floor={floor}"):
            above.select(pred_iou_thresh=threshold)


@pytest.fixture
def few():
    store = MaskStore.from_windows(
        (100, 100),
        [
            (10, 10, np.ones((20, 20), dtype=bool)),
            (11, 10, np.ones((20, 20), dtype=bool)),
            (50, 50, np.ones((30, 30), dtype=bool)),
        ],
    )
    table = MaskTable.unknown(store)
    table = MaskTable([0.9, 0.8, 0.85], table.stability_score, np.zeros((3, 2)), table.crop_boxes)
    return Proposals(
        store,
        table,
        area_high=[90, 100, 0],
        area_low=[100, 100, 0],
        crop_index=[0, 0, 0],
        crop_boxes_all=[(0, 0, 100, 100)],
        parameters=AmgParameters(
            pred_iou_thresh=0.0, stability_score_thresh=0.0, overlap="largest_on_top"
        ),
        floor=0.0,
        provenance={"parameters": {"pred_iou_thresh": 0.0}, "date": "2000-01-01"},
    )


def test_a_suppressed_candidate_returns_with_its_suppressor_gone(few):
    assert few.select().areas.tolist() == [400, 900]
    np.testing.assert_array_equal(few.select().predicted_iou, np.float32([0.9, 0.85]))
    without = few.select(stability_score_thresh=0.95)
    np.testing.assert_array_equal(without.predicted_iou, np.float32([0.8]))


def test_stability_is_derived_and_nan_fails_only_a_threshold(few):
    np.testing.assert_array_equal(few.stability_score, np.float32([0.9, 1.0, np.nan]))
    assert len(few.select(stability_score_thresh=0.01)) == 1
    assert np.isnan(few.select().stability_score).sum() == 1


@pytest.mark.parametrize(("high", "threshold"), [(95, 0.95), (90, 0.9), (80, 0.8), (60, 0.6)])
def test_stability_is_compared_in_float32(high, threshold):
    """As torch does, where the quotient and the threshold may both round down."""
    kept = (torch.tensor(high).int() / torch.tensor(100).int() >= threshold).item()
    store = MaskStore.from_windows((9, 9), [(0, 0, np.ones((4, 4), dtype=bool))])
    proposals = Proposals(
        store,
        MaskTable.unknown(store),
        area_high=[high],
        area_low=[100],
        crop_index=[0],
        crop_boxes_all=[(0, 0, 9, 9)],
        parameters=AmgParameters(pred_iou_thresh=0.0),
        floor=0.0,
    )
    assert kept
    assert len(proposals.select(stability_score_thresh=threshold)) == 1


@pytest.mark.parametrize(
    ("box", "crop", "areas"),
    [(0.3, 0.9, [400, 360]), (0.3, 0.7, [400]), (0.5, 0.5, [400])],
)
def test_cleaned_masks_are_compared_by_the_larger_threshold(box, crop, areas):
    """An island keeps two boxes apart; once it is gone they overlap by about 0.9."""
    plain = np.ones((20, 20), dtype=bool)
    split = np.zeros((90, 90), dtype=bool)
    split[:20, :18] = split[89, 89] = True
    store = MaskStore.from_windows((100, 100), [(5, 5, plain), (5, 5, split)])
    proposals = Proposals(
        store,
        MaskTable.unknown(store, predicted_iou=[0.85, 0.9]),
        area_high=[1, 1],
        area_low=[1, 1],
        crop_index=[0, 0],
        crop_boxes_all=[(0, 0, 100, 100)],
        parameters=AmgParameters(min_mask_region_area=5),
        floor=0.0,
    )
    masks = proposals.select(box_nms_thresh=box, crop_nms_thresh=crop)
    assert masks.areas.tolist() == areas


def test_result_carries_rule_mode_and_provenance(few):
    kept, changed = few.select(), few.select(overlap="discard_overlaps", min_area=7)
    assert kept.overlap == "largest_on_top"
    assert changed.overlap == "discard_overlaps"
    assert changed.provenance["date"] == "2000-01-01"
    assert changed.provenance["parameters"]["min_area"] == 7
    assert few.provenance["parameters"] == {"pred_iou_thresh": 0.0}
    assert few.select(min_area=7).provenance["parameters"]["overlap"] == "largest_on_top"


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"pred_iou_tresh": 0.5}, "did you mean 'pred_iou_thresh'"),
        ({"overlaps": "discard_overlaps"}, "did you mean 'overlap'"),
        ({"zzzzzz": 0.5}, "select takes pred_iou_thresh"),
        ({"mask_threshold": 0.5}, "mask_threshold acts on the model's output"),
        ({"stability_score_offset": 0.5}, "needs a new run"),
        ({"points_per_side": 5}, "needs a new run"),
        ({"min_area": -1}, "min_area=-1"),
        ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh=nan"),
        ({"box_nms_thresh": "0.5"}, "box_nms_thresh='0.5'"),
        ({"min_area": 5, "max_area": 4}, "min_area=5 is larger"),
        ({"overlap": "none"}, "overlap='none'"),
    ],
)
def test_refused(few, thresholds, message):
    with pytest.raises(ParameterError, match=message):
        few.select(**thresholds)


def test_columns_must_fit():
    store = MaskStore.from_windows((9, 9), [(0, 0, np.ones((1, 1), dtype=bool))])
    good = {
        "area_high": [1],
        "area_low": [1],
        "crop_index": [0],
        "crop_boxes_all": [(0, 0, 9, 9)],
        "parameters": AmgParameters(),
        "floor": 0.0,
    }
    assert len(Proposals(store, MaskTable.unknown(store), **good)) == 1
    for name in ("area_high", "area_low", "crop_index"):
        with pytest.raises(ValueError, match="columns of"):
            Proposals(store, MaskTable.unknown(store), **{**good, name: [1, 1]})


def test_none():
    store = MaskStore.from_windows((9, 9), [])
    proposals = Proposals(
        store,
        MaskTable.unknown(store),
        area_high=[],
        area_low=[],
        crop_index=[],
        crop_boxes_all=[(0, 0, 9, 9), (0, 0, 5, 5)],
        parameters=AmgParameters(min_mask_region_area=5),
        floor=0.0,
    )
    masks = proposals.select()
    assert len(masks) == 0
    assert masks.shape == (9, 9)


def test_cleaned_masks_are_kept_for_the_next_selection(few, monkeypatch):
    """Only candidates that were not cleaned before are, and rows that come later fit in."""
    cleaned = []
    clean = regions.clean

    def counted(window, **keywords):
        cleaned.append(window.shape)
        return clean(window, **keywords)

    monkeypatch.setattr("napari_sam_amg.masks.cleaned.clean", counted)
    expected = [few.select(min_mask_region_area=3, pred_iou_thresh=t) for t in (0.87, 0.0)]
    first = len(cleaned)
    assert 0 < first <= 3
    again = [few.select(min_mask_region_area=3, pred_iou_thresh=t) for t in (0.87, 0.0)]
    assert len(cleaned) == first
    fresh = copy.deepcopy(few).select(min_mask_region_area=3)
    for one, other in zip([*expected, expected[1]], [*again, fresh], strict=True):
        assert one.areas.tolist() == other.areas.tolist()
        np.testing.assert_array_equal(one.to_labels(), other.to_labels())
