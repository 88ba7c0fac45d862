"""Which of the images in a TIFF is meant, and which files it lies in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import ImageError

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
    if image is not None and tiff.is_ome and not 0 <= image < len(series):
        raise ImageError(f"{path} holds {len(series)} images, counted from 0: there is no {image}")
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


def files_of(path: Path, series: tifffile.TiffPageSeries) -> tuple[Path, ...]:
    """Return the files of a set that an OME-TIFF may be spread over, that of `path` first."""
    if not series.is_multifile:
        return (path,)
    found = {str(page.parent.filehandle.path) for page in series.pages if page is not None}
    others = {Path(os.path.abspath(name)) for name in found} - {Path(os.path.abspath(path))}
    return (path, *sorted(others))
