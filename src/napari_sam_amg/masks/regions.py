"""Small holes and islands within a mask."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Window = npt.NDArray[np.bool_]


def clean(
    window: Window, *, left: int, top: int, shape: tuple[int, int], min_area: int
) -> tuple[int, int, Window, bool]:
    """Fill the small holes of a mask, then drop its small islands.

    The rule is that of sam2's ``remove_small_regions``, which its generator documents but
    never calls: 8-connected regions of fewer than `min_area` pixels go; if all islands are
    small, the largest one stays. What surrounds the mask counts as a hole too if it is
    that small.

    Parameters
    ----------
    window : ndarray, bool, hxw
        The mask's pixels in its tight window, at least one of them True.
    left, top : int
        Where the window lies in the image, in pixels.
    shape : tuple of int
        Height and width of the image in pixels.
    min_area : int
        Regions of fewer pixels are removed.

    Returns
    -------
    left, top : int
        Where the returned window lies.
    window : ndarray, bool
        The cleaned mask; not tight.
    changed : bool
        Whether there was any small region, as sam2 counts it: also where the mask is a
        single small island, which stays as it is.
    """
    height, width = shape
    below, right = height - top - window.shape[0], width - left - window.shape[1]
    strips = (top * width, below * width, left * window.shape[0], right * window.shape[0])
    if any(0 < strip < min_area for strip in strips):
        # Part of the surroundings may be filled, so the window must hold them; not farther than
        # that, as what reaches farther is large enough there already.
        x0, y0 = max(0, left - min_area), max(0, top - min_area)
        x1 = min(width, left + window.shape[1] + min_area)
        y1 = min(height, top + window.shape[0] + min_area)
        around = ((top - y0, y1 - top - window.shape[0]), (left - x0, x1 - left - window.shape[1]))
        window, left, top, strips = np.pad(window, around), x0, y0, (0, 0, 0, 0)
    filled, had_holes = _fill_holes(window, min_area, strips)
    kept, had_islands = _drop_islands(filled, min_area, left, top)
    return left, top, kept, had_holes or had_islands


def _label(pixels: Window) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return the 8-connected regions, numbered from 1, and their sizes (0 for number 0)."""
    from scipy import ndimage

    regions, count = ndimage.label(pixels, structure=np.ones((3, 3), dtype=np.bool_))
    sizes = np.bincount(regions.ravel(), minlength=count + 1)
    sizes[0] = 0
    return regions, sizes


def _fill_holes(
    window: Window, min_area: int, strips: tuple[int, int, int, int]
) -> tuple[Window, bool]:
    regions, sizes = _label(~window)
    small = sizes < min_area
    small[0] = False
    edges = (regions[0], regions[-1], regions[:, 0], regions[:, -1])
    for edge, strip in zip(edges, strips, strict=True):
        if strip:  # what reaches it is part of the surroundings, which are large enough
            small[edge] = False
    if not small.any():
        return window, False
    return window | small[regions], True


def _drop_islands(window: Window, min_area: int, left: int, top: int) -> tuple[Window, bool]:
    regions, sizes = _label(window)
    small = sizes < min_area
    small[0] = False
    if not small.any():
        return window, False
    large = ~small
    large[0] = False
    if not large.any():
        large[_first_largest(regions, sizes, left, top)] = True
    kept: Window = large[regions]
    return kept, True


def _first_largest(
    regions: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64], left: int, top: int
) -> int:
    """Return the number of the largest region; of several, the one that OpenCV meets first.

    OpenCV scans the image in blocks of 2x2 pixels, which decides its order at a tie.
    """
    largest = np.flatnonzero(sizes == sizes.max())
    if len(largest) == 1:
        return int(largest[0])
    rows, columns = np.nonzero(np.isin(regions, largest))
    first = np.lexsort(((columns + left) // 2, (rows + top) // 2))[0]
    return int(regions[rows[first], columns[first]])
