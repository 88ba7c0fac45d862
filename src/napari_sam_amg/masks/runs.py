"""COCO's run lengths of a mask, straight from its window, and its string of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


def run_lengths(
    window: npt.NDArray[np.bool_], *, left: int, top: int, shape: tuple[int, int]
) -> list[int]:
    """Encode one mask as COCO's uncompressed run lengths.

    Parameters
    ----------
    window : ndarray, bool, hxw
        The mask's pixels; all others of the image are outside it.
    left, top : int
        Where the window lies in the image, in pixels.
    shape : tuple of int
        Height and width of the image in pixels.

    Returns
    -------
    list of int
        Lengths of alternating runs in column-major order, the first one outside the mask
        (0 if its first pixel is inside), summing to the number of pixels of the image.
    """
    height, width = shape
    padded = np.zeros((window.shape[1], window.shape[0] + 2), dtype=np.int8)
    padded[:, 1:-1] = window.T
    steps = np.diff(padded, axis=1)
    # Within a column, position counts from the window's top: a run ends one past its last pixel.
    columns, rows = np.nonzero(steps > 0)
    starts = (columns + left) * height + rows + top
    columns, rows = np.nonzero(steps < 0)
    stops = (columns + left) * height + rows + top
    # A run that reaches the image's bottom goes on at the top of the next column.
    apart = starts[1:] != stops[:-1]
    starts = np.concatenate([starts[:1], starts[1:][apart]])
    stops = np.concatenate([stops[:-1][apart], stops[-1:]])
    edges = np.empty(2 * len(starts) + 2, dtype=np.int64)
    edges[0], edges[-1] = 0, height * width
    edges[1:-1:2], edges[2:-1:2] = starts, stops
    counts: list[int] = np.diff(edges).tolist()
    if counts[-1] == 0 and len(counts) > 1:
        counts.pop()
    return counts


def to_coco_counts(counts: Sequence[int] | npt.NDArray[np.int64]) -> str:
    """Compress run lengths to COCO's string.

    Parameters
    ----------
    counts : sequence of int
        Run lengths, each 0 to 2**32 - 1.

    Returns
    -------
    str
        ASCII.
    """
    from pycocotools import mask as coco_mask

    plain = [int(count) for count in counts]
    # Height and width are only copied by pycocotools, not used.
    packed = coco_mask.frPyObjects({"size": [1, 1], "counts": plain}, 1, 1)
    return str(packed["counts"].decode("ascii"))
