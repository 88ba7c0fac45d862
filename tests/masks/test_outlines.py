"""Outlines against shapely's rules of validity, its areas and its filling."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from scipy import ndimage

from _masks import random_mask
from _scale import scaled
from napari_sam_amg.masks import outlines as module
from napari_sam_amg.masks.outlines import outlines


def _mask(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


def _check(mask: np.ndarray, left: int = 0, top: int = 0) -> list[shapely.Polygon]:
    found = outlines(mask, left=left, top=top)
    rings = [ring for exterior, holes in found for ring in (exterior, *holes)]
    for ring in rings:
        assert ring.dtype == np.int64
        assert len(np.unique(ring, axis=0)) == len(ring)
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps == 0).sum(axis=1) == 1).all(), "edges run along rows and columns"
        turns = (steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)
        assert turns.all(), "every corner is one"
    polygons = [shapely.Polygon(exterior, holes) for exterior, holes in found]
    for (exterior, holes), polygon in zip(found, polygons, strict=True):
        assert shapely.is_valid_reason(polygon) == "Valid Geometry"
        assert shapely.LinearRing(exterior).is_ccw, "in the numbers; clockwise on the screen"
        assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
    labels, count = ndimage.label(mask)
    assert len(found) == count
    sizes = sorted(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())
    assert sorted(polygon.area for polygon in polygons) == sizes
    together = shapely.MultiPolygon(polygons)
    assert together.is_valid
    height, width = mask.shape
    y, x = np.mgrid[-1 : height + 1, -1 : width + 1]
    filled = shapely.contains_xy(together, x + left + 0.5, y + top + 0.5)
    np.testing.assert_array_equal(filled, np.pad(mask, 1))
    return polygons


@pytest.mark.parametrize(
    ("rows", "holes"),
    [
        pytest.param(["#"], [0], id="pixel"),
        pytest.param(["####", "####"], [0], id="full window"),
        pytest.param(["#...", ".#..", "..#."], [0, 0, 0], id="falling diagonal"),
        pytest.param(["..#", ".#.", "#.."], [0, 0, 0], id="rising diagonal"),
        pytest.param(["###", "#.#", "###"], [1], id="hole"),
        pytest.param([".##", "#.#", "###"], [1], id="hole at a corner of the exterior"),
        pytest.param(["##.", "#.#", "###"], [1], id="hole at the other corner"),
        pytest.param([".##", "#.#", "##."], [0, 0], id="two parts around a gap"),
        pytest.param(["####", "#.##", "##.#", "####"], [2], id="holes that meet at a corner"),
        pytest.param(["####", "##.#", "#.##", "####"], [2], id="holes that meet, rising"),
        pytest.param(["#####", "#.#.#", "##.##", "#.#.#", "#####"], [5], id="chain of holes"),
        pytest.param(
            ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
            [1, 1],
            id="hole, island, hole",
        ),
        pytest.param(
            ["#####", "#...#", "#.#.#", "#...#", "#####", ".....", "##.##"],
            [1, 0, 0, 0],
            id="island and parts",
        ),
        pytest.param(["####", "#..#", "#.#.", "####"], [1], id="island at the exterior"),
        pytest.param(["#.#.#", ".#.#.", "#.#.#"], [0] * 8, id="checkerboard"),
        pytest.param(["....", ".#..", "...."], [0], id="loose window"),
        pytest.param(["...", "..."], [], id="nothing"),
        pytest.param(["#" * 300], [0], id="line"),
    ],
)
def test_edge_cases(rows, holes):
    found = _check(_mask(*rows), left=7, top=1000)
    assert sorted(len(polygon.interiors) for polygon in found) == sorted(holes)


def test_a_pixel_has_four_corners_from_the_top_left():
    ((exterior, holes),) = outlines(np.ones((1, 1), dtype=bool), left=2**40, top=5)
    assert (exterior - [2**40, 5]).tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert holes == []


def test_each_hole_is_with_its_part():
    mask = _mask("#####..###", "#...#..#.#", "#.#.#..###", "#...#.....", "#####.####")
    found = outlines(mask)
    boxes = [[(ring.min(0).tolist(), ring.max(0).tolist()) for ring in (e, *h)] for e, h in found]
    assert boxes == [
        [([0, 0], [5, 5]), ([1, 1], [4, 4])],
        [([7, 0], [10, 3]), ([8, 1], [9, 2])],
        [([2, 2], [3, 3])],
        [([6, 4], [10, 5])],
    ]


def test_noise_blobs_and_boxes():
    rng = np.random.default_rng(3)
    for turn in range(scaled(2000)):
        shape = tuple(rng.integers(1, 28, 2).tolist())
        if turn % 2:
            mask = random_mask(rng, shape)
        else:
            noise = ndimage.gaussian_filter(rng.random(shape), rng.choice([0, 0.5, 1.5]))
            mask = noise > rng.uniform(0.3, 0.7)
        _check(mask, *rng.integers(0, 10_000, 2).tolist())


def test_bands_of_rows_make_no_difference(monkeypatch):
    rng = np.random.default_rng(4)
    masks = [rng.random((23, 17)) < share for share in (0.1, 0.5, 0.6, 0.9)]
    wanted = [outlines(mask) for mask in masks]
    turns, calls = module._turns, []
    monkeypatch.setattr(module, "_AT_ONCE", 40)
    monkeypatch.setattr(module, "_turns", lambda rows: calls.append(rows) or turns(rows))
    for mask, expected in zip(masks, wanted, strict=True):
        for (exterior, holes), (other, others) in zip(outlines(mask), expected, strict=True):
            for ring, same in zip((exterior, *holes), (other, *others), strict=True):
                np.testing.assert_array_equal(ring, same)
    assert len(calls) == len(masks) * 12
