"""A part of an image in which objects are looked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.grid import Box, Crop, crops, depths, layer_grids, within
from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from napari_sam_amg.engine.tiling import Tiling
    from napari_sam_amg.parameters import AmgParameters

_MARGIN = 0.25
_LEAST_MARGIN = 32

Points = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Region:
    """Where points are laid, and how much around it the model sees.

    Attributes
    ----------
    shape : tuple of int
        Height and width of the whole image.
    box : tuple of int
        (x0, y0, x1, y1) around the region; x1 and y1 exclusive.
    mask : ndarray, bool
        The region within `box`.
    window : tuple of int
        As `box`, with surroundings, so that objects at the region's edge are seen whole.
    """

    shape: tuple[int, int]
    box: Box
    mask: npt.NDArray[np.bool_]
    window: Box

    @classmethod
    def of(cls, mask: npt.ArrayLike, least: int = 1) -> Region:
        """Make a region from a mask of the whole image.

        Parameters
        ----------
        mask : array of bool, HxW
        least : int
            Sides of the window in pixels, where the image is so large: a model's input
            size, so that small regions are not magnified.

        Raises
        ------
        ParameterError
            If it is no mask, or empty.
        """
        array = np.asarray(mask)
        if array.ndim != 2 or array.dtype != np.bool_:
            raise ParameterError(
                f"region: found an array of shape {array.shape} and dtype {array.dtype}; give "
                "a bool array of the image's height and width, True inside"
            )
        rows, columns = (np.flatnonzero(array.any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            raise ParameterError("region: it has no pixel within the image")
        box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
        height, width = array.shape
        left, right = _widened(box[0], box[2], width, least)
        top, bottom = _widened(box[1], box[3], height, least)
        inner = array[box[1] : box[3], box[0] : box[2]].copy()
        return cls((height, width), box, inner, (left, top, right, bottom))

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the window."""
        x0, y0, x1, y1 = self.window
        return slice(y0, y1), slice(x0, x1)

    @property
    def pixels(self) -> int:
        """How many pixels it has."""
        return int(np.count_nonzero(self.mask))

    def provenance(self) -> dict[str, Any]:
        """Return what a result says of it (JSON; boxes as x, y, width, height)."""
        return {
            "pixels": self.pixels,
            **{
                name: [x0, y0, x1 - x0, y1 - y0]
                for name, (x0, y0, x1, y1) in (("bbox", self.box), ("window", self.window))
            },
        }

    def prompts(
        self, parameters: AmgParameters, tiling: Tiling | None = None
    ) -> tuple[list[Crop], list[Points], int]:
        """Return crops of the window and the points in each, all inside the region.

        Each layer's grid is laid over the region, so dense that about as many points lie
        inside as otherwise in the whole image; more than one a pixel are not laid. In tiles
        points lie as in those of a whole image.

        Where the model says where objects are, there are none: `holds` tells which of those
        are wanted.

        Returns
        -------
        crops : list of Crop
            In pixels of the whole image; those without points are left out.
        points : list of ndarray, float32, Nx2
            (x, y) in pixels of the crop.
        skipped : int
            As `grid.crops`.
        """
        if parameters.prompts == "objects":
            return self._seen(parameters, tiling)
        if tiling is not None:
            tiles = [(c, self._inside(p, c.box)) for c, p in tiling.prompts(self.window, self.box)]
            return *self._laid(tiles), 0
        found, skipped = self._crops(parameters)
        grids = layer_grids(parameters)
        own = parameters.point_grids is not None
        placed: list[tuple[Crop, npt.NDArray[np.float64]]] = []
        for crop in found:
            grid = grids[crop.layer]
            if own:
                frame = self.box if crop.layer == 0 else crop.box
                laid = grid * [frame[2] - frame[0], frame[3] - frame[1]] + frame[:2]
            else:
                laid = self._grid(len(grid) * 4**crop.layer)
            placed.append((crop, self._inside(laid, crop.box)))
        return *self._laid(placed), skipped

    def _crops(self, parameters: AmgParameters) -> tuple[list[Crop], int]:
        """Cut the window as `grid.crops` cuts an image, in pixels of the whole image."""
        x0, y0, x1, y1 = self.window
        found, skipped = crops((y1 - y0, x1 - x0), parameters)
        boxes = [(*np.add(c.box, (x0, y0, x0, y0)).tolist(),) for c in found]
        return [Crop(box, c.layer) for box, c in zip(boxes, found, strict=True)], skipped

    def _seen(
        self, parameters: AmgParameters, tiling: Tiling | None
    ) -> tuple[list[Crop], list[Points], int]:
        """Return the crops that show some of the region, without points."""
        if tiling is None:
            found, skipped = self._crops(parameters)
        else:
            found, skipped = [crop for crop, _ in tiling.prompts(self.window)], 0
        left, top = self.box[:2]
        kept = []
        for crop in found:
            a, b, c, d = crop.core or crop.box
            rows, columns = slice(max(0, b - top), d - top), slice(max(0, a - left), c - left)
            if min(c - left, d - top) > 0 and self.mask[rows, columns].any():
                kept.append(crop)
        return kept, [np.empty((0, 2), dtype=np.float32) for _ in kept], skipped

    def _laid(
        self, placed: list[tuple[Crop, npt.NDArray[np.float64]]]
    ) -> tuple[list[Crop], list[Points]]:
        """Leave out crops without points, and give points in pixels of the crop."""
        found = [(crop, points) for crop, points in placed if len(points)]
        if not found:
            point = self._innermost()

            def distance(crop: Crop) -> float:
                return float(np.abs(np.add(crop.box[:2], crop.box[2:]) / 2 - point).max())

            whole = [crop for crop, _ in placed if crop.layer == 0]
            found = [(min(whole, key=distance), point)]
        return (
            [crop for crop, _ in found],
            [(points - crop.box[:2]).astype(np.float32) for crop, points in found],
        )

    def _grid(self, count: int) -> npt.NDArray[np.float64]:
        """Lay points over the box, of which about `count` lie inside the region."""
        cell = max(1.0, math.sqrt(self.pixels / count))
        x0, y0, x1, y1 = self.box
        across, down = (max(1, round(side / cell)) for side in (x1 - x0, y1 - y0))
        x = x0 + (np.arange(across) + 0.5) * (x1 - x0) / across
        y = y0 + (np.arange(down) + 0.5) * (y1 - y0) / down
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)

    def _inside(self, points: npt.NDArray[np.float64], crop: Box) -> npt.NDArray[np.float64]:
        """Keep the points within a crop that lie on the region's pixels."""
        kept: npt.NDArray[np.float64] = points[within(points, crop) & self.holds(points)]
        return kept

    def holds(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """Tell which points, (x, y) in pixels of the whole image, lie on the region's pixels."""
        column, row = (np.floor(points).astype(np.int64) - self.box[:2]).T
        height, width = self.mask.shape
        there: npt.NDArray[np.bool_] = (column >= 0) & (row >= 0) & (column < width)
        there &= row < height
        there[there] = self.mask[row[there], column[there]]
        return there

    def _innermost(self) -> npt.NDArray[np.float64]:
        """Return the centre of the pixel that is farthest from the region's edge, 1x2."""
        row, column = np.unravel_index(int(np.argmax(depths(self.mask))), self.mask.shape)
        return np.array([[self.box[0] + column + 0.5, self.box[1] + row + 0.5]])


def _widened(low: int, high: int, size: int, least: int) -> tuple[int, int]:
    """Widen a range on both sides, within an image's side."""
    margin = max(_LEAST_MARGIN, math.ceil(_MARGIN * (high - low)))
    margin = max(margin, math.ceil((least - (high - low)) / 2))
    low, high = low - margin, high + margin
    # What lies outside on one side is given to the other.
    low, high = low - max(0, high - size), high + max(0, -low)
    return max(0, low), min(size, high)
