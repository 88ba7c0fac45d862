"""Pixels of an image that need not fit into memory, each chunk read once a pass."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.image import check_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

_ROWS = 256
"""Rows that are read at once at the least."""


class Source:
    """An image as rows of whole chunks.

    Parameters
    ----------
    image : array, HxW, HxWx1, HxWx3 or HxWx4
        NumPy, a memory map, zarr, dask, or anything that has ``shape`` and ``dtype`` and can
        be cut into slices. bool, any integer or float; a fourth channel is dropped.
    name : str
        What errors call the image.

    Attributes
    ----------
    shape : tuple of int
        Height and width in pixels.
    full_shape : tuple of int
        With the channels, if there are any.
    dtype : dtype
    channels : int
        That count: 1 or 3.

    Raises
    ------
    ImageError
        If it is no image.
    """

    def __init__(self, image: Any, name: str = "image") -> None:
        if not hasattr(image, "shape") or not hasattr(image, "dtype"):
            image = np.asarray(image)
        check_form(image.shape, np.dtype(image.dtype), name)
        self._image, self._name = image, name
        self.full_shape = tuple(int(n) for n in image.shape)
        self.shape = (self.full_shape[0], self.full_shape[1])
        self.dtype = np.dtype(image.dtype)
        self.has_alpha = self.full_shape[2:] == (4,)
        self.channels = 3 if self.full_shape[2:] in ((3,), (4,)) else 1
        self.bounds = _bounds(self.shape[0], getattr(image, "chunks", None))

    @property
    def chunks(self) -> tuple[tuple[int, ...]]:
        """Heights of the blocks that are read at once, as dask has them."""
        return (tuple(np.diff(self.bounds).tolist()),)

    def __getitem__(self, rows: tuple[slice] | slice) -> NDArray[Any]:
        """Read rows of the image, without its fourth channel."""
        rows = rows[0] if isinstance(rows, tuple) else rows
        try:
            block = np.asarray(self._image[rows])
        except MemoryError:
            raise
        except Exception as error:
            raise ImageError(
                f"{self._name}: rows {rows.start} to {rows.stop - 1} could not be read "
                f"({type(error).__name__}: {error}); a run that was begun goes on from its "
                "finished tiles once they can be"
            ) from error
        return block[..., :3] if self.has_alpha else block

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the image from top to bottom: first row, and rows of whole chunks."""
        for start, stop in itertools.pairwise(self.bounds):
            yield start, self[start:stop]


class Strip:
    """The rows of an image that tiles are being cut from, moving from top to bottom.

    Parameters
    ----------
    source : Source
    seen : callable
        Called with each block of rows when it is read.
    """

    def __init__(self, source: Source, seen: Callable[[NDArray[Any]], None]) -> None:
        self._source, self._seen = source, seen
        self._held: list[tuple[int, NDArray[Any]]] = []
        self._coming = list(itertools.pairwise(source.bounds))[::-1]

    def hold(self, top: int, bottom: int) -> None:
        """Have rows `top` to ``bottom - 1`` at hand; those above are forgotten."""
        self._held = [(y, block) for y, block in self._held if y + len(block) > top]
        while self._coming and self._coming[-1][0] < bottom:
            start, stop = self._coming.pop()
            block = self._source[start:stop]
            self._seen(block)
            if stop > top:
                self._held.append((start, block))

    def window(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return a part of the rows at hand, in the image's own values."""
        parts = [
            block[max(0, rows.start - y) : max(0, rows.stop - y), columns]
            for y, block in self._held
        ]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def finish(self) -> None:
        """Have the rest read, which no tile lies in."""
        self.hold(self._source.shape[0], self._source.shape[0])


def _bounds(height: int, chunks: Any) -> list[int]:
    """Return where blocks of rows begin and the last one ends: whole chunks, some rows each."""
    first = chunks[0] if chunks else _ROWS
    heights = first if isinstance(first, tuple) else (int(first),) * -(-height // int(first))
    bounds = [0]
    for end in np.minimum(np.cumsum(heights), height).tolist():
        if end - bounds[-1] >= _ROWS or end == height:
            bounds.append(end)
    return bounds
