"""COCO's run-length encoding, plain and compressed; safe to decode from any file.

A mask is read column by column; counts are the lengths of alternating runs, the first one
outside the mask. Compressed, each count (from the fourth on: its difference from the one
two places before) is written in groups of five bits, lowest first, as printable characters:
48 + five bits + 32 if another group follows; the highest bit of the last group is the sign.

pycocotools decodes the same, but trusts its input: wrong counts crash it or leak memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.masks.runs import run_lengths, to_coco_counts

_OFFSET, _MORE, _SIGN, _BITS = 48, 32, 16, 5
# A difference of two counts below 2**31 has 32 bits and a sign: seven groups hold 35.
_MAX_GROUPS = 7

Counts = npt.NDArray[np.int64]
Extent = tuple[int, int, int, int]
Window = npt.NDArray[np.bool_]


def encode(
    window: Window, *, left: int = 0, top: int = 0, shape: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Encode a mask as plain run lengths, as sam2's ``uncompressed_rle``.

    Parameters
    ----------
    window : ndarray, bool, hxw
        The mask, or the part of it that has all its pixels.
    left, top : int
        Where the window lies in the image, in pixels.
    shape : tuple of int, optional
        Height and width of the image; by default those of `window`.

    Returns
    -------
    dict
        ``size``: [height, width]; ``counts``: list of int.
    """
    height, width = window.shape if shape is None else shape
    counts = run_lengths(window, left=left, top=top, shape=(height, width))
    return {"size": [int(height), int(width)], "counts": counts}


def encode_compressed(
    window: Window, *, left: int = 0, top: int = 0, shape: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Encode a mask as compressed run lengths, as sam2's ``coco_rle``; see `encode`."""
    plain = encode(window, left=left, top=top, shape=shape)
    return {"size": plain["size"], "counts": to_coco_counts(plain["counts"])}


def from_coco_counts(text: str | bytes) -> Counts:
    """Decompress COCO's string to run lengths.

    Parameters
    ----------
    text : str or bytes
        From anywhere: it is checked.

    Returns
    -------
    ndarray, int64
        As written; whether they fit an image is checked by `decode`.

    Raises
    ------
    ReadError
        If the text is not compressed run lengths.
    """
    try:
        raw = text.encode("ascii") if isinstance(text, str) else bytes(text)
    except UnicodeEncodeError:
        raise ReadError(
            "run lengths hold characters that cannot be in compressed run lengths; "
            "the file is damaged or not COCO"
        ) from None
    groups = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - _OFFSET
    if groups.size and (groups.min() < 0 or groups.max() >= 2 * _MORE):
        raise ReadError(
            "run lengths hold characters that cannot be in compressed run lengths; "
            "the file is damaged or not COCO"
        )
    last = (groups & _MORE) == 0
    if groups.size and not last[-1]:
        raise ReadError("compressed run lengths end in the middle of a number; they are cut short")
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > _MAX_GROUPS:
        raise ReadError(f"a run length has more than {_MAX_GROUPS * _BITS} bits; it is damaged")
    values = np.zeros(len(ends), dtype=np.int64)
    for place in range(int(lengths.max(initial=0))):
        has = lengths > place
        values[has] |= (groups[starts[has] + place] & (_MORE - 1)) << (_BITS * place)
    negative = (groups[ends] & _SIGN) != 0
    values[negative] -= np.int64(1) << (_BITS * lengths[negative])
    # Each count is stored as the difference from the one two places before, but the first three.
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def check_size(size: Any, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return height and width if an image may have them.

    Parameters
    ----------
    size : object
        From a file: a list of two positive integers is wanted.
    max_pixels : int
        Most pixels allowed.

    Raises
    ------
    ReadError
        If it is anything else, or too many pixels.
    """
    well_formed = isinstance(size, list | tuple) and len(size) == 2
    if not well_formed or any(type(n) is not int or n < 1 for n in size):
        raise ReadError(f"image size is {_short(size)}; expected two positive whole numbers")
    height, width = size
    if height * width > max_pixels:
        raise ReadError(
            f"image size {height} x {width} is more than the {max_pixels:,} pixels that are read; "
            "raise max_pixels if this is right"
        )
    return height, width


def decode(
    rle: Any, *, shape: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> tuple[int, int, Window] | None:
    """Decode run lengths from anywhere to the mask's tight window.

    Needs memory for the window and the runs, not for the image.

    Parameters
    ----------
    rle : object
        Wanted: a dict with ``size`` and ``counts``, plain or compressed.
    shape : tuple of int, optional
        Height and width that `rle` must have.
    max_pixels : int
        Most pixels that the image may have, if no shape is given.

    Returns
    -------
    tuple of int, int and ndarray of bool, or None
        Left, top and pixels of the window; None for a mask without pixels.

    Raises
    ------
    ReadError
        If it is damaged, does not fit its own size, or is not of `shape`.
    """
    counts, height = _counts(rle, shape, max_pixels)
    return _to_window(counts, height)


def decoded_size(rle: Any, *, shape: tuple[int, int]) -> int:
    """Return how many pixels the window has that `decode` would give, without decoding it.

    Raises
    ------
    ReadError
        As `decode`.
    """
    counts, height = _counts(rle, shape, MAX_PIXELS)
    place = _extent(*_runs(counts), height)
    return 0 if place is None else place[2] * place[3]


def _counts(rle: Any, shape: tuple[int, int] | None, max_pixels: int) -> tuple[Counts, int]:
    if not isinstance(rle, Mapping) or not {"size", "counts"} <= set(rle):
        raise ReadError(f"run lengths are {_short(rle)}; expected size and counts")
    # A given shape has been checked, maybe against a limit that the caller raised.
    most = max_pixels if shape is None else max(max_pixels, shape[0] * shape[1])
    size = check_size(rle["size"], max_pixels=most)
    if shape is not None and size != tuple(shape):
        raise ReadError(
            f"run lengths are of an image of {size[0]} x {size[1]} pixels, but the image has "
            f"{shape[0]} x {shape[1]}"
        )
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        return _checked(from_coco_counts(counts), size), size[0]
    if not isinstance(counts, list) or not all(type(count) is int for count in counts):
        raise ReadError(f"counts are {_short(counts)}; expected a string or whole numbers")
    try:
        values = np.array(counts, dtype=np.int64)
    except OverflowError:
        raise ReadError("a run length is larger than any image; it is damaged") from None
    return _checked(values, size), size[0]


def _checked(counts: Counts, size: tuple[int, int]) -> Counts:
    pixels = size[0] * size[1]
    if len(counts) > pixels + 1:
        raise ReadError(
            f"{len(counts)} runs are more than an image of {size[0]} x {size[1]} pixels can have"
        )
    if counts.size and (counts.min() < 0 or counts.max() > pixels):
        bad = counts[(counts < 0) | (counts > pixels)][0]
        raise ReadError(f"a run has {bad} pixels, in an image of {size[0]} x {size[1]}")
    if counts.sum() != pixels:
        raise ReadError(
            f"runs add up to {counts.sum()} pixels, but an image of {size[0]} x {size[1]} has "
            f"{pixels}; the mask is damaged or of another image"
        )
    return counts


def _runs(counts: Counts) -> tuple[Counts, Counts]:
    """Return where the runs inside the mask begin and end."""
    edges = np.concatenate([[0], np.cumsum(counts)])
    starts, stops = edges[1:-1:2], edges[2::2]
    filled = stops > starts
    return starts[filled], stops[filled]


def _extent(starts: Counts, stops: Counts, height: int) -> Extent | None:
    """Return left, top, width and height of the window that holds all runs."""
    if not starts.size:
        return None
    first, last = starts // height, (stops - 1) // height
    left, right = int(first[0]), int(last[-1])
    if (first != last).any():
        # A run that goes on in the next column has the image's last row and its first.
        top, bottom = 0, height - 1
    else:
        top = int((starts % height).min())
        bottom = int(((stops - 1) % height).max())
    return left, top, right - left + 1, bottom - top + 1


def _to_window(counts: Counts, height: int) -> tuple[int, int, Window] | None:
    starts, stops = _runs(counts)
    place = _extent(starts, stops, height)
    if place is None:
        return None
    left, top, wide, tall = place
    first = starts // height
    begin = (first - left) * tall + starts - first * height - top
    end = begin + stops - starts
    turns = np.stack([begin, end], axis=1).ravel()
    lengths = np.diff(turns, prepend=0, append=tall * wide)
    pattern = np.arange(len(lengths)) % 2 == 1
    window: Window = np.repeat(pattern, lengths).reshape(-1, tall).T
    return left, top, window


def _short(value: object) -> str:
    plain = (int, float, str, type(None))
    if isinstance(value, list) and len(value) <= 4 and all(isinstance(v, plain) for v in value):
        text = repr(value)
    else:
        text = repr(value) if isinstance(value, plain) else f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."
