"""`MaskStore`: exact, tight, compact, unchangeable."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
from sam2.utils.amg import batched_mask_to_box

from _masks import random_stack
from _scale import scaled
from napari_sam_amg.masks import MaskStore, MaskTable


def stored(stack):
    return MaskStore.from_windows(stack.shape[1:], ((0, 0, mask) for mask in stack))


@pytest.mark.parametrize("seed", range(scaled(100)))
def test_holds_every_pixel(seed):
    import torch

    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 40, 2).tolist())
    stack = random_stack(rng, 12, shape)
    store = stored(stack)
    np.testing.assert_array_equal([store.full(i) for i in range(12)], stack)
    np.testing.assert_array_equal(store.areas, stack.sum((1, 2)))
    np.testing.assert_array_equal(store.boxes, batched_mask_to_box(torch.from_numpy(stack)))
    np.testing.assert_array_equal(
        store.windows[:, 2:], store.boxes[:, 2:] - store.boxes[:, :2] + 1
    )
    for i in range(12):
        window = store.window(i)
        np.testing.assert_array_equal(window, stack[i][store.slices(i)])
        start, stop = sorted(rng.integers(0, len(window) + 1, 2).tolist())
        np.testing.assert_array_equal(store.rows(i, start, stop), window[start:stop])
    order = rng.integers(0, 12, 20)
    taken = store.take(order)
    np.testing.assert_array_equal([taken.full(i) for i in range(20)], stack[order])
    both = MaskStore.concatenate([taken, stored(stack[:0]), store])
    np.testing.assert_array_equal(
        [both.full(i) for i in range(32)], np.concatenate([stack[order], stack])
    )


def test_windows_may_be_loose_and_lie_anywhere():
    window = np.zeros((5, 6), dtype=bool)
    window[1, 2] = window[3, 3] = True
    store = MaskStore.from_windows((20, 30), [(24, 15, window)])
    assert store.windows.tolist() == [[26, 16, 2, 3]]
    full = np.zeros((20, 30), dtype=bool)
    full[16, 26] = full[18, 27] = True
    np.testing.assert_array_equal(store.full(0), full)


@pytest.mark.parametrize(
    ("x0", "y0", "window", "message"),
    [
        (0, 0, np.zeros((3, 3), dtype=bool), "mask 1 has no pixel"),
        (0, 0, np.zeros((0, 3), dtype=bool), "mask 1 has no pixel"),
        (8, 0, np.ones((3, 3), dtype=bool), "outside an image of 9 x 10"),
        (0, 7, np.ones((3, 3), dtype=bool), "outside an image of 9 x 10"),
        (-1, 0, np.ones((3, 3), dtype=bool), "outside an image of 9 x 10"),
        (0, -1, np.ones((3, 3), dtype=bool), "outside an image of 9 x 10"),
    ],
)
def test_refuses(x0, y0, window, message):
    good = (0, 0, np.ones((1, 1), dtype=bool))
    with pytest.raises(ValueError, match=message):
        MaskStore.from_windows((9, 10), [good, (x0, y0, window)])


def test_refuses_stores_of_different_images():
    with pytest.raises(ValueError, match="one image shape"):
        MaskStore.concatenate(
            [MaskStore.from_windows((9, 9), []), MaskStore.from_windows((9, 8), [])]
        )
    with pytest.raises(ValueError, match="one image shape"):
        MaskStore.concatenate([])


def test_refuses_a_buffer_that_does_not_fit():
    with pytest.raises(ValueError, match="need 2 bytes"):
        MaskStore((9, 9), np.array([[0, 0, 3, 3]]), np.array([9]), np.zeros(1, dtype=np.uint8))


def test_memory_is_that_of_the_objects_not_of_the_image():
    window = np.ones((40, 50), dtype=bool)
    items = ((i * 9 % 90_000, i * 7 % 90_000, window) for i in range(1000))
    store = MaskStore.from_windows((100_000, 100_000), items)
    assert 1000 * 250 < store.nbytes < 1000 * (250 + 64)


def test_cannot_be_changed():
    windows = np.array([[0, 0, 3, 3]])
    store = MaskStore((9, 9), windows, np.array([9]), np.full(2, 255, dtype=np.uint8))
    for array in (store.windows, store.areas):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    windows[:] = 1  # the caller's own array stays writeable
    store.window(0)[:] = False
    assert store.window(0).all()


@pytest.mark.parametrize("name", ["predicted_iou", "stability_score", "points", "crop_boxes"])
def test_table_refuses_columns_that_do_not_fit(name):
    columns = {
        "predicted_iou": np.zeros(3),
        "stability_score": np.zeros(3),
        "points": np.zeros((3, 2)),
        "crop_boxes": np.zeros((3, 4)),
    }
    assert len(MaskTable(**columns)) == 3
    columns[name] = columns[name][:2]
    with pytest.raises(ValueError, match="has shape"):
        MaskTable(**columns)


def test_a_prepared_store_is_freed_and_pickled_without_the_others():
    """Without waiting for the collection of cycles, which may come late."""
    rng = np.random.default_rng(12)
    store = stored(random_stack(rng, 30, (40, 40)))
    store.prepare()
    one = store.take([0])
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.full(0), one.full(0))
    assert again.nesting is None
    assert len(pickle.dumps(one)) < 2000
    alive = weakref.ref(store)
    gc.disable()
    try:
        del store
        assert alive() is None
    finally:
        gc.enable()
