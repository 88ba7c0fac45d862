"""The tiles of an image one by one, as tasks that need nothing but their own pixels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.grid import Crop, layer_grids, points_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.engine.tiling import Tiling
    from napari_sam_amg.parameters import AmgParameters


@dataclass(frozen=True, eq=False)
class Tile:
    """Where a model is asked, in a part of an image.

    Attributes
    ----------
    number : int
        Place among the tiles of the image that have points, row by row, from 0.
    shape : tuple of int
        Height and width of the whole image in pixels.
    crop : Crop
        The part that the model sees, in pixels of the image.
    points : ndarray, float32, Nx2
        (x, y) in pixels of the crop; at least one, but where the model says where objects are
        there is none.
    seam : int or None
        How near to an edge of the tile a mask counts as cut off, in pixels; None for an image
        that is seen as a whole.
    """

    number: int
    shape: tuple[int, int]
    crop: Crop
    points: npt.NDArray[np.float32]
    seam: int | None

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of its pixels."""
        x0, y0, x1, y1 = self.crop.box
        return slice(y0, y1), slice(x0, x1)


def tile_rows(shape: tuple[int, int], tiling: Tiling) -> Iterator[list[Tile]]:
    """Yield the tiles of an image, without those in which the model is not asked, row by row.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    tiling : Tiling
        Of this image.
    """
    number = 0
    laid = tiling.prompts((0, 0, shape[1], shape[0]))
    for _, row in itertools.groupby(laid, lambda tile: tile[0].box[1]):
        tiles = []
        for crop, points in row:
            if len(points) or tiling.parameters.prompts == "objects":
                own = (points - crop.box[:2]).astype(np.float32)
                tiles.append(Tile(number, shape, crop, own, tiling.seam))
                number += 1
        if tiles:
            yield tiles


def whole(shape: tuple[int, int], parameters: AmgParameters) -> Tile:
    """Return an image that is seen as a whole as its only tile."""
    crop = Crop((0, 0, shape[1], shape[0]), 0)
    return Tile(0, shape, crop, points_in(crop, layer_grids(parameters)[0]), None)
