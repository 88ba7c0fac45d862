"""Masks between two."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg.linking.filling import between


def disc(radius: float) -> np.ndarray:
    side = int(radius) + 1
    y, x = np.mgrid[-side : side + 1, -side : side + 1]
    return y**2 + x**2 <= radius**2


def placed(mask: np.ndarray, y: int, x: int) -> tuple[int, int, np.ndarray]:
    """A mask with its middle at a place."""
    return x - mask.shape[1] // 2, y - mask.shape[0] // 2, mask


def full(mask, shape):
    image = np.zeros(shape, dtype=bool)
    x, y, pixels = mask
    image[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    return image


SHAPE = (60, 80)


@pytest.mark.parametrize("steps", [(1, 1), (1, 2), (3, 1)])
def test_between_equal_masks_is_the_same(steps):
    rng = np.random.default_rng(0)
    mask = placed(np.pad(rng.random((9, 7)) < 0.6, 1), 30, 40)
    np.testing.assert_array_equal(
        full(between(mask, mask, steps, SHAPE), SHAPE), full(mask, SHAPE)
    )


@pytest.mark.parametrize(("steps", "expected"), [((1, 1), 40), ((1, 3), 30), ((3, 1), 50)])
def test_a_mask_that_moves_is_met_on_its_way(steps, expected):
    ends = placed(disc(6), 30, 20), placed(disc(6), 30, 60)  # they share no pixel
    found = between(*ends, steps, SHAPE)
    np.testing.assert_array_equal(full(found, SHAPE), full(placed(disc(6), 30, expected), SHAPE))


@pytest.mark.parametrize(("steps", "radius"), [((1, 1), 10), ((1, 3), 12), ((3, 1), 8)])
def test_radii_are_averaged(steps, radius):
    found = between(placed(disc(14), 30, 40), placed(disc(6), 30, 40), steps, SHAPE)
    area = np.count_nonzero(found[2])
    assert np.sqrt(area / np.pi) == pytest.approx(radius, abs=0.35)


def test_the_other_way_round_is_the_same():
    rng = np.random.default_rng(2)
    one, other = placed(rng.random((13, 10)) < 0.7, 20, 30), placed(disc(5), 27, 33)
    for steps in [(1, 1), (1, 2), (2, 3)]:
        there = full(between(one, other, steps, SHAPE), SHAPE)
        back = full(between(other, one, steps[::-1], SHAPE), SHAPE)
        np.testing.assert_array_equal(there, back)


def test_what_lies_outside_is_cut_off():
    half = disc(6)[:, 7:]
    found = between((0, 20, half), (0, 30, half), (1, 1), SHAPE)
    assert found is not None
    image = full(found, SHAPE)
    assert image.sum() == half.sum()
    assert image[31, 0]


def test_nothing_may_be_between():
    # Corners of a square: each is far from the other two.
    far, near = np.zeros((21, 21), dtype=bool), np.zeros((21, 21), dtype=bool)
    far[0, 0] = far[20, 20] = True
    near[0, 20] = near[20, 0] = True
    assert between((0, 0, far), (0, 0, near), (1, 1), SHAPE) is None
