"""`Masks` as a sequence, and its ways to be made and written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from _masks import random_stack
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks import Masks, MaskStore, MaskTable

STACK = random_stack(np.random.default_rng(3), 7, (12, 17))


@pytest.fixture
def masks():
    return Masks.from_arrays(
        STACK,
        predicted_iou=np.arange(7) / 7,
        points=np.arange(14).reshape(7, 2),
        overlap="largest_on_top",
        output_mode="coco_rle",
        provenance={"source": "a.png", "parameters": {"n": 1}},
    )


def test_single_masks(masks):
    assert len(masks) == 7
    assert masks.shape == (12, 17)
    for i in (0, 3, 6, -1, -7, np.int64(2)):
        assert masks[i].dtype == bool
        np.testing.assert_array_equal(masks[i], STACK[i])
    np.testing.assert_array_equal(list(masks), STACK)
    np.testing.assert_array_equal(masks.areas, STACK.sum((1, 2)))


@pytest.mark.parametrize("index", [7, -8, 1.5, "a", [1.0], [True, False], [[0, 1]], [9]])
def test_bad_index(masks, index):
    with pytest.raises(IndexError):
        masks[index]


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(1, 6, 2),
        slice(None, None, -1),
        [3, 1, 1],
        [],
        np.array([6, -7]),
        np.arange(7) % 2 == 0,
        [True, False, True, False, False, False, True],
    ],
)
def test_parts(masks, index):
    part = masks[index]
    rows = np.arange(7)[index] if not isinstance(index, list) or index else np.arange(0)
    assert isinstance(part, Masks)
    np.testing.assert_array_equal(np.array(list(part)).reshape(-1, 12, 17), STACK[rows])
    np.testing.assert_array_equal(part.predicted_iou, (rows / 7).astype(np.float32))
    np.testing.assert_array_equal(part.points, np.arange(14).reshape(7, 2)[rows])
    assert part.overlap == "largest_on_top"
    assert part.output_mode == "coco_rle"
    assert part.provenance == masks.provenance
    assert part.features["label"].tolist() == list(range(1, len(rows) + 1))


def test_window(masks):
    for i in (0, 4, -1):
        x0, y0, window = masks.window(i)
        full = np.zeros((12, 17), dtype=bool)
        full[y0 : y0 + window.shape[0], x0 : x0 + window.shape[1]] = window
        np.testing.assert_array_equal(full, STACK[i])
        assert window[0].any()
        assert window[:, -1].any()
    with pytest.raises(IndexError):
        masks.window(7)


def test_unknown_scores_are_nan():
    masks = Masks.from_arrays(STACK)
    for column in (masks.predicted_iou, masks.stability_score, masks.points):
        assert column.dtype == np.float32
        assert np.isnan(column).all()
    assert masks.crop_boxes.tolist() == [[0, 0, 17, 12]] * 7


def test_arrays_of_any_type_count_as_inside_where_not_zero():
    values = np.array([[0, 3], [-2, 0]])
    for array in (values, values.astype(float), values.tolist(), values.astype(np.uint8)):
        assert Masks.from_arrays([array])[0].tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("arrays", "keywords", "message"),
    [
        ([], {}, "give shape"),
        ([np.ones((2, 2)), np.ones((2, 3))], {}, "one common"),
        ([np.ones((2, 2))], {"shape": (2, 3)}, "one common"),
        ([np.ones((2, 2, 2))], {}, "two-dimensional"),
        ([np.ones((2, 2)), np.zeros((2, 2))], {}, "mask 1 has no pixel"),
        ([np.ones((2, 2))], {"predicted_iou": [1, 2]}, "has shape"),
    ],
)
def test_arrays_that_do_not_fit(arrays, keywords, message):
    with pytest.raises(ValueError, match=message):
        Masks.from_arrays(arrays, **keywords)


def test_none():
    for none in (Masks.empty((4, 5)), Masks.from_arrays([], shape=(4, 5))):
        assert len(none) == 0
        assert none.shape == (4, 5)
        assert none.to_labels().tolist() == np.zeros((4, 5)).tolist()
        assert none.records() == []
        assert len(none[:]) == 0
        with pytest.raises(IndexError):
            none[0]


def test_provenance_is_a_copy():
    made = {"parameters": {"n": 1}}
    masks = Masks.empty((2, 2), provenance=made)
    made["parameters"]["n"] = 2
    assert masks.provenance == {"parameters": {"n": 1}}
    assert json.loads(json.dumps(masks.provenance)) == masks.provenance
    assert Masks.empty((2, 2)).provenance == {}


def test_refusals():
    store = MaskStore.from_windows((2, 2), [(0, 0, np.ones((2, 2), dtype=bool))])
    with pytest.raises(ValueError, match="1 masks, but scores for 0"):
        Masks(store, MaskTable.unknown(store).take(np.arange(0)))
    with pytest.raises(ParameterError, match="'rle': use one of 'binary_mask'"):
        Masks.empty((2, 2), output_mode="rle")
    with pytest.raises(ParameterError, match="'rle': use one of 'binary_mask'"):
        Masks.empty((2, 2)).records("rle")
