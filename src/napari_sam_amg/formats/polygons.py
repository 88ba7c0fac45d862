"""Outlines of masks as COCO polygons, for readers that take nothing else, and back.

Polygons run along the edges of pixels, so pycocotools fills them to the same pixels. They
cannot hold holes: what is lost is named wherever they are offered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ReadError
from napari_sam_amg.masks.outlines import loops, runs_clockwise

if TYPE_CHECKING:
    from napari_sam_amg.masks.window import Window

_FARTHEST = 1_000_000
"""Coordinates farther out than this are damage, not objects cut by the border."""

_MOST_CROSSINGS = 2**24
"""Of a polygon's edges with rows of pixels; bounds time and memory."""

_Box = tuple[int, int, int, int]
"""Left, top, width, height in pixels."""


def to_polygons(window: Window, *, left: int, top: int) -> list[list[float]]:
    """Trace the outer outlines of a mask.

    Parameters
    ----------
    window : ndarray, bool, hxw
        The mask's pixels.
    left, top : int
        Where the window lies in the image, in pixels.

    Returns
    -------
    list of list of float
        For each part (connected over edges, not corners) x0, y0, x1, y1, … in pixels,
        0 being the outer edge of the first pixel. Holes are left out.
    """
    found = filter(runs_clockwise, loops(window, left=left, top=top))
    return [[float(value) for corner in loop for value in corner] for loop in found]


def from_polygons(
    polygons: Any, *, shape: tuple[int, int]
) -> tuple[int, int, npt.NDArray[np.bool_]] | None:
    """Fill polygons from anywhere.

    Parameters
    ----------
    polygons : object
        Wanted: a list of lists x0, y0, x1, y1, … in pixels.
    shape : tuple of int
        Height and width of the image in pixels.

    Returns
    -------
    tuple of int, int and ndarray of bool, or None
        Left, top and pixels whose centres lie inside any of them; None if there are none.

    Raises
    ------
    ReadError
        If they are anything else.
    """
    parts = [_corners(polygon) for polygon in polygons]
    if not parts:
        return None
    boxes = [_box(part, shape) for part in parts]
    left, top, width, height = _around(boxes)
    window = np.zeros((height, width), dtype=np.bool_)
    for part, (x, y, w, h) in zip(parts, boxes, strict=True):
        # Each in its own box: thousands of parts of a large mask would each fill all of it.
        place = window[y - top : y - top + h, x - left : x - left + w]
        place |= _filled(part - (x, y), h, w)
    return (left, top, window) if window.any() else None


def filled_size(polygons: Any, *, shape: tuple[int, int]) -> int:
    """Return how many pixels `from_polygons` would fill or not, without filling any.

    Those of the window and those of each part's own box: what it takes, and how long.

    Raises
    ------
    ReadError
        If they are no polygons.
    """
    boxes = [_box(_corners(polygon), shape) for polygon in polygons]
    around = [_around(boxes)] if len(boxes) > 1 else []
    return sum(width * height for _, _, width, height in boxes + around)


def _box(corners: npt.NDArray[np.float64], shape: tuple[int, int]) -> _Box:
    limits = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(corners.min(axis=0)), 0, limits).astype(np.int64)
    high = np.clip(np.ceil(corners.max(axis=0)), 0, limits).astype(np.int64)
    width, height = (high - low).tolist()
    return int(low[0]), int(low[1]), width, height


def _around(boxes: list[_Box]) -> _Box:
    left, top = (min(box[axis] for box in boxes) for axis in (0, 1))
    right, bottom = (max(box[axis] + box[axis + 2] for box in boxes) for axis in (0, 1))
    return left, top, right - left, bottom - top


def _filled(corners: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return the pixels whose centres have an odd number of edges to their left."""
    # Pixel n reaches from n to n + 1: its centre is at n + 0.5.
    start = corners - 0.5
    stop = np.roll(start, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], stop[:, 1]), np.maximum(start[:, 1], stop[:, 1])
    first = np.clip(np.ceil(upper), 0, height).astype(np.int64)
    counts = np.clip(np.ceil(lower), 0, height).astype(np.int64) - first
    total = int(counts.sum())
    if total > _MOST_CROSSINGS:
        raise ReadError(f"a polygon crosses {total:,} rows of pixels; it is damaged")
    edge = np.repeat(np.arange(len(corners)), counts)
    rows = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    run, rise = (stop - start)[edge].T
    crossing = start[edge, 0] + run * (rows - start[edge, 1]) / rise
    columns = np.clip(np.ceil(crossing), 0, width).astype(np.int64)
    turns = np.zeros((height, width + 1), dtype=np.bool_)
    np.logical_xor.at(turns, (rows, columns), True)
    np.logical_xor.accumulate(turns, axis=1, out=turns)
    return turns[:, :-1]


def _corners(polygon: Any) -> npt.NDArray[np.float64]:
    numbers = isinstance(polygon, list) and all(type(v) in (int, float) for v in polygon)
    if not numbers or len(polygon) < 6 or len(polygon) % 2:
        raise ReadError("a polygon is not a list of three or more corners x, y")
    if not all(abs(v) <= _FARTHEST for v in polygon):
        raise ReadError(f"a polygon has corners more than {_FARTHEST:,} pixels away")
    return np.array(polygon, dtype=np.float64).reshape(-1, 2)
