"""A label image with ever smaller copies as OME-Zarr, written from top to bottom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

Labels = npt.NDArray[np.uint32]

NGFF = "0.5"
NAME = "masks"
"""Of the label image in its group."""


class Pyramid:
    """The levels of a label image, each half as large as the one before.

    A pixel of a level is the upper left one of four: labels have no mean.

    Parameters
    ----------
    folder : Path
        The group ``labels``; what is there is overwritten.
    shape : tuple of int
        Height and width in pixels.
    chunk : int
        Side of a chunk in pixels: a power of two.
    pixel_size : (float, float)
        Height and width of a pixel.
    unit : str or None
        What `pixel_size` is in, as OME-Zarr calls it; None for pixels.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int],
        *,
        chunk: int,
        pixel_size: tuple[float, float],
        unit: str | None,
    ) -> None:
        import zarr

        self._chunk = chunk
        group = zarr.create_group(folder, overwrite=True, zarr_format=3)
        group.attrs["ome"] = {"version": NGFF, "labels": [NAME]}
        image = group.create_group(NAME)
        shapes = [shape]
        while max(shapes[-1]) > chunk:
            shapes.append((-(-shapes[-1][0] // 2), -(-shapes[-1][1] // 2)))
        self._levels: list[Any] = [
            image.create_array(
                str(level),
                shape=size,
                chunks=(chunk, chunk),
                dtype="uint32",
                fill_value=0,
                dimension_names=("y", "x"),
            )
            for level, size in enumerate(shapes)
        ]
        image.attrs["ome"] = metadata(len(shapes), pixel_size, unit)
        # Rows of each level that do not fill a row of chunks yet, and where they begin.
        self._waiting: list[list[Labels]] = [[] for _ in shapes]
        self._tops = [0] * len(shapes)

    def write(self, rows: Labels) -> None:
        """Write the next rows: as many as a chunk is high, or up to the last one."""
        self._write(0, rows)

    def _write(self, level: int, rows: Labels) -> None:
        waiting, array = self._waiting[level], self._levels[level]
        waiting.append(rows)
        top, height = self._tops[level], sum(map(len, waiting))
        if height < self._chunk and top + height < array.shape[0]:
            return
        strip = np.concatenate(waiting) if len(waiting) > 1 else rows
        waiting.clear()
        if strip.any():
            array[top : top + height] = strip
        self._tops[level] = top + height
        if level + 1 < len(self._levels):
            self._write(level + 1, strip[::2, ::2])


def metadata(levels: int, pixel_size: tuple[float, float], unit: str | None) -> dict[str, Any]:
    """Return OME-Zarr's description of a label image.

    Parameters
    ----------
    levels : int
    pixel_size, unit
        As for `Pyramid`.
    """
    axes: list[dict[str, str]] = [{"name": name, "type": "space"} for name in "yx"]
    if unit is not None:
        axes = [{**axis, "unit": unit} for axis in axes]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [side * 2**level for side in pixel_size]},
            ],
        }
        for level in range(levels)
    ]
    return {
        "version": NGFF,
        "multiscales": [
            {"name": NAME, "axes": axes, "datasets": datasets, "type": "nearest"},
        ],
        "image-label": {"version": NGFF},
    }
