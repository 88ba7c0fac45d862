"""Outlines against pycocotools' filling and scipy's holes."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage
from skimage import measure

from _scale import scaled
from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats import polygons as module
from napari_sam_amg.formats.polygons import filled_size, from_polygons, to_polygons


def _mask(rng) -> np.ndarray:
    noise = rng.random((int(rng.integers(1, 30)), int(rng.integers(1, 30))))
    mask = ndimage.gaussian_filter(noise, rng.choice([0, 1, 2])) > rng.uniform(0.3, 0.7)
    mask[rng.integers(mask.shape[0]), rng.integers(mask.shape[1])] = True
    return mask


def test_polygons_fill_to_the_mask_without_its_holes():
    rng = np.random.default_rng(0)
    for _ in range(scaled(3000)):
        mask = _mask(rng)
        height, width = mask.shape[0] + 9, mask.shape[1] + 12
        polygons = to_polygons(mask, left=5, top=7)
        image = np.zeros((height, width), dtype=bool)
        # A hole is background that cannot get out, not even between two corners.
        filled = ndimage.binary_fill_holes(mask, structure=np.ones((3, 3)))
        image[7 : 7 + mask.shape[0], 5 : 5 + mask.shape[1]] = filled
        theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, height, width)))
        np.testing.assert_array_equal(theirs.astype(bool), image)
        assert len(polygons) == _outer_parts(mask)
        left, top, window = from_polygons(polygons, shape=(height, width))
        ours = np.zeros_like(image)
        ours[top : top + window.shape[0], left : left + window.shape[1]] = window
        np.testing.assert_array_equal(ours, image)


def _outer_parts(mask: np.ndarray) -> int:
    """Count parts connected over edges."""
    return ndimage.label(mask)[1]


def test_corners_only_where_the_outline_turns():
    mask = np.ones((3, 5), dtype=bool)
    (polygon,) = to_polygons(mask, left=10, top=20)
    corners = np.array(polygon).reshape(-1, 2)
    assert sorted(map(tuple, corners)) == [(10, 20), (10, 23), (15, 20), (15, 23)]


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([[0, 0, 5, 5]], "three or more corners"),
        ([[0, 0, 5, 5, 3]], "three or more corners"),
        ([[]], "three or more corners"),
        ([5, 5, 5, 5, 5, 5], "three or more corners"),
        ([[0, 0, 5, None, 3, 3]], "three or more corners"),
        ([[0, 0, 5, "5", 3, 3]], "three or more corners"),
        ([[0, 0, True, 5, 3, 3]], "three or more corners"),
        ([{"a": 1}], "three or more corners"),
        ([[0, 0, 1e9, 5, 3, 3]], "pixels away"),
        ([[0, 0, -1e300, 5, 3, 3]], "pixels away"),
        ([[0, 0, float("nan"), 5, 3, 3]], "pixels away"),
        ([[0, 0, float("inf"), 5, 3, 3]], "pixels away"),
        ([[0, 0, 10**400, 5, 3, 3]], "pixels away"),
    ],
)
def test_hostile_polygons(polygons, message):
    with pytest.raises(ReadError, match=message):
        from_polygons(polygons, shape=(9, 9))


@pytest.mark.parametrize(
    "polygon", [[-90, -90, -50, -90, -50, -50], [20, 20, 30, 20, 30, 30], [3, 3, 3, 3, 3, 3]]
)
def test_polygons_without_a_pixel(polygon):
    assert from_polygons([polygon], shape=(9, 9)) is None


def test_a_polygon_that_reaches_out_is_cut():
    left, top, window = from_polygons([[-5, -5, 4, -5, 4, 3, -5, 3]], shape=(9, 9))
    assert (left, top, window.shape, window.all()) == (0, 0, (3, 4), True)


def test_polygons_between_pixels_fill_as_scikit_image_says():
    rng = np.random.default_rng(1)
    for _ in range(scaled(500)):
        height, width = (int(n) for n in rng.integers(2, 40, 2))
        corners = rng.uniform(-5, 45, (int(rng.integers(3, 9)), 2))
        angle = np.arctan2(*(corners - corners.mean(axis=0)).T)
        corners = corners[np.argsort(angle)]
        found = from_polygons([corners.ravel().tolist()], shape=(height, width))
        ours = np.zeros((height, width), dtype=bool)
        if found is not None:
            left, top, window = found
            ours[top : top + window.shape[0], left : left + window.shape[1]] = window
        y, x = np.mgrid[:height, :width]
        centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
        theirs = measure.points_in_poly(centres, corners).reshape(height, width)
        np.testing.assert_array_equal(ours, theirs)


def test_each_part_costs_its_own_box_not_the_whole_window(monkeypatch):
    filled, calls = module._filled, []

    def counted(corners, height, width):
        calls.append(height * width)
        return filled(corners, height, width)

    monkeypatch.setattr(module, "_filled", counted)
    corners = [(x, y) for x in range(0, 900, 50) for y in range(0, 700, 50)]
    parts = [[x, y, x + 4, y, x + 4, y + 3, x, y + 3] for x, y in corners]
    shape = (710, 910)
    left, top, window = from_polygons(parts, shape=shape)
    assert calls == [12] * len(parts)
    assert filled_size(parts, shape=shape) == 12 * len(parts) + window.size
    theirs = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(parts, *shape)))
    ours = np.zeros(shape, dtype=bool)
    ours[top : top + window.shape[0], left : left + window.shape[1]] = window
    np.testing.assert_array_equal(ours, theirs.astype(bool))


def test_parts_may_overlap_and_lie_outside():
    parts = [[0, 0, 4, 0, 4, 4, 0, 4], [2, 2, 6, 2, 6, 6, 2, 6], [50, 50, 60, 50, 60, 60]]
    left, top, window = from_polygons(parts, shape=(9, 9))
    wanted = np.zeros((9, 9), dtype=bool)
    wanted[:4, :4] = wanted[2:6, 2:6] = True
    assert (left, top, window.shape) == (0, 0, (9, 9))
    np.testing.assert_array_equal(window, wanted)


def test_a_polygon_made_to_exhaust_memory_is_refused():
    zigzag = [0.0, 0.0, 1.0, 46_000.0] * 500
    with pytest.raises(ReadError, match="crosses 46"):
        from_polygons([zigzag], shape=(46_000, 40))
