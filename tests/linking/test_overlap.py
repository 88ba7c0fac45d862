"""Overlaps of objects, against full arrays."""

from __future__ import annotations

import numpy as np
import pytest

from _masks import random_stack
from _scale import scaled
from napari_sam_amg.linking import overlap as module
from napari_sam_amg.linking.objects import Objects
from napari_sam_amg.linking.overlap import overlap
from napari_sam_amg.masks import MaskStore


def objects_of(stack: np.ndarray) -> Objects:
    store = MaskStore.from_windows(stack.shape[1:], [(0, 0, mask) for mask in stack])
    return Objects.of_store(store)


def moved(mask: np.ndarray, shift: tuple[int, ...], margin: int) -> np.ndarray:
    """A mask moved within a larger frame, from which nothing is lost."""
    frame = np.pad(mask, margin)
    return np.roll(frame, shift, range(mask.ndim))


def brute(one: np.ndarray, other: np.ndarray, shift: tuple[int, ...]) -> np.ndarray:
    margin = max(map(abs, shift), default=0)
    still = (0,) * len(shift)
    first = np.array([moved(m, still, margin) for m in one]).reshape(len(one), -1)
    second = np.array([moved(m, shift, margin) for m in other]).reshape(len(other), -1)
    shared = (first[:, None] & second[None]).sum(2)
    return shared / (first[:, None] | second[None]).sum(2)


def matrix(found, shape: tuple[int, int]) -> np.ndarray:
    iou = np.zeros(shape)
    iou[found.one, found.other] = found.iou
    assert (found.iou > 0).all()
    keys = found.one * shape[1] + found.other
    assert (np.diff(keys) > 0).all()  # sorted, and no pair twice
    return iou


@pytest.mark.parametrize("seed", range(scaled(100)))
@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-1, 30)])
def test_overlapping_masks_against_brute_force(seed, shift):
    rng = np.random.default_rng([seed, 7])
    shape = tuple(rng.integers(1, 24, 2).tolist())
    one, other = (random_stack(rng, int(rng.integers(1, 9)), shape) for _ in range(2))
    found = overlap(objects_of(one), objects_of(other), (0, *shift))
    np.testing.assert_array_equal(matrix(found, (len(one), len(other))), brute(one, other, shift))


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, 0, -2), (-2, 3, 1)])
def test_volumes_of_labels_against_brute_force(shift):
    rng = np.random.default_rng(3)
    one, other = (rng.integers(0, 4, (3, 7, 9)) * 5 for _ in range(2))
    names = [5, 10, 15]
    expected = brute(*(np.array([v == n for n in names]) for v in (one, other)), shift)
    found = overlap(Objects.of_labels(one), Objects.of_labels(other), shift)
    np.testing.assert_array_equal(matrix(found, (3, 3)), expected)


def test_parts_come_to_the_same(monkeypatch):
    rng = np.random.default_rng(0)
    one, other = (random_stack(rng, 12, (30, 30)) for _ in range(2))
    whole = overlap(objects_of(one), objects_of(other))
    monkeypatch.setattr(module, "_MEETINGS_AT_ONCE", 3)
    for values, expected in zip(overlap(objects_of(one), objects_of(other)), whole, strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("empty", ["one", "other", "both"])
def test_without_objects(empty):
    stack = np.ones((2, 4, 5), dtype=bool)
    one = stack[:0] if empty != "other" else stack
    other = stack[:0] if empty != "one" else stack
    found = overlap(objects_of(one), objects_of(other), (0, 1, 1))
    assert [len(values) for values in found] == [0, 0, 0]


def test_objects_of_labels_are_those_of_scikit_image():
    from skimage.measure import regionprops

    rng = np.random.default_rng(1)
    volume = rng.choice([0, 0, 2, 7, 300], (4, 9, 11))
    objects = Objects.of_labels(volume)
    expected = regionprops(volume)
    assert objects.ids.tolist() == [region.label for region in expected]
    assert objects.sizes.tolist() == [region.area for region in expected]
    np.testing.assert_allclose(objects.centroids, [region.centroid for region in expected])
    assert objects.boxes.tolist() == [list(region.bbox) for region in expected]
    border = [
        any(low == 0 for low in region.bbox[:3])
        or any(high == side for high, side in zip(region.bbox[3:], volume.shape, strict=True))
        for region in expected
    ]
    assert objects.at_border.tolist() == border
