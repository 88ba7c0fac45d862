"""What a Labels layer stands for after a user has painted in it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg import Masks
from napari_sam_amg.errors import WriteError
from napari_sam_amg.plugin.edited import masks_of_layer, masks_of_plane

SHAPE = (30, 40)


def _square(top: int, left: int, side: int) -> np.ndarray:
    array = np.zeros(SHAPE, dtype=bool)
    array[top : top + side, left : left + side] = True
    return array


@pytest.fixture
def masks() -> Masks:
    """A large one, two that lie in it (the second wholly hidden by the first), one apart."""
    arrays = [_square(0, 0, 20), _square(5, 5, 4), _square(5, 5, 4), _square(10, 30, 6)]
    return Masks.from_arrays(
        arrays, predicted_iou=[0.9, 0.8, 0.7, 0.6], provenance={"source": "x.tif"}
    )


def _same(a: Masks, i: int, b: Masks, j: int) -> bool:
    return bool((a[i] == b[j]).all()) and a.predicted_iou[i] == b.predicted_iou[j]


def test_an_untouched_layer_gives_the_masks_of_the_run(masks):
    assert masks_of_plane(masks.to_labels(), masks) is masks


def test_a_painted_label_is_as_it_is_now_and_the_others_keep_what_overlaps(masks):
    labels = masks.to_labels()
    labels[25:28, 35:39] = 4  # painted on
    found = masks_of_plane(labels, masks)
    assert len(found) == 4
    assert _same(found, 0, masks, 0)  # with the pixels under the small ones
    assert _same(found, 1, masks, 1)
    assert _same(found, 2, masks, 2)  # hidden, and still there
    np.testing.assert_array_equal(found[3], labels == 4)
    assert np.isnan(found.predicted_iou[3])
    assert found.provenance["edited"] is True


def test_a_deleted_label_is_gone_and_a_new_one_is_there(masks):
    labels = masks.to_labels().astype(np.uint16)
    labels[labels == 4] = 0
    labels[22:26, 2:9] = 700
    found = masks_of_plane(labels, masks)
    assert [found.areas[i] for i in range(len(found))] == [400, 16, 16, 28]
    np.testing.assert_array_equal(found[3], labels == 700)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_a_foreign_label_image(dtype):
    labels = np.zeros(SHAPE, dtype=dtype)
    labels[2:5, 3:9] = 7
    labels[8, 8] = 100
    labels[20, 0] = 7  # two pieces, one object
    found = masks_of_plane(labels, None)
    assert found.areas.tolist() == [19, 1]
    np.testing.assert_array_equal(found[0], labels == 7)
    np.testing.assert_array_equal(found[1], labels == 100)


def test_an_empty_label_image():
    assert len(masks_of_plane(np.zeros(SHAPE, np.uint8), None)) == 0


@pytest.mark.parametrize(
    ("shape", "count"), [((3, 5, 6), 3), ((2, 3, 5, 6), 6), ((1, 5, 6), 1), ((5, 6), 1)]
)
def test_planes_of_a_stack(shape, count):
    labels = np.random.default_rng(0).integers(0, 4, shape)
    found = masks_of_layer(labels, {"name": "stack"})
    assert len(found) == count
    assert len({name for name, _ in found}) == count
    planes = labels.reshape(-1, *shape[-2:])
    for (_, masks), plane in zip(found, planes, strict=True):
        np.testing.assert_array_equal(masks.to_labels(), plane)


def test_a_line_is_refused():
    with pytest.raises(WriteError, match="two"):
        masks_of_layer(np.zeros(5, int), {"name": "line"})
