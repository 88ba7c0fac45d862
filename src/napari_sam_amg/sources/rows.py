"""Planes of which rows are read when they are asked for."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.formats.segments import check_segments
from napari_sam_amg.formats.tiff import decoding, is_palette

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from napari_sam_amg.sources.source import Plane


class Rows:
    """A plane that need not fit into memory.

    Parameters
    ----------
    shape : tuple of int
        HxW or HxWxC.
    dtype : dtype
    height : int
        Rows that lie together in the file.
    read : callable
        Returns rows, given a slice.

    Attributes
    ----------
    shape, dtype
        As of a NumPy array.
    chunks : tuple of int
        What is read together, as zarr has it.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        height: int,
        read: Callable[[slice], npt.NDArray[Any]],
    ) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ndim = len(self.shape)
        self.chunks = (height, *self.shape[1:])
        self._read = read

    def __getitem__(self, rows: slice) -> npt.NDArray[Any]:
        """Read rows, in the machine's order of bytes."""
        return self._read(rows).astype(self.dtype, copy=False)

    @classmethod
    def of_zarr(cls, array: Any, place: tuple[int, ...]) -> Rows:
        """Return the plane at a place along the axes in front of a zarr array's rows."""
        front = len(place)
        height = int((array.shards or array.chunks)[front])
        native = np.dtype(array.dtype).newbyteorder("=")
        return cls(
            array.shape[front:], native, height, lambda rows: np.asarray(array[(*place, rows)])
        )

    @classmethod
    def as_colour(cls, channels: Sequence[Rows]) -> Rows:
        """Return planes as the colours of one."""
        first = channels[0]
        shape = (*first.shape, len(channels))
        return cls(
            shape,
            first.dtype,
            first.chunks[0],
            lambda rows: np.stack([one[rows] for one in channels], axis=-1),
        )


def lazily(plane: Plane, most: int = MAX_PIXELS) -> Rows | npt.NDArray[Any]:
    """Return what ``plane.read()`` does, but have rows read when they are asked for.

    That is where the file allows it: OME-Zarr, and TIFF that is no palette and, if it is packed,
    no other file of a set. Of others all pixels are read now.

    Parameters
    ----------
    plane : Plane
    most : int
        Most pixels that are read at once.

    Raises
    ------
    ImageError
        If more of them can only be read together, or the file is damaged.
    """
    source = plane.source
    chosen = range(source.length("C"))[0 if plane.channel is None else plane.channel]
    front = source.axes[: source.axes.index("Y")]
    channels = []
    for channel in chosen if isinstance(chosen, range) else [chosen]:
        place = {**plane.index, "C": channel}
        rows = source.reader.rows(tuple(place[axis] for axis in front))
        width = source.length("X")
        together = source.length("Y") if rows is None else rows.chunks[0]
        if together > 1 and together * width > most:
            raise ImageError(
                f"{source.path} has {together} x {width} pixels that can only be read at once, "
                f"more than the {most:,} that are: save it as OME-Zarr in smaller chunks, or as "
                "TIFF in tiles"
            )
        if rows is None:
            return plane.read()
        channels.append(rows)
    return Rows.as_colour(channels) if isinstance(chosen, range) else channels[0]


def rows_of_page(path: Path, page: Any, dtype: np.dtype[Any]) -> Rows | None:
    """Return the pixels of a page of an open TIFF; None if they can be read as a whole only.

    Raises
    ------
    ImageError
        If it unpacks to more than its pixels need, or needs what is not installed.
    """
    if is_palette(page):
        return None
    handle = page.parent.filehandle
    closed = bool(handle.closed)  # as tifffile does with the other files of a set
    if closed:
        handle.open()
    try:
        mappable = bool(page.is_memmappable)
    finally:
        if closed:
            handle.close()
    if mappable:
        return mapped_rows(Path(handle.path), page, int(page.dataoffsets[0]), dtype)
    if closed:
        return None
    import zarr

    with decoding(path, page):
        check_segments(path, page)
        array: Any = zarr.open_array(page.aszarr(), mode="r")
    behind = page.axes == "SYX"  # colours lie plane by plane

    def read(rows: slice) -> npt.NDArray[Any]:
        with decoding(path, page):
            pixels = np.asarray(array[:, rows] if behind else array[rows])
        return np.moveaxis(pixels, 0, -1) if behind else pixels

    shape = (*page.shape[1:], page.shape[0]) if behind else page.shape
    return Rows(shape, dtype, int(array.chunks[1 if behind else 0]), read)


def mapped_rows(path: Path, page: Any, offset: int, dtype: np.dtype[Any]) -> Rows:
    """Return uncompressed pixels that lie in one piece, from a place in the file on."""
    stored = dtype.newbyteorder(page.parent.byteorder)
    if offset + math.prod(page.shape) * dtype.itemsize > os.path.getsize(path):
        raise ImageError(f"{path} is damaged or cut short: it ends within its pixels")
    pixels = np.memmap(path, dtype=stored, mode="r", offset=offset, shape=page.shape)
    turned = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    return Rows(turned.shape, dtype, 1, lambda rows: np.array(turned[rows]))
