"""How many pixels objects of two grids share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import Indices, offsets, portions, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.linking.objects import Objects, Shape3

_MEETINGS_AT_ONCE = 1 << 21


class Overlap(NamedTuple):
    """P pairs of objects of two grids that share pixels, sorted.

    Attributes
    ----------
    one, other : ndarray, int64, P
        Places of the objects in their grids, from 0.
    iou : ndarray, float64, P
        Pixels of both divided by pixels of either, above 0.
    """

    one: Indices
    other: Indices
    iou: npt.NDArray[np.float64]


def overlap(one: Objects, other: Objects, shift: Shape3 = (0, 0, 0)) -> Overlap:
    """Return all pairs of objects of two grids that share pixels, and by how much.

    No pair is looked at that does not share one: the ends of stretches of pixels are sorted, and
    two stretches meet if and only if one of them starts within the other.

    Parameters
    ----------
    one, other : Objects
        Of grids of one shape.
    shift : tuple of int
        Planes, rows and columns that `other` is moved by first, also beyond the grid.
    """
    margin = (abs(shift[0]), abs(shift[1]), abs(shift[2]))
    start, stop = one.laid_out(margin, (0, 0, 0))
    start_2, stop_2 = other.laid_out(margin, shift)
    count = max(1, len(other))
    keys, pixels = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for i, j in _meeting(start, stop, start_2, stop_2):
        length = np.minimum(stop[i], stop_2[j]) - np.maximum(start[i], start_2[j])
        key, total = _added_up(one.owner[i] * count + other.owner[j], length)
        keys.append(key)
        pixels.append(total)
    key, shared = _added_up(np.concatenate(keys), np.concatenate(pixels))
    first, second = np.divmod(key, count)
    union = one.sizes[first] + other.sizes[second] - shared
    return Overlap(first, second, shared / union)


def _meeting(
    start: Indices, stop: Indices, start_2: Indices, stop_2: Indices
) -> Iterator[tuple[Indices, Indices]]:
    """Yield pairs of stretches that share pixels, each pair once."""
    order = np.argsort(start_2, kind="stable")
    yield from _starting_within(start, stop, start_2[order], order, side="left")
    order = np.argsort(start, kind="stable")
    # Those that start at the same pixel have been found already.
    for j, i in _starting_within(start_2, stop_2, start[order], order, side="right"):
        yield i, j


def _starting_within(
    start: Indices, stop: Indices, rising: Indices, order: Indices, side: str
) -> Iterator[tuple[Indices, Indices]]:
    begin = np.searchsorted(rising, start, side=side)  # type: ignore[call-overload]
    end = np.searchsorted(rising, stop, side="left")
    counts = end - begin
    for first, last in portions(offsets(counts), _MEETINGS_AT_ONCE):
        here = counts[first:last]
        yield (
            np.repeat(np.arange(first, last), here),
            order[ranges(begin[first:last], here)[0]],
        )


def _added_up(keys: Indices, values: Indices) -> tuple[Indices, Indices]:
    """Return the different keys, sorted, and the sum of the values of each."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    if not len(first):
        return keys, values
    return keys[first], np.add.reduceat(values[order], first)
