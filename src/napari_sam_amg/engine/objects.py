"""Where a model's object head sees objects: one prompt for each.

The head (`napari_sam_amg.models.object_head`) says for each cell how much of it objects cover,
and whether an object's centre lies there. A prompt is laid on each peak of the latter; what
covers some area without a peak is asked for at its innermost cell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.grid import depths

if TYPE_CHECKING:
    import torch

    from napari_sam_amg.engine.encoder import Features

_COVERED = 0.5
"""Share of a cell from which on it counts as an object's."""

_BARELY = 0.3
"""Where less is covered, a peak is no object's: with small ones, cells are covered in part."""

Logits = npt.NDArray[np.float32]


def object_points(
    features: Features, size: tuple[int, int], threshold: float
) -> npt.NDArray[np.float32]:
    """Return where a crop's objects are.

    Parameters
    ----------
    features : Features
        Of the crop, by a model with an object head.
    size : tuple of int
        Height and width of the crop in pixels; what the model saw beyond is left out.
    threshold : float
        How likely a centre must be, 0 to 1.

    Returns
    -------
    ndarray, float32, Nx2
        (x, y) in crop pixels, row by row of cells.
    """
    foreground, centre = _maps(features).float().cpu().numpy()
    row, column = np.nonzero(centre_cells(foreground, centre, threshold))
    width, height = cell_size(features)
    x, y = (column + 0.5) * width, (row + 0.5) * height
    points = np.stack([x, y], axis=1).astype(np.float32)
    kept: npt.NDArray[np.float32] = points[(points < np.array([size[1], size[0]])).all(axis=1)]
    return kept


def cell_size(features: Features) -> tuple[float, float]:
    """Return the width and height of a cell in pixels of the crop: what a place is known to."""
    rows, columns = _maps(features).shape[-2:]
    height, width = features.frame
    return width / columns, height / rows


def _maps(features: Features) -> torch.Tensor:
    if features.objects is None:
        raise TypeError("the model has no object head")
    return features.objects


def centre_cells(foreground: Logits, centre: Logits, threshold: float) -> npt.NDArray[np.bool_]:
    """Mark one cell of each object.

    Parameters
    ----------
    foreground, centre : ndarray, float32, hxw
        The head's logits.
    threshold : float
        How likely a centre must be, 0 to 1.

    Returns
    -------
    ndarray, bool, hxw
    """
    from scipy import ndimage

    covered, likely = _probability(foreground), _probability(centre)
    around = np.ones((3, 3), dtype=bool)
    peaks = likely == ndimage.maximum_filter(likely, footprint=around)
    peaks &= (likely > threshold) & (covered > _BARELY)
    marked = np.zeros(peaks.shape, dtype=np.bool_)
    # Cells that are equally likely are one peak, at the first of them.
    plateau, first = np.unique(ndimage.label(peaks, around)[0], return_index=True)
    marked.ravel()[first[plateau > 0]] = True

    areas, count = ndimage.label(covered > _COVERED)
    without = np.setdiff1d(np.arange(1, count + 1), areas[marked])
    if len(without):
        for row, column in ndimage.maximum_position(depths(areas > 0), areas, without):
            marked[row, column] = True
    return marked


def _probability(logits: Logits) -> npt.NDArray[np.float64]:
    from scipy.special import expit

    found: npt.NDArray[np.float64] = expit(logits.astype(np.float64))
    return found
