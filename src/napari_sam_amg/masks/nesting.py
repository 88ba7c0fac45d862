"""Which mask lies within which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.masks.store import MaskStore, Window

Indices = npt.NDArray[np.int64]

_PAIRS_AT_ONCE = 1 << 20


def parents(store: MaskStore) -> Indices:
    """Find each mask's parent.

    Returns
    -------
    ndarray, int64, N
        Label (index + 1) of the smallest other mask that is larger and holds at least 95 %
        of this one's pixels, the lower label at a tie; 0 if there is none.
    """
    found = np.zeros(len(store), dtype=np.int64)
    rank = np.empty(len(store), dtype=np.int64)
    rank[np.lexsort((np.arange(len(store)), store.areas))] = np.arange(len(store))
    for inner, outer in _candidates(store):
        order = np.lexsort((rank[outer], inner))
        _settle(store, found, inner[order], outer[order])
    return found


def _settle(store: MaskStore, found: Indices, inner: Indices, outer: Indices) -> None:
    """Set the parent of each inner mask to the first outer one that holds it."""
    settled = current = -1
    pixels: Window | None = None
    for i, j in zip(inner.tolist(), outer.tolist(), strict=True):
        if i == settled:
            continue
        if i != current or pixels is None:
            current, pixels = i, store.window(i)
        if 20 * _common(store, pixels, i, j) >= 19 * int(store.areas[i]):
            found[i] = j + 1
            settled = i


def _common(store: MaskStore, pixels: Window, inner: int, outer: int) -> int:
    """Count the pixels of `inner` (given unpacked) that `outer` covers too."""
    x, y, width, height = store.windows[inner].tolist()
    left, top, right, bottom = store.windows[outer].tolist()
    right, bottom = left + right, top + bottom
    x0, y0 = max(x, left), max(y, top)
    x1, y1 = min(x + width, right), min(y + height, bottom)
    part = store.rows(outer, y0 - top, y1 - top)[:, x0 - left : x1 - left]
    return int(np.count_nonzero(part & pixels[y0 - y : y1 - y, x0 - x : x1 - x]))


def _candidates(store: MaskStore) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs (inner, outer) that may be nested, all of one inner mask in one go.

    A mask that holds most pixels of another has the other's median row and column within
    its own rows and columns, so its window covers that point. Windows that cover a point
    are looked up in grids, one for each power of two of window size: a window meets at
    most four cells of its grid.
    """
    points = _medians(store)
    grids = _grids(store)
    counts = np.zeros(len(store), dtype=np.int64)
    for _, keys, size, across in grids:
        begin, end = _ranges(keys, points, size, across)
        counts += end - begin
    start = 0
    while start < len(store):
        reach = np.cumsum(counts[start:])
        stop = start + max(1, int(np.searchsorted(reach, _PAIRS_AT_ONCE, side="right")))
        yield _pairs(store, grids, points[start:stop], start)
        start = stop


def _pairs(
    store: MaskStore, grids: list[_Grid], points: Indices, start: int
) -> tuple[Indices, Indices]:
    inners, outers = [], []
    for members, keys, size, across in grids:
        begin, end = _ranges(keys, points, size, across)
        lengths = end - begin
        inner = np.repeat(np.arange(len(points)), lengths)
        shift = np.repeat(begin - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
        outer = members[np.arange(len(inner)) + shift]
        inners.append(inner + start)
        outers.append(outer)
    inner, outer = np.concatenate(inners), np.concatenate(outers)
    larger = store.areas[outer] > store.areas[inner]
    inner, outer = inner[larger], outer[larger]
    near, far = store.windows[inner], store.windows[outer]
    low = np.maximum(near[:, :2], far[:, :2])
    high = np.minimum(near[:, :2] + near[:, 2:], far[:, :2] + far[:, 2:])
    sides = np.maximum(high - low, 0)
    enough = 20 * sides[:, 0] * sides[:, 1] >= 19 * store.areas[inner]
    return inner[enough], outer[enough]


_Grid = tuple[Indices, Indices, int, int]
"""Masks sorted by cell, those cells' numbers, side of a cell in pixels, cells in a row."""


def _grids(store: MaskStore) -> list[_Grid]:
    grids: list[_Grid] = []
    x0, y0, x1, y1 = store.boxes.T
    level = np.ceil(np.log2(store.windows[:, 2:].max(axis=1, initial=1))).astype(np.int64)
    for power in np.unique(level).tolist():
        size = 1 << power
        across = store.shape[1] // size + 1
        members = np.flatnonzero(level == power)
        left, right = x0[members] // size, x1[members] // size
        top, bottom = y0[members] // size, y1[members] // size
        wide, tall = right > left, bottom > top
        cells = [(top * across + left, slice(None)), ((top * across + right)[wide], wide)]
        cells.append(((bottom * across + left)[tall], tall))
        cells.append(((bottom * across + right)[wide & tall], wide & tall))
        keys = np.concatenate([key for key, _ in cells])
        masks = np.concatenate([members[chosen] for _, chosen in cells])
        order = np.argsort(keys, kind="stable")
        grids.append((masks[order], keys[order], size, across))
    return grids


def _ranges(keys: Indices, points: Indices, size: int, across: int) -> tuple[Indices, Indices]:
    cell = points[:, 1] // size * across + points[:, 0] // size
    return np.searchsorted(keys, cell, side="left"), np.searchsorted(keys, cell, side="right")


def _medians(store: MaskStore) -> Indices:
    """Return the median column and row of each mask's pixels, int64 Nx2."""
    points = np.empty((len(store), 2), dtype=np.int64)
    for index in range(len(store)):
        window, half = store.window(index).view(np.uint8), store.areas[index] / 2
        for axis in (0, 1):
            passed = np.add.reduce(window, axis=axis, dtype=np.uint32).cumsum()
            points[index, axis] = np.searchsorted(passed, half) + store.windows[index, axis]
    return points
