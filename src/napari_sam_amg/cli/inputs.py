"""Which images to work on, from files, folders and patterns."""

from __future__ import annotations

import fnmatch
import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

IMAGE_SUFFIXES = (
    ".bmp",
    ".dib",
    ".jpe",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
)
_RESULT_HEADER = b"id,area,bbox_x0,"


@dataclass(frozen=True)
class Source:
    """One image to work on.

    Attributes
    ----------
    path : Path
        Where it is.
    name : str
        Path within the folder that was given, with ``/``; the file's name if it was given
        itself. Results are named after it.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without the last suffix, as amg.py names results."""
        return os.path.splitext(self.name)[0]


@dataclass(frozen=True)
class Sources:
    """The images to work on, and the files of folders that were left out as no images."""

    images: tuple[Source, ...]
    ignored: tuple[Path, ...]


def find_images(
    inputs: Sequence[str], *, output: Path, recursive: bool = False, pattern: str | None = None
) -> Sources:
    """Find the images that the user asked for.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders, or patterns with ``*``, ``?``, ``[]`` and ``**``.
    output : Path
        Where results go: what is in there is never taken for an image, unless it is a
        folder that was itself given.
    recursive : bool
        Take images in sub-folders of a folder too.
    pattern : str, optional
        Take only files of a folder whose name matches; without it, those with the suffix
        of an image.

    Returns
    -------
    Sources
        Images sorted within each input.

    Raises
    ------
    ParameterError
        If an input does not exist, matches nothing or holds no image.
    """
    images: dict[Path, Source] = {}
    ignored: list[Path] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = _in_folder(path, output, recursive, pattern, ignored)
            if not found:
                raise ParameterError(_nothing_in(path, recursive, pattern))
        elif path.exists():
            found = [Source(path, path.name)]
        elif glob.has_magic(given):
            found = _matching(given, output)
        else:
            raise ParameterError(f"--input {given}: there is no such file or folder")
        for source in found:
            images.setdefault(Path(os.path.abspath(source.path)), source)
    return Sources(tuple(images.values()), tuple(ignored))


def _nothing_in(path: Path, recursive: bool, pattern: str | None) -> str:
    what = f"file that matches {pattern!r}" if pattern else "image"
    advice = "" if recursive else "; add --recursive to look into its sub-folders"
    suffixes = "" if pattern else f" ({' '.join(IMAGE_SUFFIXES)})"
    return f"--input {path}: there is no {what} in this folder{suffixes}{advice}"


def _in_folder(
    folder: Path, output: Path, recursive: bool, pattern: str | None, ignored: list[Path]
) -> list[Source]:
    found = []
    for path in _files(folder, output, recursive):
        wanted = (
            fnmatch.fnmatch(path.name, pattern)
            if pattern
            else path.suffix.lower() in IMAGE_SUFFIXES
        )
        if wanted:
            found.append(Source(path, path.relative_to(folder).as_posix()))
        elif not pattern:
            ignored.append(path)
    return sorted(found, key=lambda source: source.name)


def _files(folder: Path, output: Path, recursive: bool) -> Iterator[Path]:
    """Yield files, but none that are hidden or results of an earlier run."""
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = [
            name
            for name in folders
            if recursive and not _hidden(name) and not _is_result(here / name, output)
        ]
        for name in names:
            if not _hidden(name):
                yield here / name


def _hidden(name: str) -> bool:
    return name.startswith(".") or ".tmp-" in name


def _is_result(folder: Path, output: Path) -> bool:
    if os.path.abspath(folder) == os.path.abspath(output):
        return True
    try:
        with (folder / "metadata.csv").open("rb") as file:
            return file.read(len(_RESULT_HEADER)) == _RESULT_HEADER
    except OSError:
        return False


def _matching(pattern: str, output: Path) -> list[Source]:
    base = Path(pattern)
    while glob.has_magic(str(base)):
        base = base.parent
    inside = os.path.abspath(output)
    outside_output = os.path.abspath(base) == inside or not os.path.exists(inside)
    paths = [Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p)]
    found = [
        Source(path, path.relative_to(base).as_posix())
        for path in paths
        if outside_output or not Path(os.path.abspath(path)).is_relative_to(inside)
    ]
    if not found:
        raise ParameterError(f"--input {pattern}: no file matches this pattern")
    return sorted(found, key=lambda source: source.name)
