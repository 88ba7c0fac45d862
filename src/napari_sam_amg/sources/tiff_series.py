"""Which of the images in a TIFF is meant, and which files it lies in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.tiff import open_tiff

if TYPE_CHECKING:
    import tifffile


def chosen(path: Path, tiff: tifffile.TiffFile, image: int | None) -> tifffile.TiffPageSeries:
    """Return the pages of an image.

    Parameters
    ----------
    path : Path
    tiff : tifffile.TiffFile
        Open.
    image : int or None
        Which one, of an OME-TIFF that holds several; None if it is to hold one.

    Raises
    ------
    ImageError
        If there is no such image, or one was not chosen of several.
    """
    series = tiff.series
    count = len(series) if tiff.is_ome else 1
    if not 0 <= (image or 0) < count:
        held = "1 image" if count == 1 else f"{count} images"
        raise ImageError(f"{path} holds {held}, counted from 0: there is no {image}")
    found = series[image if image is not None and tiff.is_ome else 0]
    if not {"Y", "X"} <= set(found.axes):
        raise ImageError(f"{path} is damaged or cut short: no TIFF page is found")
    if len(series) > 1 and (image is None or not tiff.is_ome):
        pages = sum(len(one.pages) for one in series)
        shown = " and ".join(f"{one.shape} ({one.axes})" for one in series[:2])
        shown += " ..." if len(series) > 2 else ""
        advice = "choose one with image=" if tiff.is_ome else "save each as a file of its own"
        raise ImageError(
            f"{path} holds more than one image: {pages} pages, found {shown}; {advice}"
        )
    return found


def files_of(path: Path, tiff: tifffile.TiffFile) -> tuple[Path, ...]:
    """Return the files of a set that its images may be spread over, that of `path` first."""
    found = set()
    for series in tiff.series:
        pages = series.pages if series.is_multifile else [series.keyframe]
        found |= {str(page.parent.filehandle.path) for page in pages if page is not None}
    others = {Path(os.path.abspath(name)) for name in found} - {Path(os.path.abspath(path))}
    return (path, *sorted(others))


def images_in(path: Path) -> tuple[int, tuple[Path, ...]]:
    """Return how many images a file holds, and the files that these lie in.

    One, and the file itself, unless it is an OME-TIFF that can be opened.
    """
    try:
        with open_tiff(path) as tiff:
            return (len(tiff.series) if tiff.is_ome else 1), files_of(path, tiff)
    except (ImageError, OSError):
        return 1, (path,)
