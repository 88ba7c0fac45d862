"""The features table against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from _masks import brute_force, random_stack
from _scale import scaled
from napari_sam_amg.masks import Masks, nesting

COLUMNS = """
    label area bbox_x0 bbox_y0 bbox_w bbox_h point_input_x point_input_y predicted_iou
    stability_score crop_box_x0 crop_box_y0 crop_box_w crop_box_h area_visible
    overlap_fraction touches_border parent
""".split()  # noqa: SIM905


def parents_by_counting(stack):
    flat = stack.reshape(len(stack), np.prod(stack.shape[1:])).astype(np.int64)
    common, areas = flat @ flat.T, flat.sum(1)
    found = []
    for i in range(len(stack)):
        holders = [
            (areas[j], j + 1)
            for j in range(len(stack))
            if areas[j] > areas[i] and 100 * common[i, j] >= 95 * areas[i]
        ]
        found.append(min(holders)[1] if holders else 0)
    return found


@pytest.mark.parametrize("seed", range(scaled(200)))
def test_against_brute_force(seed):
    rng = np.random.default_rng([seed, 2])
    shape = tuple(rng.integers(1, 50, 2).tolist())
    count = int(rng.integers(1, 40))
    stack = random_stack(rng, count, shape)
    scores = rng.random((2, count)).astype(np.float32)
    points = rng.random((count, 2)).astype(np.float32)
    crops = rng.integers(0, 50, (count, 4))
    masks = Masks.from_arrays(
        stack, predicted_iou=scores[0], stability_score=scores[1], points=points, crop_boxes=crops
    )
    table = masks.features
    assert list(table.columns) == COLUMNS
    assert table.index.tolist() == list(range(count))
    others = stack.sum(0) > 1
    ring = np.ones(shape, dtype=bool)
    ring[1:-1, 1:-1] = False
    for i, mask in enumerate(stack):
        ys, xs = np.nonzero(mask)
        row = table.iloc[i]
        assert row["label"] == i + 1
        assert row["area"] == len(ys)
        box = [xs.min(), ys.min(), xs.max() - xs.min(), ys.max() - ys.min()]
        assert row["bbox_x0":"bbox_h"].tolist() == box == masks.bboxes[i].tolist()
        assert row["point_input_x":"point_input_y"].tolist() == points[i].tolist()
        assert row["predicted_iou"] == scores[0, i]
        assert row["stability_score"] == scores[1, i]
        assert row["crop_box_x0":"crop_box_h"].tolist() == crops[i].tolist()
        assert row["overlap_fraction"] == (mask & others).sum() / len(ys)
        assert row["touches_border"] == (mask & ring).any()
    assert table["parent"].tolist() == parents_by_counting(stack)
    assert table["area_visible"].sum() == (stack.any(0)).sum()


@pytest.mark.parametrize("limit", [1 << 20, 1])
@pytest.mark.parametrize("seed", range(scaled(100)))
def test_parts_of_a_prepared_store(seed, limit, monkeypatch):
    """Also where there are too many pairs to keep, and where a mask is taken twice."""
    monkeypatch.setattr(nesting, "_PAIRS_AT_ONCE", limit)
    rng = np.random.default_rng([seed, 5])
    stack = random_stack(rng, 25, tuple(rng.integers(1, 50, 2).tolist()))
    masks = Masks.from_arrays(stack)
    masks.store.prepare()
    few = rng.permutation(25)[: rng.integers(0, 20)]
    for chosen in (few, rng.permutation(25), rng.integers(0, 25, 9), few, few[::-1]):
        part = stack[chosen]
        shared = part & (part.sum(0) > 1)
        expected = brute_force(part, np.zeros(len(part)), "smallest_on_top")
        taken = masks[chosen]
        labels, table = taken.to_labels(), taken.features
        np.testing.assert_array_equal(labels, expected)
        visible = np.bincount(expected.ravel(), minlength=len(part) + 1)[1:]
        assert table["area_visible"].tolist() == visible.tolist()
        assert table["parent"].tolist() == parents_by_counting(part)
        assert table["overlap_fraction"].tolist() == [
            shared[i].sum() / part[i].sum() for i in range(len(part))
        ]


@pytest.mark.parametrize(("inside", "parent"), [(20, 2), (19, 2), (18, 0)])
def test_parent_holds_95_percent(inside, parent):
    stack = np.zeros((2, 9, 40), dtype=bool)
    stack[0, 4, :20] = True
    stack[1, 3:6, :inside] = True
    assert Masks.from_arrays(stack).features["parent"].tolist() == [parent, 0]


def test_parent_is_the_smallest_larger_and_then_the_first():
    stack = np.zeros((6, 30, 30), dtype=bool)
    stack[0, 10:12, 10:12] = True
    stack[1, 5:25, 5:25] = True
    stack[2, 9:14, 9:14] = True
    stack[3, 8:13, 8:13] = True  # as large as the one before
    stack[4] = True
    stack[5, 10:12, 10:12] = True  # the first one again: not larger, so no parent of it
    assert Masks.from_arrays(stack).features["parent"].tolist() == [3, 5, 2, 2, 0, 3]


def test_parent_far_off_the_middle():
    """A mask of two distant parts, whose window is far larger than where its pixels are."""
    stack = np.zeros((3, 200, 300), dtype=bool)
    stack[0, 0:10, 0:10] = True
    stack[0, 199, 299] = True
    stack[1, 0:11, 0:11] = True
    stack[2] = True
    assert Masks.from_arrays(stack).features["parent"].tolist() == [2, 3, 0]


def test_many_pairs_are_worked_off_in_parts(monkeypatch):
    stack = random_stack(np.random.default_rng(7), 60, (30, 30))
    for limit in (1, 50, 1000):
        monkeypatch.setattr(nesting, "_PAIRS_AT_ONCE", limit)
        assert Masks.from_arrays(stack).features["parent"].tolist() == parents_by_counting(stack)


def test_no_masks_have_all_columns_and_dtypes():
    none, some = Masks.empty((5, 6)).features, Masks.from_arrays([np.ones((5, 6))]).features
    assert list(none.columns) == COLUMNS
    assert len(none) == 0
    assert none.dtypes.to_dict() == some.dtypes.to_dict()
    assert str(none.dtypes["touches_border"]) == "bool"


def test_each_table_is_a_copy():
    masks = Masks.from_arrays([np.ones((5, 6))])
    table = masks.features
    table.loc[0, "area"] = -1
    assert masks.features.loc[0, "area"] == 30
