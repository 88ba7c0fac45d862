"""Compressed parts of a TIFF, measured before they are unpacked.

tifffile without imagecodecs unpacks a part whatever it unpacks to, so a file of a megabyte
can take gigabytes. Here parts are unpacked piece by piece, and only counted.
"""

from __future__ import annotations

import importlib
import lzma
import math
import zlib
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.formats.atomic import AnyPath

_DEFLATE, _LZMA, _ZSTD, _PACKBITS = (8, 32946, 50013), (34925,), (50000, 34926), (32773,)
_PIECE = 1 << 20
_SLACK = 1 << 16
"""Bytes that a part may have beyond what is needed: some writers pad."""

_MOST_TILE_PIXELS = 1 << 24
_LZMA_MEMORY = 1 << 28
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_segments(path: AnyPath, page: Any) -> None:
    """Refuse a page whose parts unpack to more than its pixels need.

    Parameters
    ----------
    path : path
        What errors call the file.
    page : tifffile.TiffPage
        Of an open file.

    Raises
    ------
    ImageError
        If a part is too long, or a tile far larger than the image.
    """
    # Pages that are like an earlier one keep nothing but where their parts are.
    form = page.keyframe
    rows, columns = int(form.imagelength), int(form.imagewidth)
    if form.is_tiled:
        most = max(_MOST_TILE_PIXELS, 4 * rows * columns)
        rows, columns = int(form.tilelength), int(form.tilewidth)
        if rows * columns * int(form.tiledepth) > most:
            raise ImageError(
                f"{path} has tiles of {rows} x {columns} pixels, far larger than the image; it is "
                "damaged or made to exhaust memory"
            )
    else:
        rows = min(rows, int(form.rowsperstrip) or rows)
    samples = int(form.samplesperpixel) if int(form.planarconfig) == 1 else 1
    room = rows * columns * samples * -(-int(form.bitspersample) // 8) + _SLACK
    if form.compression in _PACKBITS:
        unpacked = _packbits
    elif _decompressor(form.compression) is not None:
        unpacked = _stream
    else:
        return
    reverse = int(form.fillorder) == 2
    parts = page.parent.filehandle.read_segments(
        page.dataoffsets, page.databytecounts, length=math.prod(form.chunked)
    )
    for data, _ in parts:
        if data is None:
            continue
        length = 0
        for piece in unpacked(data.translate(_REVERSED) if reverse else data, form.compression):
            length += piece
            if length > room:
                raise ImageError(
                    f"{path}: a part of it unpacks to more than the {room:,} bytes that its "
                    "pixels need; it is damaged or made to exhaust memory"
                )


def _decompressor(compression: int) -> Any:
    if compression in _DEFLATE:
        return zlib.decompressobj()
    if compression in _LZMA:
        return lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)
    if compression in _ZSTD:
        try:
            # From Python 3.14 on; without it, only imagecodecs unpacks this, which is bounded.
            return importlib.import_module("compression.zstd").ZstdDecompressor()
        except ImportError:
            return None
    return None


def _stream(data: bytes, compression: int) -> Iterator[int]:
    """Yield the lengths of the pieces that a part unpacks to."""
    decompressor, first = _decompressor(compression), True
    while True:
        try:
            piece = decompressor.decompress(data, _PIECE)
        except Exception:
            # What follows a stream is another one, or nothing that is looked at.
            if first:
                raise
            return
        yield len(piece)
        if decompressor.eof:
            data = decompressor.unused_data
            if compression in _DEFLATE or not data:
                return
            decompressor, first = _decompressor(compression), False
            continue
        # zlib hands back what it has not looked at; the others keep it.
        data = getattr(decompressor, "unconsumed_tail", b"")
        if not piece and not data:
            return


def _packbits(data: bytes, compression: int) -> Iterator[int]:
    del compression
    place = 0
    while place < len(data):
        head = data[place]
        if head > 128:
            yield 257 - head
            place += 2
        else:
            yield head + 1 if head < 128 else 0
            place += head + 2 if head < 128 else 1
