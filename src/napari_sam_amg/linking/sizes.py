"""Sizes of pixels along the axes."""

from __future__ import annotations

import math

import numpy as np

from napari_sam_amg.errors import ParameterError

PixelSize = tuple[float, ...]
"""Lengths of a pixel along (z,) y and x."""


def checked_size(size: PixelSize | float | None, axes: int) -> PixelSize | None:
    """Return a pixel's lengths along so many axes.

    Raises
    ------
    ParameterError
        If there are more or fewer lengths, or one is not above 0.
    """
    if size is None:
        return None
    try:
        lengths = np.broadcast_to(np.asarray(size, dtype=float), axes).tolist()
    except (TypeError, ValueError):
        lengths = []
    if not lengths or not all(0 < length < math.inf for length in lengths):
        names = "(z, y, x)" if axes == 3 else "(y, x)"
        raise ParameterError(f"pixel_size={size!r}: give {axes} lengths above 0, {names}")
    return tuple(lengths)
