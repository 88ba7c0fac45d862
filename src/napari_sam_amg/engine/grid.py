"""Where the model is asked: crops of the image, and points in each crop.

Both follow segment-anything's scheme, which sam2 kept: layer n cuts the image into
2^n x 2^n overlapping crops, and every crop gets a grid of points in its own coordinates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_sam_amg.parameters import AmgParameters


Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Crop:
    """One crop of an image.

    Attributes
    ----------
    box : tuple of int
        (x0, y0, x1, y1) in image pixels, x1 and y1 exclusive.
    layer : int
        0 for the whole image and for tiles.
    frame : tuple of int, optional
        Height and width in image pixels that the model's square shows, at least the crop's;
        the rest mirrors the crop. By default, the model's own profile says.
    core : tuple of int, optional
        As `box`: the part that its points lie in; all of it by default.
    """

    box: Box
    layer: int
    frame: tuple[int, int] | None = None
    core: Box | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        x0, y0, x1, y1 = self.box
        return y1 - y0, x1 - x0

    @property
    def xywh(self) -> tuple[int, int, int, int]:
        """Left, top, width, height in pixels."""
        height, width = self.size
        return self.box[0], self.box[1], width, height


def within(points: npt.NDArray[np.floating], box: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Tell which points (Nx2, (x, y)) lie in a box whose right and lower sides are outside."""
    x, y = points.T
    inside: npt.NDArray[np.bool_] = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
    return inside


def depths(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Return how far each pixel of a mask (HxW) is from the nearest one outside it, in pixels.

    All that lies beyond the array's edge is outside, so that the innermost pixel of what the edge
    cuts off is not on the edge.
    """
    from scipy import ndimage

    found: npt.NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return found


def point_grid(per_side: int) -> npt.NDArray[np.float64]:
    """Return the centres of `per_side` x `per_side` equal cells, row by row.

    Parameters
    ----------
    per_side : int
        Points along each side, at least 1.

    Returns
    -------
    ndarray, float64, (per_side**2, 2)
        (x, y) as shares of width and height.
    """
    offset = 1 / (2 * per_side)
    ticks = np.linspace(offset, 1 - offset, per_side)
    x, y = np.meshgrid(ticks, ticks)
    return np.stack([x, y], axis=-1).reshape(-1, 2)


def points_in(crop: Crop, grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Lay a grid (Nx2, shares of width and height) in a crop: (x, y) in its pixels."""
    height, width = crop.size
    points: npt.NDArray[np.float32] = (grid * np.array([[width, height]])).astype(np.float32)
    return points


def layer_grids(parameters: AmgParameters) -> list[npt.NDArray[np.float64]]:
    """Return the points (Nx2, shares of width and height) of the image and each layer.

    None where the model says where objects are.
    """
    if parameters.prompts == "objects":
        return [np.empty((0, 2))] * (parameters.crop_n_layers + 1)
    if parameters.point_grids is not None:
        return [np.asarray(grid, dtype=np.float64) for grid in parameters.point_grids]
    side = parameters.points_per_side
    if side is None:  # AmgParameters refuses this; said again for the type checker
        raise TypeError("points_per_side is None and there are no point_grids")
    factor = parameters.crop_n_points_downscale_factor
    return [point_grid(side // factor**n) for n in range(parameters.crop_n_layers + 1)]


def crops(shape: tuple[int, int], parameters: AmgParameters) -> tuple[list[Crop], int]:
    """Cut an image into its crops, the whole image first.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    parameters : AmgParameters
        ``crop_n_layers`` and ``crop_overlap_ratio`` count.

    Returns
    -------
    crops : list of Crop
        In the order in which they are processed.
    skipped : int
        Crops without any pixel, left out: a tiny image under deep layers has some.
    """
    height, width = shape
    found = [Crop((0, 0, width, height), 0)]
    skipped = 0
    for layer in range(1, parameters.crop_n_layers + 1):
        per_side = 2**layer
        overlap = int(parameters.crop_overlap_ratio * min(height, width) * (2 / per_side))
        crop_width = math.ceil((overlap * (per_side - 1) + width) / per_side)
        crop_height = math.ceil((overlap * (per_side - 1) + height) / per_side)
        for i in range(per_side):
            for j in range(per_side):
                x0, y0 = (crop_width - overlap) * i, (crop_height - overlap) * j
                box = (x0, y0, min(x0 + crop_width, width), min(y0 + crop_height, height))
                if box[0] >= box[2] or box[1] >= box[3]:
                    skipped += 1
                else:
                    found.append(Crop(box, layer))
    return found, skipped
