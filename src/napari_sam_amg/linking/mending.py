"""Masks that were left out of chains, put back where nothing speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.linking.matching import chains

if TYPE_CHECKING:
    from napari_sam_amg.masks.ragged import Indices


def put_back(
    starts: Indices, candidates: tuple[Indices, Indices], links: tuple[Indices, Indices]
) -> tuple[Indices, Indices]:
    """Put chains back into gaps.

    The widest or narrowest mask of an object may be unlike those on both sides, which then fit
    each other better. If a chain lies within the gap of one link, overlaps enough with both ends
    of it, and neither is true of another link, nor of another chain in that gap, then it is a part
    of the object. Two links over one mask tell that it merges two objects, and two masks under one
    link that they are pieces.

    Parameters
    ----------
    starts : ndarray, int64, Z + 1
        Number of the first mask of each slice, and of all masks.
    candidates : (ndarray, ndarray), int64, P
        All pairs of masks that overlap enough.
    links : (ndarray, ndarray), int64, L
        Those that were linked.

    Returns
    -------
    (ndarray, ndarray), int64
        Links, those over what was put back replaced by two each.
    """
    one, other = links
    count = int(starts[-1])
    plane = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    gaps = np.flatnonzero(plane[other] - plane[one] > 1)
    if not len(gaps):
        return links
    chain = chains(count, one, other)
    before, after, over, under = np.full((4, count), -1)
    after[one], before[other] = other, one
    over[one[gaps]] = under[other[gaps]] = gaps
    first, last = np.full((2, int(chain.max()) + 1), -1)
    heads, tails = np.flatnonzero(before < 0), np.flatnonzero(after < 0)
    first[chain[heads]], last[chain[tails]] = heads, tails
    a, b = candidates
    begins, ends = (over[a] >= 0) & (before[b] < 0), (under[b] >= 0) & (after[a] < 0)
    pairs = np.intersect1d(
        over[a[begins]] * count + chain[b[begins]], under[b[ends]] * count + chain[a[ends]]
    )
    link, within = np.divmod(pairs, count)
    alone = (np.bincount(link)[link] == 1) & (np.bincount(within)[within] == 1)
    link, within = link[alone], within[alone]
    kept = np.ones(len(one), dtype=np.bool_)
    kept[link] = False
    return (
        np.concatenate([one[kept], one[link], last[within]]),
        np.concatenate([other[kept], first[within], other[link]]),
    )
