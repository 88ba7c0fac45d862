"""`ImageSource`: what a file of images holds, and its planes one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from napari_sam_amg.errors import ImageError, SamAmgError
from napari_sam_amg.sources.axes import positions, suffix
from napari_sam_amg.sources.lazy import ChannelStack

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy.typing as npt

    from napari_sam_amg.sources.lazy import ArrayLike
    from napari_sam_amg.sources.rows import Rows

RGB = "RGB"
"""Stands for three channels that are seen as one colour image."""


class Reader(Protocol):
    """Gives the pixels of a source."""

    def data(self) -> ArrayLike:
        """Return the image, lazily."""

    def levels(self) -> Sequence[ArrayLike]:
        """Return the image at each resolution, lazily, the finest first."""

    def rows(self, place: tuple[int, ...]) -> Rows | None:
        """Return the plane at a place along the axes in front of Y, rows of which can be read.

        None if it can be read as a whole only.
        """

    def close(self) -> None:
        """Let go of open files; they are opened again when needed."""


@dataclass(frozen=True)
class Plane:
    """One plane of an image.

    Attributes
    ----------
    source : ImageSource
        Where it comes from.
    index : dict
        Its place along ``"T"`` and ``"Z"``, as far as the image has these axes.
    suffix : str
        For the name of its result, such as ``_t000_z003``; empty if there is no other plane.
    channel : int or slice or None
        What is read along C.
    """

    source: ImageSource
    index: dict[str, int]
    suffix: str
    channel: int | slice | None = None

    def read(self) -> npt.NDArray[Any]:
        """Return the pixels that were chosen, HxW or HxWxC (colour), in the file's dtype."""
        return self._read(self.channel)

    def read_channels(self) -> npt.NDArray[Any]:
        """Return the pixels of all channels, HxW or HxWxC; see `ImageSource.value_names`."""
        return self._read(slice(None))

    def _read(self, channel: int | slice | None) -> npt.NDArray[Any]:
        axes = self.source.axes
        places: dict[str, Any] = {**self.index}
        if "C" in axes:
            places["C"] = 0 if channel is None else channel
        where = tuple(places.get(axis, slice(None)) for axis in axes)
        try:
            pixels = np.asarray(self.source.data[where])
        except (SamAmgError, MemoryError):
            raise
        except Exception as error:
            # Libraries raise almost anything on damaged chunks.
            raise ImageError(
                f"{self.source.path}: the plane {self.index or ''} cannot be read ({error}); the "
                "file is damaged, or its disk cannot be reached"
            ) from error
        if isinstance(places.get("C"), slice):
            pixels = np.moveaxis(pixels, 0, -1)  # behind S: channels of colour are kept apart
            pixels = pixels.reshape(*pixels.shape[:2], -1)
            pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return pixels if pixels.flags.writeable else pixels.copy()


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image of any number of planes; nothing but its description is in memory.

    A context manager: files that were opened to read planes are closed at its end.

    Attributes
    ----------
    path : Path
        The file, or the folder of an OME-Zarr image.
    axes : str
        Letters of ``TCZYXS``, in the order of the data; rows and columns are there always,
        ``S`` (the colours of a colour image) comes last.
    shape : tuple of int
    dtype : dtype
    pixel_size : dict
        Micrometres for ``"X"``, ``"Y"`` and ``"Z"``, as far as the file says.
    time_step : float or None
        Seconds between two planes along T.
    channel_names : tuple of str
        One for each channel along C; its number where the file has no name for it. Empty
        without C.
    files : tuple of Path
        All files that the image consists of.
    reader : Reader
        Gives the pixels.
    image, images : int
        Which one it is of how many in the file, counted from 0.
    """

    path: Path
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    reader: Reader = field(repr=False)
    pixel_size: dict[str, float] = field(default_factory=dict)
    time_step: float | None = None
    channel_names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    image: int = 0
    images: int = 1

    @property
    def data(self) -> Any:
        """The image, lazily: a zarr array, a memory map, or an array that reads planes."""
        return self.reader.data()

    @property
    def levels(self) -> Sequence[Any]:
        """The image at each resolution, the finest first."""
        return self.reader.levels()

    @property
    def sides(self) -> tuple[float, float] | None:
        """Height and width of a pixel in micrometres, if both are known."""
        if "Y" not in self.pixel_size or "X" not in self.pixel_size:
            return None
        return self.pixel_size["Y"], self.pixel_size["X"]

    @property
    def value_names(self) -> tuple[str, ...] | None:
        """Names of the values that `Plane.read_channels` gives each pixel; None if just one."""
        colours, channels = self.length("S"), self.length("C")
        if colours * channels == 1:
            return None
        if "C" not in self.axes:
            return tuple(str(number) for number in range(colours))
        if colours == 1:
            return self.channel_names
        return tuple(f"{name}-{s}" for s in range(colours) for name in self.channel_names)

    def length(self, axis: str) -> int:
        """Return how long an axis is; 1 if it is not there."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def planes(
        self,
        *,
        channel: int | str | None = None,
        z: int | slice | None = None,
        t: int | slice | None = None,
    ) -> Iterator[Plane]:
        """Go through the planes, over T and within it over Z.

        Parameters
        ----------
        channel : int or str, optional
            Which channel is read: its number or name, or ``"RGB"`` for three channels as
            the colours of one image. Needed if there are several.
        z, t : int or slice, optional
            Which planes, counted from 0; all by default.

        Yields
        ------
        Plane

        Raises
        ------
        ImageError
            If there is no such channel or plane, or none was chosen of several channels.
        """
        chosen = self.channel(channel)
        for place in positions(self.path, "T", self.length("T"), t, "t"):
            for depth in positions(self.path, "Z", self.length("Z"), z, "z"):
                found = {"T": place, "Z": depth}
                index = {axis: at for axis, at in found.items() if axis in self.axes}
                yield Plane(self, index, suffix(self.axes, self.shape, index), chosen)

    def channel(self, wanted: int | str | None) -> int | slice | None:
        """Return the place of a channel along C (arguments and errors as for `planes`)."""
        count, names = self.length("C"), self.channel_names
        listed = ", ".join(f"{n} ({name})" for n, name in enumerate(names) if name != str(n))
        there = f"{self.path} has {count} channel{'' if count == 1 else 's'}" + (
            f": {listed}" if listed else ""
        )
        if wanted is None:
            if count > 1:
                raise ImageError(
                    f"{there}; choose the one that the model is to see, by number from 0 or by "
                    "name (--channel)"
                )
            return None if "C" not in self.axes else 0
        if isinstance(wanted, str) and wanted in names:
            return names.index(wanted)
        if wanted == RGB and count == 3 and "S" not in self.axes:
            return slice(None)
        if wanted == RGB and count == 1 and "S" in self.axes:
            return None if "C" not in self.axes else 0
        number = int(wanted) if str(wanted).isdecimal() else -1
        if not 0 <= number < count:
            raise ImageError(f"{there}; there is none {wanted!r}: choose one of them")
        return number if "C" in self.axes else None

    def stack(self, channel: int | str | None = None) -> ChannelStack:
        """Return all planes of a channel as one lazy array, rows and columns last."""
        return ChannelStack(self.data, self.axes, self.channel(channel))

    def close(self) -> None:
        """Let go of open files; they are opened again if they are needed."""
        self.reader.close()

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
