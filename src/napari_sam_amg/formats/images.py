"""Image files in, as arrays, with what they claim checked first."""

from __future__ import annotations

import io
import logging
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.formats.limits import MAX_IMAGE_BYTES, MAX_PIXELS, check_pixels
from napari_sam_amg.formats.png import SIGNATURE, png_header
from napari_sam_amg.formats.reading import read_bytes, reason
from napari_sam_amg.formats.tiff import read_tiff

if TYPE_CHECKING:
    from typing import BinaryIO

    from PIL.ImageFile import ImageFile

    from napari_sam_amg.formats.atomic import AnyPath

log = logging.getLogger(__name__)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 0x0112
# How Pillow's pixel layouts become arrays; what is missing is taken as it is.
_CONVERTED = {
    "LA": "RGBA",
    "La": "RGBA",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
_TAKEN = ("1", "L", "I", "I;16", "I;16B", "I;16L", "I;16N", "F", "RGB", "RGBA")


def read_image(path: AnyPath, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[Any]:
    """Read a PNG, JPEG, BMP or TIFF file; what it is, is told by its content.

    Parameters
    ----------
    path : path
        The file.
    max_pixels : int
        Most pixels allowed; more are refused before memory is taken.

    Returns
    -------
    ndarray
        HxW or HxWxC, in the file's dtype; palettes become RGB. Pixels are as stored: an
        orientation that a camera noted is not applied, so that masks fit the file.

    Raises
    ------
    ImageError
        If it cannot be read, is no such file, holds several images, or is too large.
    """
    head = _head(path)
    if head.startswith(_TIFF):
        return read_tiff(path, max_pixels=max_pixels)[0]
    try:
        data = read_bytes(path, max_bytes=MAX_IMAGE_BYTES)
    except ReadError as error:
        raise ImageError(str(error)) from error
    _check_kind(head, path)
    if head.startswith(SIGNATURE):
        _check_png(data, path)
    try:
        with _opened(io.BytesIO(data), head) as image:
            _check_picture(image, path, max_pixels)
            if image.getexif().get(_ORIENTATION, 1) != 1:
                log.warning("%s is shown turned by some programs; it is used as stored", path)
            return _to_array(image, path)
    except (ImageError, MemoryError) as error:
        if isinstance(error, MemoryError):
            raise ImageError(f"{path} needs more memory than there is") from None
        raise
    except Exception as error:
        # Pillow raises almost anything on damaged files.
        raise ImageError(f"{path} is damaged or cut short; save it again") from error


def picture_form(
    path: AnyPath, *, max_pixels: int = MAX_PIXELS
) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return the shape and dtype that `read_image` gives a PNG, JPEG or BMP, without reading it.

    Parameters
    ----------
    path, max_pixels
        As for `read_image`.

    Returns
    -------
    tuple of int
        HxW or HxWxC.
    dtype
        Nothing instead of the two for a TIFF file.

    Raises
    ------
    ImageError
        If it is no such file, holds several images, or is too large.
    """
    head = _head(path)
    if head.startswith(_TIFF):
        return None
    _check_kind(head, path)
    try:
        with open(path, "rb") as file, _opened(file, head) as image:
            _check_picture(image, path, max_pixels)
            mode = image.mode
            if mode == "P":
                mode = "RGBA" if "transparency" in image.info else "RGB"
            mode = _CONVERTED.get(mode, mode)
            sides = (image.height, image.width)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{path} is damaged or cut short; save it again") from error
    kind = {"1": "?", "I": "i4", "F": "f4"}.get(mode, "u2" if ";16" in mode else "u1")
    colours = {"RGB": (3,), "RGBA": (4,)}.get(mode, ())
    return (*sides, *colours), np.dtype(kind)


def _check_kind(head: bytes, path: AnyPath) -> None:
    if not head.startswith((SIGNATURE, b"\xff\xd8\xff", b"BM")):
        raise ImageError(f"{path} is no PNG, JPEG, BMP or TIFF image; convert it to one of these")


def _check_picture(image: ImageFile, path: AnyPath, max_pixels: int) -> None:
    check_pixels(path, image.height, image.width, max_pixels)
    # Of PNGs: an animation. Pillow would give its first picture without a word.
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise ImageError(
            f"{path} holds more than one image: {pictures} pictures of an animation; "
            "save the one that is meant as a file of its own"
        )


def _head(path: AnyPath) -> bytes:
    try:
        if os.path.isdir(path):
            raise ImageError(f"{path} is a folder, not an image")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ImageError(f"{path} is not a file")
        with open(path, "rb") as file:
            head = file.read(len(SIGNATURE))
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {reason(error)}") from error
    except ValueError:
        raise ImageError(f"{os.fspath(path)!r} is no name of a file") from None
    if not head:
        raise ImageError(f"{path} is empty")
    return head


def _opened(file: BinaryIO, head: bytes) -> ImageFile:
    """Open by the format's own class: Pillow's limit on pixels is for the whole process."""
    from PIL.BmpImagePlugin import BmpImageFile
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    if head.startswith(SIGNATURE):
        return PngImageFile(file)
    return (BmpImageFile if head.startswith(b"BM") else JpegImageFile)(file)


def _check_png(data: bytes, path: AnyPath) -> None:
    try:
        header = png_header(data)
    except ReadError as error:
        raise ImageError(f"{path}: {error}") from None
    if header.depth == 16 and header.kind != "grey":
        raise ImageError(
            f"{path} is a 16-bit {header.kind} PNG, which cannot be read without losing bits; "
            "save it as TIFF, or as an 8-bit PNG"
        )


def _to_array(image: ImageFile, path: AnyPath) -> npt.NDArray[Any]:
    if image.mode == "P":
        return np.array(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    if image.mode in _CONVERTED:
        return np.array(image.convert(_CONVERTED[image.mode]))
    if image.mode not in _TAKEN:
        raise ImageError(f"{path} has pixels of the kind {image.mode}; save it as RGB or grey")
    return np.array(image)
