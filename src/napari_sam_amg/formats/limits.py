"""How much is read of files from anywhere, in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg.errors import ImageError

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath

MAX_PIXELS = 2**29
"""Most pixels of an image, decoded or only claimed by masks, unless the caller allows more."""

MAX_PIXELS_IN_PARTS = 2**40
"""Most pixels of an image that is read part by part, unless the caller allows more."""

MAX_MASK_PIXELS = 2**33
"""Most pixels of all masks' windows of a file together: 1 GiB, as they are held packed."""

MAX_TEXT_BYTES = 2**29
"""Largest text file that is read; parsed, it takes about ten times as much memory."""

MAX_IMAGE_BYTES = 2**31
"""Largest PNG, JPEG or BMP file that is read; a BMP of `MAX_PIXELS` has about as many bytes."""


def check_pixels(path: AnyPath, height: int, width: int, max_pixels: int) -> None:
    """Refuse an image that is too large.

    Raises
    ------
    ImageError
        If it has more than `max_pixels` pixels.
    """
    if height * width > max_pixels:
        raise ImageError(
            f"{path} has {height} x {width} pixels, more than the {max_pixels:,} that are read; "
            "raise the limit if this is right, or have it read in parts (--format large, or "
            "napari_sam_amg.large)"
        )
