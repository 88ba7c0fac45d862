"""Where objects that lie one above another were linked into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.matching import chains
from napari_sam_amg.masks.ragged import offsets

if TYPE_CHECKING:
    from napari_sam_amg.masks.ragged import Indices


def without_necks(
    areas: Indices, one: Indices, other: Indices, least: float
) -> npt.NDArray[np.bool_]:
    """Tell which links stay when chains are cut at their necks.

    The neck of a link is the smaller area at its ends as a share of the largest area before it or
    after it, whichever is smaller. A chain is cut at its narrowest neck, of equal ones between the
    smallest masks, and so on with its parts, until none is narrower than `least`.

    Parameters
    ----------
    areas : ndarray, int64, N
        Pixels of the masks; each has at most one link to an earlier and to a later one.
    one, other : ndarray, int64, L
        Links from masks to later ones, of higher numbers.
    least : float
        Share, 0 to 1.

    Returns
    -------
    ndarray, bool, L
    """
    stays = np.ones(len(one), dtype=np.bool_)
    if least <= 0 or not len(one):
        return stays
    chain = chains(len(areas), one, other)[one]
    order = np.lexsort((one, chain))
    bounds = offsets(np.bincount(chain))
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if last - first < 2:
            continue  # of two masks neither is a neck
        links = order[first:last]
        along = areas[np.append(one[links], other[links[-1]])].astype(np.float64)
        parts = [(0, len(along))]
        while parts:
            begin, end = parts.pop()
            cut = _narrowest(along[begin:end], least)
            if cut is not None:
                stays[links[begin + cut]] = False
                parts += [(begin, begin + cut + 1), (begin + cut + 1, end)]
    return stays


def _narrowest(areas: npt.NDArray[np.float64], least: float) -> int | None:
    """Return after which mask a chain is cut, None if it is not."""
    if len(areas) < 3:
        return None
    before = np.maximum.accumulate(areas)[:-1]
    after = np.maximum.accumulate(areas[::-1])[::-1][1:]
    ends = np.sort([areas[:-1], areas[1:]], axis=0)
    neck = ends[0] / np.minimum(before, after)
    cut = int(np.lexsort((ends[1], neck))[0])
    return cut if neck[cut] < least else None
