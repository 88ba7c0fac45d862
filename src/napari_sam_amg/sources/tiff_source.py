"""TIFF files of any number of planes: OME-TIFF, ImageJ hyperstacks, plain pages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.images import read_image
from napari_sam_amg.formats.limits import check_pixels
from napari_sam_amg.formats.tiff import check_pixel_bytes, is_palette, open_tiff, read_page
from napari_sam_amg.sources.axes import resolve_axes
from napari_sam_amg.sources.lazy import LazyPlanes
from napari_sam_amg.sources.rows import mapped_rows, rows_of_page
from napari_sam_amg.sources.source import ImageSource
from napari_sam_amg.sources.tiff_metadata import describe
from napari_sam_amg.sources.tiff_series import chosen, files_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import tifffile

    from napari_sam_amg.sources.rows import Rows


def open_tiff_source(
    path: Path, *, axes: str | None, max_pixels: int, image: int | None = None
) -> ImageSource:
    """Open a TIFF file.

    Parameters
    ----------
    path : Path
    axes : str, optional
        By the user, checked.
    max_pixels : int
        Most pixels of a plane.
    image : int, optional
        Which one, of an OME-TIFF that holds several.

    Raises
    ------
    ImageError
        If it is damaged, holds several images or a plane that is too large, or its planes
        have no named axes.
    """
    with open_tiff(path) as tiff:
        return image_of(path, tiff, axes=axes, max_pixels=max_pixels, image=image)


def image_of(
    path: Path, tiff: tifffile.TiffFile, *, axes: str | None, max_pixels: int, image: int | None
) -> ImageSource:
    """Describe an image of a file that is open; else as `open_tiff_source`.

    To open a set of files takes time for each file of it.
    """
    first = chosen(path, tiff, image)
    # Planar colour lies in front of the rows; it is read behind the columns.
    order = [*(n for n, a in enumerate(first.axes) if a != "S")]
    order += [n for n, a in enumerate(first.axes) if a == "S"]
    found_axes = "".join(first.axes[n] for n in order)
    names = resolve_axes(path, found_axes, [int(first.shape[n]) for n in order], axes)
    front, plane, dtype = _form(path, first, names)
    check_pixels(path, plane[0], plane[1], max_pixels)
    check_pixel_bytes(path, dtype.itemsize * math.prod(plane[2:]))
    kept = [n for n in range(len(front)) if names[n] in "TCZ"]
    shape = (*(front[n] for n in kept), *plane)
    letters = "".join(names[n] for n in kept) + ("YXS" if len(plane) == 3 else "YX")
    channels = shape[letters.index("C")] if "C" in letters else 0
    found = describe(tiff, channels if names == found_axes else 0, image or 0)
    return ImageSource(
        path=path,
        axes=letters,
        shape=shape,
        dtype=dtype,
        reader=_TiffReader(
            path,
            shape,
            front,
            plane,
            dtype,
            max_pixels,
            image if len(tiff.series) > 1 else None,
        ),
        pixel_size={a: size for a, size in found.pixel_size.items() if a in letters},
        time_step=found.time_step if "T" in letters else None,
        channel_names=found.channel_names or tuple(str(n) for n in range(channels)),
        files=files_of(path, tiff),
        image=image or 0,
        images=len(tiff.series) if tiff.is_ome else 1,
    )


def _form(
    path: Path, series: tifffile.TiffPageSeries, names: str
) -> tuple[tuple[int, ...], tuple[int, ...], np.dtype[Any]]:
    """Return the lengths of the axes in front, a plane's shape as it is read, and the dtype."""
    page = series.keyframe
    if page.axes not in ("YX", "YXS", "SYX"):
        raise ImageError(
            f"{path} has pages with the axes {page.axes}: save each plane as a page of its own"
        )
    lengths = tuple(int(n) for n in series.shape)
    front = lengths[: len(lengths) - page.ndim]
    inside = names[len(front) :]
    sides = dict(zip(page.axes, page.shape, strict=True))
    if sorted(inside) != sorted(page.axes) or inside.replace("S", "") != "YX":
        raise ImageError(
            f"{path} has the axes {series.axes} and pages of {page.axes}, which do not belong "
            "together; save it anew"
        )
    plane = (int(sides["Y"]), int(sides["X"]))
    dtype = np.dtype(series.dtype).newbyteorder("=")
    if is_palette(page):
        return front, (*plane, 3), np.dtype(np.uint8)
    return front, plane if "S" not in sides else (*plane, int(sides["S"])), dtype


class _TiffReader:
    """Reads planes of a file, which is open from the first plane on until `close`."""

    def __init__(
        self,
        path: Path,
        shape: tuple[int, ...],
        front: tuple[int, ...],
        plane: tuple[int, ...],
        dtype: np.dtype[Any],
        max_pixels: int,
        image: int | None,
    ) -> None:
        self._path, self._image, self._alone = path, image or 0, image is None
        self._count = math.prod(front)
        self._shape = shape
        self._plane = plane
        self._dtype = dtype
        self._max_pixels = max_pixels
        self._tiff: tifffile.TiffFile | None = None

    def data(self) -> LazyPlanes:
        """Return the image."""
        if self._count > 1 or not self._alone:
            return self._level(0, self._shape, self._plane)
        # One plane is read with all that is known of single images.
        return LazyPlanes(
            self._shape,
            self._dtype,
            plane_axes=len(self._plane),
            read=lambda _: read_image(self._path, max_pixels=self._max_pixels),
        )

    def levels(self) -> list[LazyPlanes]:
        """Return the image and the smaller ones that the file has besides."""
        found = [self.data()]
        for number, level in enumerate(self._series().levels[1:], start=1):
            page = level.keyframe
            sides = dict(zip(page.axes, page.shape, strict=True))
            plane = (int(sides["Y"]), int(sides["X"]), *self._plane[2:])
            front = self._shape[: len(self._shape) - len(plane)]
            if len(level.pages) == self._count:
                found.append(self._level(number, (*front, *plane), plane))
        return found

    def rows(self, place: tuple[int, ...]) -> Rows | None:
        """Return a plane; None if its values are colours of a palette, or packed elsewhere."""
        tiff, at = self._opened(), self._number(place)
        if len(self._series().pages) == self._count:
            return rows_of_page(self._path, self._listed(at), self._dtype)
        offset, page = self._behind(tiff, at)
        return mapped_rows(self._path, page, offset, self._dtype)

    def close(self) -> None:
        """Close the file."""
        if self._tiff is not None:
            self._tiff.close()
        self._tiff = None

    def _opened(self) -> tifffile.TiffFile:
        if self._tiff is None:
            self._tiff = open_tiff(self._path)
        return self._tiff

    def _level(self, number: int, shape: tuple[int, ...], plane: tuple[int, ...]) -> LazyPlanes:

        def read(place: tuple[int, ...]) -> npt.NDArray[Any]:
            at = self._number(place)
            pixels = self._page(number, at)
            if pixels.shape != plane or pixels.dtype != self._dtype:
                raise ImageError(
                    f"{self._path}: plane {at} is {pixels.shape} of {pixels.dtype}, others are "
                    f"{plane} of {self._dtype}; save it anew"
                )
            return pixels

        return LazyPlanes(shape, self._dtype, plane_axes=len(plane), read=read)

    def _page(self, level: int, at: int) -> npt.NDArray[Any]:
        tiff = self._opened()
        if len(self._series().levels[level].pages) == self._count:
            return read_page(self._path, self._listed(at, level))
        offset, page = self._behind(tiff, at)
        tiff.filehandle.seek(offset)
        stored = self._dtype.newbyteorder(tiff.byteorder)
        pixels = tiff.filehandle.read_array(stored, page.size).reshape(page.shape)
        pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
        return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)

    def _number(self, place: tuple[int, ...]) -> int:
        """Return which plane lies at a place along the axes in front."""
        front = self._shape[: len(self._shape) - len(self._plane)]
        return int(np.ravel_multi_index(place, front)) if front else 0

    def _series(self) -> tifffile.TiffPageSeries:
        return self._opened().series[self._image]

    def _listed(self, at: int, level: int = 0) -> Any:
        """Return the page of a plane."""
        page = self._series().levels[level].pages[at]
        if page is None:
            raise ImageError(
                f"{self._path}: plane {at} is not in the file, which says that it has "
                f"{self._count}; recording may have been ended early: choose planes with --t "
                "and --z"
            )
        return page

    def _behind(self, tiff: tifffile.TiffFile, at: int) -> tuple[int, Any]:
        """Return where a plane begins, and the file's only page.

        ImageJ writes one page and the pixels of all planes behind it.
        """
        series = self._series()
        page = series.keyframe
        size = int(page.nbytes)
        offset = None if series.dataoffset is None else int(series.dataoffset) + at * size
        if offset is None or is_palette(page) or offset + size > tiff.filehandle.size:
            raise ImageError(
                f"{self._path}: plane {at} is not in the file, which says that it has "
                f"{self._count}; it is cut short"
            )
        return offset, page
