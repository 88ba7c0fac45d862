"""Which mask lies within which."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import offsets, portions, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.masks.spans import Spans
    from napari_sam_amg.masks.store import MaskStore

Indices = npt.NDArray[np.int64]

_Hold = Callable[[Indices], npt.NDArray[np.bool_]]
"""Tells of which pairs, by their places, the outer mask holds the inner one."""

_PAIRS_AT_ONCE = 1 << 20

_MOST_PARTS = 4
"""Parts of that many pairs that are looked through for those to be kept."""


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
    for inner, outer, hold in _pairs_to_try(store):
        _settle(found, inner, outer, np.lexsort((rank[outer], inner)), hold)
    return found


class Nesting:
    """Which of many masks may hold which, for one selection of them after another.

    Parameters
    ----------
    store : MaskStore
        All masks.
    inner, outer : ndarray, int64, P
        Pairs that may be nested, the first within the second.
    """

    def __init__(self, store: MaskStore, inner: Indices, outer: Indices) -> None:
        # Not the store itself, which holds this.
        self._spans, self._areas = store.spans, store.areas
        self._inner, self._outer = inner, outer
        self._held = np.full(len(inner), -1, dtype=np.int8)  # -1: not looked at yet

    @classmethod
    def of(cls, store: MaskStore) -> Nesting | None:
        """Find the pairs of a store; None if they are very many."""
        inners, outers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        for part, (inner, outer) in enumerate(_candidates(store)):
            inners.append(inner)
            outers.append(outer)
            if part == _MOST_PARTS or sum(map(len, inners)) > _PAIRS_AT_ONCE:
                return None
        return cls(store, np.concatenate(inners), np.concatenate(outers))

    def of_masks(self, rows: Indices) -> tuple[Indices, Indices, Indices] | None:
        """Return the pairs among some masks, as places in `rows`, and which pairs they are.

        None if a mask is among them twice.
        """
        place = np.full(len(self._areas), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        if not np.array_equal(place[rows], np.arange(len(rows))):
            return None
        inner, outer = place[self._inner], place[self._outer]
        pairs = np.flatnonzero((inner >= 0) & (outer >= 0))
        return inner[pairs], outer[pairs], pairs

    def hold(self, pairs: Indices) -> npt.NDArray[np.bool_]:
        """Tell of which pairs the outer mask holds the inner one."""
        new = pairs[self._held[pairs] < 0]
        self._held[new] = _hold(self._spans, self._areas, self._inner[new], self._outer[new])
        return self._held[pairs] > 0


def depths(store: MaskStore) -> Indices:
    """Count the masks that each one lies within: its parent, the parent's parent, ...

    Returns
    -------
    ndarray, int64, N
        0 for a mask without a parent.
    """
    parent = parents(store) - 1
    depth = np.zeros(len(store), dtype=np.int64)
    above = parent
    while (inside := above >= 0).any():  # parents are larger, so this ends
        depth += inside
        above = np.where(inside, parent[above], -1)
    return depth


def _hold(spans: Spans, areas: Indices, inner: Indices, outer: Indices) -> npt.NDArray[np.bool_]:
    held: npt.NDArray[np.bool_] = 20 * spans.common(inner, outer) >= 19 * areas[inner]
    return held


def _settle(found: Indices, inner: Indices, outer: Indices, order: Indices, hold: _Hold) -> None:
    """Set the parent of each inner mask to the first outer one that holds it.

    In `order`, pairs of one inner mask stand together; in each round the next pair of each
    is tried.
    """
    begin = np.flatnonzero(np.diff(inner[order], prepend=-1))
    end = np.append(begin[1:], len(order))
    while len(begin):
        pairs = order[begin]
        held = hold(pairs)
        found[inner[pairs[held]]] = outer[pairs[held]] + 1
        left = ~held & (begin + 1 < end)
        begin, end = begin[left] + 1, end[left]


def _pairs_to_try(store: MaskStore) -> Iterator[tuple[Indices, Indices, _Hold]]:
    """Yield pairs (inner, outer) that may be nested, and what tells which of them are."""
    if store.nesting is not None:
        nesting, rows = store.nesting
        known = nesting.of_masks(rows)
        if known is not None:
            inner, outer, places = known
            yield inner, outer, lambda pairs: nesting.hold(places[pairs])
            return
    for inner, outer in _candidates(store):
        yield inner, outer, functools.partial(_among, store, inner, outer)


def _among(
    store: MaskStore, inner: Indices, outer: Indices, pairs: Indices
) -> npt.NDArray[np.bool_]:
    return _hold(store.spans, store.areas, inner[pairs], outer[pairs])


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
        begin, end = _cells(keys, points, size, across)
        counts += end - begin
    for start, stop in portions(offsets(counts), _PAIRS_AT_ONCE):
        yield _pairs(store, grids, points[start:stop], start)


def _pairs(
    store: MaskStore, grids: list[_Grid], points: Indices, start: int
) -> tuple[Indices, Indices]:
    inners, outers = [], []
    for members, keys, size, across in grids:
        begin, end = _cells(keys, points, size, across)
        lengths = end - begin
        inner = np.repeat(np.arange(len(points)), lengths)
        outer = members[ranges(begin, lengths)[0]]
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


def _cells(keys: Indices, points: Indices, size: int, across: int) -> tuple[Indices, Indices]:
    cell = points[:, 1] // size * across + points[:, 0] // size
    return np.searchsorted(keys, cell, side="left"), np.searchsorted(keys, cell, side="right")


def _medians(store: MaskStore) -> Indices:
    """Return the median column and row of each mask's pixels, int64 Nx2."""
    spans, half = store.spans, store.areas / 2
    mask = np.repeat(np.arange(len(store)), np.diff(spans.offsets))
    row, column = np.divmod(spans.start, store.shape[1])
    before = spans.passed[spans.offsets[:-1]]
    middle = np.searchsorted(spans.passed[1:], before + half)
    # Columns of all windows side by side, with one between them where the last spans end.
    places = offsets(store.windows[:, 2] + 1)
    begin = places[mask] + column - store.windows[mask, 0]
    begun = np.bincount(begin, minlength=places[-1])
    over = np.bincount(begin + spans.lengths, minlength=places[-1])
    passed = np.cumsum(np.cumsum(begun - over))
    columns = np.searchsorted(passed, before + half) - places[:-1] + store.windows[:, 0]
    return np.stack([columns, row[middle]], axis=1)
