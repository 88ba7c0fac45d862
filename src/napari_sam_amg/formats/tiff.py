"""TIFF files of one image."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.limits import MAX_PIXELS, check_pixels
from napari_sam_amg.formats.segments import check_segments

if TYPE_CHECKING:
    from collections.abc import Iterator

    import tifffile

    from napari_sam_amg.formats.atomic import AnyPath

_MOST_PAGES = 100_000
_MOST_BYTES = 32
"""Of one pixel: four channels of eight bytes."""


def read_tiff(path: AnyPath, *, max_pixels: int = MAX_PIXELS) -> tuple[npt.NDArray[Any], str]:
    """Read a TIFF of one page.

    Parameters
    ----------
    path : path
        The file: 1, 8, 16 or 32 bits, whole numbers or float, grey or colour.
    max_pixels : int
        Most pixels allowed; more are refused before memory is taken.

    Returns
    -------
    ndarray
        HxW or HxWxC, in the file's dtype.
    str
        The file's description.

    Raises
    ------
    ImageError
        If it is anything else, or damaged.
    """
    with open_tiff(path) as tiff:
        series = tiff.series
        page = series[0].keyframe
        _check_form(path, series, max_pixels)
        return read_page(path, page), str(page.description)


def open_tiff(path: AnyPath) -> tifffile.TiffFile:
    """Open a TIFF file, and see to it that it has a page.

    Parameters
    ----------
    path : path

    Returns
    -------
    tifffile.TiffFile
        Open; to be closed by the caller.

    Raises
    ------
    ImageError
        If there is no such file, or no page in it.
    """
    import tifffile

    if not os.path.isfile(path):
        raise ImageError(f"{path} cannot be read: there is no such file")
    with contextlib.ExitStack() as stack:
        try:
            _check_chain(path)
            tiff = stack.enter_context(tifffile.TiffFile(path))
            _ = str(tiff.series[0].keyframe.description)
        except Exception as error:
            raise ImageError(f"{path} is damaged or cut short: no TIFF page is found") from error
        stack.pop_all()
    return tiff


def read_page(path: AnyPath, page: Any) -> npt.NDArray[Any]:
    """Read the pixels of one page.

    Parameters
    ----------
    path : path
        What errors call the file.
    page : tifffile.TiffPage or TiffFrame
        Of an open file.

    Returns
    -------
    ndarray
        HxW or HxWxC, writeable, in the file's dtype; palettes become RGB.

    Raises
    ------
    ImageError
        If it cannot be decoded, or unpacks to more than its pixels need.
    """
    handle = page.parent.filehandle
    # tifffile closes the other files of a set.
    closed = bool(handle.closed)
    try:
        with decoding(path, page):
            if closed:
                handle.open()
            check_segments(path, page)
            return _decoded(page)
    finally:
        if closed:
            handle.close()


@contextlib.contextmanager
def decoding(path: AnyPath, page: Any) -> Iterator[None]:
    """Say of which file, and what may help, where pixels cannot be decoded in this context."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{path} needs more memory than there is") from None
    except Exception as error:
        raise ImageError(
            f"{path} cannot be decoded: its compression ({_compression(page)}) may need "
            "the package imagecodecs (pip install imagecodecs), or it is damaged; else "
            "save it uncompressed"
        ) from error


def check_pixel_bytes(path: AnyPath, count: int) -> None:
    """Refuse pixels of far more bytes than a colour image has."""
    if count > _MOST_BYTES:
        raise ImageError(f"{path} has pixels of {count} bytes; save it as grey or RGB")


def is_palette(page: Any) -> bool:
    """Return whether a page's values stand for colours, so that it is read as RGB."""
    form = page.keyframe
    return form.colormap is not None and str(form.photometric.name) == "PALETTE"


def _check_chain(path: AnyPath) -> None:
    """Refuse pages that lead back to an earlier one, round which tifffile goes for ever."""
    with open(path, "rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = 43 in head[2:4]
        count_form, entry, offset_form = ("Q", 20, "Q") if big else ("H", 12, "I")
        (offset,) = struct.unpack_from(order + offset_form, head, 8 if big else 4)
        seen: set[int] = set()
        while offset:
            if offset in seen or len(seen) > _MOST_PAGES:
                raise ValueError("the chain of pages does not end")
            seen.add(offset)
            file.seek(offset)
            count = file.read(struct.calcsize(count_form))
            if len(count) < struct.calcsize(count_form):
                return
            file.seek(struct.unpack(order + count_form, count)[0] * entry, os.SEEK_CUR)
            following = file.read(struct.calcsize(offset_form))
            if len(following) < struct.calcsize(offset_form):
                return
            (offset,) = struct.unpack(order + offset_form, following)


def _check_form(path: AnyPath, series: list[tifffile.TiffPageSeries], max_pixels: int) -> None:
    first = series[0]
    axes = dict(zip(first.axes, first.shape, strict=True))
    if not {"Y", "X"} <= set(axes):
        raise ImageError(f"{path} is damaged or cut short: no TIFF page is found")
    planes = any(n > 1 for axis, n in axes.items() if axis not in "YXS")
    if len(series) > 1 or planes:
        pages = sum(len(one.pages) for one in series)
        found = " and ".join(f"{one.shape} ({one.axes})" for one in series[:2])
        raise ImageError(
            f"{path} holds more than one image: {pages} pages, found {found}"
            f"{' ...' if len(series) > 2 else ''}; open stacks with "
            "napari_sam_amg.sources.open_source, and save each of several images as a file of "
            "its own"
        )
    check_pixels(path, axes["Y"], axes["X"], max_pixels)
    if first.nbytes > _MOST_BYTES * max_pixels:
        check_pixel_bytes(path, first.nbytes // (axes["Y"] * axes["X"]))


def _compression(page: Any) -> str:
    return str(getattr(page.keyframe.compression, "name", page.keyframe.compression))


def _decoded(page: Any) -> npt.NDArray[Any]:
    try:
        pixels = np.asarray(page.asarray())
    except ValueError:
        # tifffile needs imagecodecs for some compressions, LZW among them.
        pixels = _decoded_by_pillow(page)
    if is_palette(page):
        colours = (np.asarray(page.keyframe.colormap) >> 8).astype(np.uint8)
        return np.moveaxis(colours[:, pixels], 0, -1)
    pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    return pixels if pixels.flags.writeable else pixels.copy()


def _decoded_by_pillow(page: Any) -> npt.NDArray[Any]:
    from PIL.TiffImagePlugin import TiffImageFile

    # Of a set of files it may be another one than was opened.
    with TiffImageFile(page.parent.filehandle.path) as image:
        image.seek(page.index)
        pixels = np.array(image)
    # Pillow would quietly turn what it has no layout for into eight bits, or invert it.
    if pixels.shape != page.shape or pixels.dtype != page.dtype:
        raise ValueError("Pillow has no layout for these pixels")
    if page.keyframe.photometric.name == "MINISWHITE":
        raise ValueError("Pillow inverts these pixels")
    return pixels
