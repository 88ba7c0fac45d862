"""`open_source`: any image file or OME-Zarr folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.images import picture_form, read_image
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.sources.axes import check_axes
from napari_sam_amg.sources.lazy import LazyPlanes
from napari_sam_amg.sources.source import ImageSource

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_sam_amg.formats.atomic import AnyPath


def open_source(
    path: AnyPath,
    *,
    axes: str | None = None,
    max_pixels: int = MAX_PIXELS,
    image: int | None = None,
) -> ImageSource:
    """Open an image of any number of planes; its pixels are read when they are asked for.

    Parameters
    ----------
    path : path
        A PNG, JPEG, BMP or TIFF file (told by its content), or the folder of an OME-Zarr
        image of NGFF 0.4 or 0.5. Of a plate or another collection, the folder of one image
        in it: see `ngff.images_in`.
    axes : str, optional
        The axes of a stack, such as ``"ZYX"``, where the file has no names for them or
        wrong ones. Images of a single plane take no notice of it.
    max_pixels : int
        Most pixels of a plane; larger ones are refused before memory is taken.
    image : int, optional
        Which one, of an OME-TIFF that holds several; `ImageSource.images` says how many. By
        default the file must hold one.

    Returns
    -------
    ImageSource

    Raises
    ------
    ImageError
        If it cannot be read, its axes have no names, or a plane is too large.
    ParameterError
        If `axes` are none.
    """
    given = None if axes is None else check_axes(axes)
    place = Path(path)
    if image and (os.path.isdir(path) or picture_form(path, max_pixels=max_pixels)):
        raise ImageError(f"{path} holds 1 image, counted from 0: there is no {image}")
    if os.path.isdir(path):
        from napari_sam_amg.sources.ome_zarr import open_ome_zarr

        return open_ome_zarr(place, axes=given, max_pixels=max_pixels)
    form = picture_form(path, max_pixels=max_pixels)
    if form is None:
        from napari_sam_amg.sources.tiff_source import open_tiff_source

        return open_tiff_source(place, axes=given, max_pixels=max_pixels, image=image)
    shape, dtype = form
    return ImageSource(
        path=place,
        axes="YXS" if len(shape) == 3 else "YX",
        shape=shape,
        dtype=dtype,
        reader=_PictureReader(place, shape, dtype, max_pixels),
        files=(place,),
    )


class _PictureReader:
    """Reads a file of one picture."""

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], max_pixels: int
    ) -> None:
        self._form = (shape, dtype)
        self._path = path
        self._max_pixels = max_pixels

    def data(self) -> LazyPlanes:
        """Return the image."""

        def read(_: tuple[int, ...]) -> npt.NDArray[Any]:
            return read_image(self._path, max_pixels=self._max_pixels)

        return LazyPlanes(*self._form, plane_axes=len(self._form[0]), read=read)

    def levels(self) -> list[LazyPlanes]:
        """Return the image, alone."""
        return [self.data()]

    def rows(self, _place: tuple[int, ...]) -> None:
        """Return nothing: such files are decoded as a whole."""

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""
