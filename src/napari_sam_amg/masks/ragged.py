"""Rows of different lengths, laid end to end in one array."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

Indices = npt.NDArray[np.int64]


def offsets(lengths: npt.ArrayLike) -> Indices:
    """Return where each of N rows begins and the last one ends, int64 N + 1."""
    lengths = np.asarray(lengths)
    bounds = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds


def sums(values: Indices, bounds: Indices) -> Indices:
    """Add up the values of each row, int64 N; `bounds` is that of `offsets`."""
    return np.diff(offsets(values)[bounds])


def ranges(first: Indices, lengths: Indices) -> tuple[Indices, Indices]:
    """Return N ranges of integers, row i counting up from ``first[i]``, and their offsets."""
    bounds = offsets(lengths)
    return np.arange(bounds[-1]) + np.repeat(first - bounds[:-1], lengths), bounds


def portions(bounds: Indices, most: int) -> Iterator[tuple[int, int]]:
    """Yield rows ``first`` to ``last - 1`` of at most `most` values together, or a single row.

    Parameters
    ----------
    bounds : ndarray, int64, N + 1
        That of `offsets`.
    most : int
        At least 1.
    """
    first = 0
    while first < len(bounds) - 1:
        last = int(np.searchsorted(bounds, bounds[first] + most, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
