"""Images larger than the model's input in tiles, all seen at one scale.

A tile has a core, in which its points lie, and sees a halo around it, so that an object that
crosses the border of two cores is seen whole from either side, and found twice; duplicates are
then removed among all tiles at once. Cores have no point in common and cover the image.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.grid import Box, Crop
from napari_sam_amg.sizes import frame_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.parameters import AmgParameters

_MOST_FILLED = 4
"""Pixels that one of the model's input may stand for, where most of it is filled by mirroring."""

_STRIDE = 4
"""Pixels of the model's input to one of its mask logits."""


@dataclass(frozen=True)
class Tiling:
    """How an area is cut into tiles.

    Attributes
    ----------
    size : int
        Side of a tile in pixels of the image.
    halo : int
        How far, in pixels, tiles see beyond their core at the least.
    frame : int
        Side, in pixels of the image, of what the model's square shows.
    image_size : int
        Side of the model's square in its own pixels.
    parameters : AmgParameters
        ``points_per_side`` of a tile, or ``point_grids`` of the whole area.
    """

    size: int
    halo: int
    frame: int
    image_size: int
    parameters: AmgParameters

    @classmethod
    def of(
        cls, area: tuple[int, int], parameters: AmgParameters, image_size: int
    ) -> Tiling | None:
        """Return how an area (height, width) is tiled; None if it is seen as a whole."""
        p = parameters
        if (p.tile_size is None and p.scale is None) or p.crop_n_layers:
            return None
        if p.scale is None and max(area) <= (p.tile_size or 0):
            return None
        frame = p.tile_size if p.scale is None else frame_side(p.scale, image_size)
        size = p.tile_size or frame
        if frame is not None:
            # Of a small image in a very large frame the model would see next to nothing.
            frame = min(frame, max(2 * max(area), _MOST_FILLED * image_size))
        if frame is None or size is None:  # ruled out above; said again for the type checker
            raise TypeError("neither scale nor tile_size")
        halo = size // 8 if p.tile_halo is None else min(p.tile_halo, (size - 1) // 2)
        return cls(size, halo, frame, image_size, p)

    @property
    def seam(self) -> int:
        """How near to a tile's edge a mask counts as cut off, in pixels of the image.

        That of one logit: up to there a mask's border may be the edge's doing.
        """
        return math.ceil(_STRIDE * self.frame / self.image_size)

    def provenance(self, count: int) -> dict[str, Any]:
        """Return what a result says of it (JSON)."""
        return {
            "count": count,
            "size": self.size,
            "halo": self.halo,
            "scale": self.image_size / self.frame,
        }

    def prompts(
        self, area: Box, own_area: Box | None = None
    ) -> Iterator[tuple[Crop, npt.NDArray[np.float64]]]:
        """Yield the tiles of an area, row by row, and the points in the core of each.

        Parameters
        ----------
        area : tuple of int
            (x0, y0, x1, y1) in pixels of the image.
        own_area : tuple of int, optional
            What ``point_grids`` are shares of; by default, `area`.

        Yields
        ------
        Crop
            In pixels of the image.
        ndarray, float64, Nx2
            (x, y) in pixels of the image; none lies in two tiles. Without any where the model
            says where objects are: those in the crop's core are the tile's.
        """
        x0, y0, x1, y1 = area
        columns, rows = self._along(x0, x1), self._along(y0, y1)
        own = self.parameters.point_grids
        asked = self.parameters.prompts == "objects"
        if own is not None:
            left, top, right, bottom = own_area or area
            points = np.asarray(own[0], dtype=np.float64) * [right - left, bottom - top]
            points += [left, top]
        else:
            across, down = self._ticks(x0, x1), self._ticks(y0, y1)
        for (top, bottom, first, last), (left, right, begin, end) in itertools.product(
            rows, columns
        ):
            if asked:
                here = np.empty((0, 2))
            elif own is not None:
                x, y = points.T
                # Points on the far border of the area belong to the last tile.
                inside = (x >= begin) & ((x < end) | (end == x1))
                inside &= (y >= first) & ((y < last) | (last == y1))
                here = points[inside]
            else:
                x = across[(across >= begin) & (across < end)]
                y = down[(down >= first) & (down < last)]
                here = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
            core = (begin, first, end, last)
            yield Crop((left, top, right, bottom), 0, (self.frame, self.frame), core), here

    def _along(self, low: int, high: int) -> list[tuple[int, int, int, int]]:
        """Cut a side: begin and end of each tile, and of its core."""
        if high - low <= self.size:
            return [(low, high, low, high)]
        count = math.ceil((high - low - 2 * self.halo) / (self.size - 2 * self.halo))
        starts = low + np.round(np.linspace(0, high - low - self.size, count)).astype(int)
        borders = [low, *((starts[1:] + starts[:-1] + self.size) // 2).tolist(), high]
        return [
            (start, start + self.size, begin, end)
            for start, begin, end in zip(starts.tolist(), borders[:-1], borders[1:], strict=True)
        ]

    def _ticks(self, low: int, high: int) -> npt.NDArray[np.float64]:
        """Lay points along a side, as far apart as in a tile."""
        per_side = self.parameters.points_per_side
        if per_side is None:  # AmgParameters refuses this; said again for the type checker
            raise TypeError("points_per_side is None and there are no point_grids")
        count = max(1, math.ceil((high - low) * per_side / self.size))
        ticks: npt.NDArray[np.float64] = low + (np.arange(count) + 0.5) * (high - low) / count
        return ticks
