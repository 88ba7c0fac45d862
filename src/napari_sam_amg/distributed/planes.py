"""Planes of files, so that another process finds them again."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.sources import Plane, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_sam_amg.sources import ImageSource


@dataclass(frozen=True)
class RemotePlane:
    """One plane of a file that is read where it is needed.

    Attributes
    ----------
    path : str
        Absolute; a worker has to see the same file there.
    axes : str or None
        As the user gave them.
    max_pixels : int
        As for `open_source`.
    form : tuple
        Axes, shape and dtype that the file has here.
    index : dict
        Place of the plane along T and Z.
    channel : int or slice or None
        What is read along C.
    image : int or None
        Which one, of a file that holds several.
    """

    path: str
    axes: str | None
    max_pixels: int
    form: tuple[str, tuple[int, ...], str]
    index: dict[str, int] = field(default_factory=dict)
    channel: int | slice | None = None
    image: int | None = None

    @classmethod
    def of(cls, plane: Plane, *, axes: str | None, max_pixels: int) -> RemotePlane:
        """Describe a plane of an open file; `axes` and `max_pixels` as it was opened with."""
        source = plane.source
        path = os.path.abspath(source.path)
        image = source.image if source.images > 1 else None
        return cls(path, axes, max_pixels, _form(source), plane.index, plane.channel, image)

    @contextlib.contextmanager
    def opened(self) -> Iterator[ImageSource]:
        """Open the file.

        Raises
        ------
        ImageError
            If it cannot be opened, or is another one here.
        """
        with open_source(
            self.path, axes=self.axes, max_pixels=self.max_pixels, image=self.image
        ) as source:
            if _form(source) != self.form:
                raise ImageError(
                    f"{self.path} is another file than where the run was started: its axes, shape "
                    f"and type are {_form(source)}, and there {self.form}; workers need the same "
                    "file system"
                )
            yield source

    def read(self) -> npt.NDArray[Any]:
        """Return the pixels, HxW or HxWxC, in the file's dtype; errors as for `opened`."""
        with self.opened() as source:
            return Plane(source, self.index, "", self.channel).read()


def only_plane(path: str) -> RemotePlane:
    """Return the plane of a file that holds one; ImageError if there are several."""
    with open_source(path) as source:
        planes = list(source.planes())
        if len(planes) > 1:
            raise ImageError(
                f"{path} has {len(planes)} planes: give those that you want as arrays, or use the "
                "command line"
            )
        return RemotePlane.of(planes[0], axes=None, max_pixels=MAX_PIXELS)


def _form(source: ImageSource) -> tuple[str, tuple[int, ...], str]:
    return source.axes, tuple(map(int, source.shape)), source.dtype.str
