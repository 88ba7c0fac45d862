"""Small holes and islands, against sam2's own function (OpenCV)."""

from __future__ import annotations

import numpy as np
import pytest
from sam2.utils.amg import remove_small_regions

from _masks import random_mask
from _scale import scaled
from napari_sam_amg.masks import MaskStore
from napari_sam_amg.masks.regions import clean


def ours(mask, min_area):
    store = MaskStore.from_windows(mask.shape, [(0, 0, mask)])
    left, top = store.windows[0, :2].tolist()
    left, top, window, changed = clean(
        store.window(0), left=left, top=top, shape=mask.shape, min_area=min_area
    )
    full = np.zeros(mask.shape, dtype=bool)
    full[top : top + window.shape[0], left : left + window.shape[1]] = window
    return full, changed


def sam2s(mask, min_area):
    filled, holes = remove_small_regions(mask, min_area, mode="holes")
    kept, islands = remove_small_regions(filled, min_area, mode="islands")
    return kept, holes or islands


@pytest.mark.parametrize("block", range(scaled(60)))
def test_equals_sam2(block):
    rng = np.random.default_rng([5, block])
    for _ in range(100):
        shape = tuple(rng.integers(1, rng.choice([4, 12, 40]), 2).tolist())
        mask = random_mask(rng, shape)
        if rng.random() < 0.5:
            mask ^= rng.random(shape) < rng.choice([0.02, 0.1, 0.4])
        if not mask.any():
            continue
        min_area = int(rng.choice([1, 2, 3, 5, 9, 30, 200, 5000]))
        expected, expected_changed = sam2s(mask, min_area)
        found, changed = ours(mask, min_area)
        np.testing.assert_array_equal(found, expected)
        assert changed == expected_changed


def drawn(*rows):
    return np.array([[c == "#" for c in row] for row in rows])


@pytest.mark.parametrize(
    ("mask", "min_area", "expected", "changed"),
    [
        (drawn("###", "#.#", "###"), 2, drawn("###", "###", "###"), True),
        (drawn("###", "#.#", "###"), 1, drawn("###", "#.#", "###"), False),
        (drawn("#..", "...", ".##"), 2, drawn("...", "...", ".##"), True),
        (drawn("#..", ".##"), 2, drawn("#..", ".##"), False),  # touching at a corner
        (drawn("#....", ".....", ".....", "....."), 2, drawn("#....", *["....."] * 3), True),
        (drawn("####", "###."), 2, drawn("####", "####"), True),  # what surrounds it is small
        (drawn("####", "####"), 100, drawn("####", "####"), True),
        # At a tie OpenCV's first is the one whose 2x2 block comes first, here the lower left.
        (drawn("....", "...#", "#...", "...."), 2, drawn("....", "...#", "....", "...."), True),
        (drawn("...#", "#...", "....", "...."), 2, drawn("....", "#...", "....", "...."), True),
    ],
)
def test_by_hand(mask, min_area, expected, changed):
    assert (sam2s(mask, min_area)[0] == expected).all()
    found, found_changed = ours(mask, min_area)
    np.testing.assert_array_equal(found, expected)
    assert found_changed == changed
