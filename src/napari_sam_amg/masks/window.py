"""A mask's pixels without their surroundings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Window = npt.NDArray[np.bool_]


def tight_window(pixels: Window) -> tuple[int, int, Window] | None:
    """Return left, top and pixels of a mask's bounding window; None if it has no pixel."""
    rows = np.flatnonzero(pixels.any(axis=1))
    if not rows.size:
        return None
    top, bottom = int(rows[0]), int(rows[-1])
    columns = np.flatnonzero(pixels[top : bottom + 1].any(axis=0))
    left, right = int(columns[0]), int(columns[-1])
    return left, top, pixels[top : bottom + 1, left : right + 1]
