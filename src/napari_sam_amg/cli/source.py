"""What a run works on: where an image is, and what its results are called."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ZARR = re.compile(r"(\.ome)?\.zarr(?=/|\Z)", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    """One image to work on, or one plane of it.

    Attributes
    ----------
    path : Path
        Where it is.
    name : str
        Path within the folder that was given, with ``/``; the file's name if it was given
        itself. Results are named after it.
    folder : bool
        Whether it is an OME-Zarr image.
    place : str
        Of a plane: which one, for people.
    """

    path: Path
    name: str
    folder: bool = False
    place: str = ""

    @property
    def stem(self) -> str:
        """The name without the last suffix, as amg.py names results; without those of Zarr."""
        return _ZARR.sub("", self.name) if self.folder else os.path.splitext(self.name)[0]

    def plane(self, suffix: str, index: Mapping[str, int]) -> Source:
        """Return one plane of the image.

        Parameters
        ----------
        suffix : str
            Goes to the end of the stem.
        index : mapping
            Its place along each axis.
        """
        end = ""
        if self.folder:
            found = re.search(_ZARR.pattern + r"\Z", self.name, re.IGNORECASE)
            end = found[0] if found else ""
        else:
            end = os.path.splitext(self.name)[1]
        name = self.name.removesuffix(end) + suffix + end
        place = ", ".join(f"{axis.lower()} {at}" for axis, at in index.items())
        return replace(self, name=name, place=place)


@dataclass(frozen=True)
class Sources:
    """What was found.

    Attributes
    ----------
    images : tuple of Source
        The images to work on.
    ignored : tuple of Path
        Files of folders that were left out as no images.
    unreadable : tuple of (Path, str)
        Folders that could not be looked into, and why.
    """

    images: tuple[Source, ...]
    ignored: tuple[Path, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()
