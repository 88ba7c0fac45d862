"""`Masks` as a sequence, and its ways to be made and written."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from _masks import random_stack
from napari_sam_amg.errors import ImageError, ParameterError
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
        ([], {"shape": (3,)}, "two-dimensional"),
        ([[[1, 2], [3]]], {}, "mask 0 is no array of numbers"),
        ([np.ones((2, 2)), np.ones((2, 3))], {}, "one common"),
        ([np.ones((2, 2))], {"shape": (2, 3)}, "one common"),
        ([np.ones((2, 2, 2))], {}, "two-dimensional"),
        ([np.ones((2, 2)), np.zeros((2, 2))], {}, "mask 1 has no pixel"),
        ([np.ones((2, 2)), np.ones((2, 2)), None], {"shape": (2, 2)}, "mask 2 has"),
    ],
)
def test_arrays_that_do_not_fit(arrays, keywords, message):
    with pytest.raises(ImageError, match=message):
        Masks.from_arrays(iter(arrays), **keywords)


@pytest.mark.parametrize(
    "column", [{"predicted_iou": [1, 2]}, {"points": [1, 2]}, {"stability_score": ["x"]}]
)
def test_columns_that_do_not_fit(column):
    with pytest.raises(ParameterError, match="give a row for each of 1 masks"):
        Masks.from_arrays([np.ones((2, 2))], **column)


@pytest.mark.parametrize("shape", [None, (1000, 1000)])
def test_frames_are_packed_as_they_come(shape):
    """A hundred frames of a megabyte are never there together."""

    def frames():
        for row in range(100):
            frame = np.zeros((1000, 1000), dtype=bool)
            frame[row, :50] = True
            yield frame

    tracemalloc.start()
    masks = Masks.from_arrays(frames(), shape=shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert masks.store.windows.tolist() == [[0, row, 50, 1] for row in range(100)]
    assert peak < 10_000_000


def test_a_mask_is_found_by_its_pixels(masks):
    for row in range(7):
        equal = [i for i in range(7) if (STACK[i] == STACK[row]).all()]
        assert masks[row] in masks
        assert masks.index(STACK[row]) == equal[0]
        assert masks.count(STACK[row].astype(int)) == len(equal)
    different = [i for i in range(7) if masks.count(STACK[i]) == 1]
    first, second = STACK[different[:2]]
    twice = Masks.from_arrays([first, second, second, first, second])
    assert twice.count(second) == 3
    assert twice.index(second, 2) == 2
    assert twice.index(second, 3) == 4
    assert twice.index(second, -4, -1) == 1
    hollow = np.ones((12, 17))
    hollow[3, 4] = 0
    for other in (hollow, np.zeros((12, 17)), np.ones((12, 16)), "a", None, 1, [[1], [1, 2]]):
        assert other not in masks
        assert masks.count(other) == 0
        with pytest.raises(ValueError, match="no mask of these pixels"):
            masks.index(other)
    with pytest.raises(ValueError, match="no mask of these pixels"):
        twice.index(first, 1, 3)


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
    with pytest.raises(ParameterError, match="1 masks, but scores for 0"):
        Masks(store, MaskTable.unknown(store).take(np.arange(0)))
    with pytest.raises(ParameterError, match="'rle': use one of 'binary_mask'"):
        Masks.empty((2, 2), output_mode="rle")
    with pytest.raises(ParameterError, match="'rle': use one of 'binary_mask'"):
        Masks.empty((2, 2)).records("rle")
