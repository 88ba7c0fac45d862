"""Intervals by drawing fields anew: images of one field look alike, and count as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

DRAWS = 4000
LEVEL = 0.95


def intervals(
    values: npt.ArrayLike,
    fields: Sequence[str],
    *,
    weights: npt.ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Return weighted means over images with the interval that resampled fields give.

    As many fields as there are, are drawn with replacement, each with all its images, and the
    mean is taken again; the interval holds the middle 95 % of these means.

    Parameters
    ----------
    values : array, N or NxK
        Of N images. For paired differences, the differences.
    fields : sequence of str, N
        The field of each image.
    weights : array, N or NxK, optional
        Of the values: the number of objects, where a value is a share of them.
    draws, seed : int
        How often, and where the random numbers begin.

    Returns
    -------
    ndarray, float64, 3 or 3xK
        Mean, lower and upper end. The ends are NaN where there are fewer than two fields, all
        three where weights add up to nothing.
    """
    table = np.asarray(values, dtype=np.float64)
    single = table.ndim == 1
    table = table.reshape(len(table), -1)
    shares = np.ones_like(table) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = np.broadcast_to(shares.reshape(len(table), -1), table.shape)
    names, index = np.unique(np.asarray(fields), return_inverse=True)
    sums, counts = (np.zeros((len(names), table.shape[1])) for _ in range(2))
    # A value without weight may be NaN: a share of no objects.
    np.add.at(sums, index, np.where(shares > 0, table, 0) * shares)
    np.add.at(counts, index, shares)
    with np.errstate(invalid="ignore"):
        mean = sums.sum(0) / counts.sum(0)
        if len(names) < 2:
            ends = np.full((2, table.shape[1]), np.nan)
        else:
            times = drawn_fields(len(names), draws, seed)
            ends = middle((times @ sums) / (times @ counts))
    found: npt.NDArray[np.float64] = np.vstack([mean, ends])
    return found[:, 0] if single else found


def drawn_fields(count: int, draws: int, seed: int) -> npt.NDArray[np.int64]:
    """Return how often each of `count` fields comes in each draw of as many, draws x count."""
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)


def middle(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ends (2xK) of what holds the middle 95 % of each column of draws.

    A draw that is not finite, as of no object, says nothing; NaN where none is left.
    """
    outside = (1 - LEVEL) / 2
    columns = [column[np.isfinite(column)] for column in means.T]
    ends = [np.quantile(c, [outside, 1 - outside]) if len(c) else [np.nan] * 2 for c in columns]
    return np.array(ends).T


def shown(interval: npt.ArrayLike, *, signed: bool = False) -> str:
    """Write a mean and its interval as text: ``0.71 (0.66 to 0.75)``."""
    mean, low, high = np.asarray(interval, dtype=np.float64)
    form = "+.3f" if signed else ".3f"
    if not np.isfinite(mean):
        return "-"
    text = f"{mean:{form}}"
    return text if not np.isfinite(low) else f"{text} ({low:{form}} to {high:{form}})"
