"""PNG files, looked at before they are decoded, because their size is what they claim."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.limits import MAX_PIXELS

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Deflate cannot expand data more than 1032 times.
_LARGEST_RATIO = 1032


@dataclass(frozen=True)
class PngHeader:
    """What a PNG says of itself.

    Attributes
    ----------
    height, width : int
        In pixels.
    depth : int
        Bits a channel.
    kind : str
        "grey", "colour", "palette", "grey with alpha" or "colour with alpha".
    """

    height: int
    width: int
    depth: int
    kind: str


def png_header(data: bytes) -> PngHeader:
    """Read the header of a PNG, without decoding it.

    Raises
    ------
    ReadError
        If it is no PNG, or too short for the pixels that it claims to have.
    """
    if len(data) < 33 or not data.startswith(SIGNATURE) or data[12:16] != b"IHDR":
        raise ReadError("it is not a PNG file, or cut short")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    if not width or not height or colour not in _KINDS or depth not in (1, 2, 4, 8, 16):
        raise ReadError("its header is damaged")
    least = height * width * depth * _CHANNELS[colour] // 8
    if least > _LARGEST_RATIO * len(data):
        raise ReadError(
            f"it claims {height} x {width} pixels, which {len(data)} bytes cannot hold"
        )
    return PngHeader(height, width, depth, _KINDS[colour])


def encode_mask(mask: npt.NDArray[np.bool_]) -> bytes:
    """Return a mask as an 8-bit grey PNG of 0 and 255; the same mask gives the same bytes."""
    from PIL import Image

    file = io.BytesIO()
    # Level 1: masks are long runs, which higher levels hardly make smaller.
    Image.fromarray(mask.view(np.uint8) * np.uint8(255)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def decode_mask(
    data: bytes,
    path: AnyPath,
    *,
    shape: tuple[int, int] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> npt.NDArray[np.bool_]:
    """Decode a mask.

    Parameters
    ----------
    data : bytes
        A grey PNG of 1 to 8 bits; not zero is inside.
    path : path
        What errors call it.
    shape : tuple of int, optional
        Height and width that it must have.
    max_pixels : int
        Most pixels allowed; more are refused before memory is taken.

    Returns
    -------
    ndarray, bool, HxW

    Raises
    ------
    ReadError
        If it is anything else, or damaged.
    """
    from PIL.PngImagePlugin import PngImageFile

    try:
        header = png_header(data)
    except ReadError as error:
        raise ReadError(f"{path}: {error}") from None
    found = (header.height, header.width)
    if header.height * header.width > max_pixels:
        raise ReadError(
            f"{path} has {found[0]} x {found[1]} pixels; at most {max_pixels:,} are read"
        )
    if shape is not None and found != shape:
        raise ReadError(
            f"{path} has {found[0]} x {found[1]} pixels, but the image has {shape[0]} x {shape[1]}"
        )
    if header.kind != "grey" or header.depth == 16:
        raise ReadError(
            f"{path} is a {header.depth}-bit {header.kind} PNG; masks are grey PNGs of 8 bits"
        )
    try:
        with PngImageFile(io.BytesIO(data)) as image:
            pixels: npt.NDArray[np.generic] = np.asarray(image)
    except MemoryError:
        raise ReadError(f"{path} needs more memory than there is") from None
    except Exception as error:
        # Pillow raises almost anything on damaged files.
        raise ReadError(f"{path} is damaged or cut short") from error
    inside: npt.NDArray[np.bool_] = pixels != 0
    return inside
