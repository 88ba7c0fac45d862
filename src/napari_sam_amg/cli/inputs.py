"""Which images to work on, from files, folders and patterns."""

from __future__ import annotations

import fnmatch
import glob
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.cli.existing import is_result, is_result_file
from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
    unreadable: list[tuple[Path, str]] = []
    for given in inputs:
        path = Path(given)
        # Not the methods of Path, which raise where a name is too long.
        if os.path.isdir(given):
            refused: list[tuple[Path, str]] = []
            files = _files(path, output, recursive, refused)
            found = _in_folder(path, files, pattern, ignored)
            if not found:
                raise ParameterError(_nothing_in(path, recursive, pattern, refused))
            unreadable += refused
        elif os.path.exists(given):
            found = [Source(path, path.name)]
        elif glob.has_magic(given):
            found = _matching(given, output)
        else:
            raise ParameterError(f"--input {given}: there is no such file or folder")
        for source in found:
            images.setdefault(Path(os.path.abspath(source.path)), source)
    return Sources(tuple(images.values()), tuple(ignored), tuple(dict(unreadable).items()))


def _nothing_in(
    path: Path, recursive: bool, pattern: str | None, refused: Sequence[tuple[Path, str]]
) -> str:
    if refused:
        folder, why = refused[0]
        return f"--input {path}: {folder} {why}: check that you may read it"
    what = f"file that matches {pattern!r}" if pattern else "image"
    advice = "" if recursive else "; add --recursive to look into its sub-folders"
    suffixes = "" if pattern else f" ({' '.join(IMAGE_SUFFIXES)})"
    return f"--input {path}: there is no {what} in this folder{suffixes}{advice}"


def _in_folder(
    folder: Path, files: Iterable[Path], pattern: str | None, ignored: list[Path]
) -> list[Source]:
    found = []
    for path in files:
        wanted = (
            fnmatch.fnmatch(path.name, pattern)
            if pattern
            else path.suffix.lower() in IMAGE_SUFFIXES
        )
        if wanted and not is_result_file(path):
            found.append(Source(path, path.relative_to(folder).as_posix()))
        elif not wanted and not pattern:
            ignored.append(path)
    return sorted(found, key=lambda source: source.name)


def _files(
    folder: Path, output: Path, recursive: bool, refused: list[tuple[Path, str]]
) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        why = (error.strerror or "input or output error").lower()
        refused.append((Path(error.filename), f"cannot be read: {why}"))

    for parent, folders, names in os.walk(folder, onerror=refuse):
        here = Path(parent)
        folders[:] = [n for n in folders if recursive and not _is_passed_over(here / n, output)]
        for name in names:
            if not _is_hidden(name):
                yield here / name


def _matching(pattern: str, output: Path) -> list[Source]:
    base = Path(pattern)
    while glob.has_magic(str(base)):
        base = base.parent
    found = []
    for given in glob.glob(pattern, recursive=True):
        if not os.path.isfile(given):
            continue
        # A pattern may go up again: results are named after where an image really is.
        name = os.path.normpath(Path(given).relative_to(base))
        if name.split(os.sep)[0] == os.pardir:
            raise ParameterError(
                f"--input {pattern}: {given} is not within {base}, so its result would be outside "
                "of --output: write the pattern without '..' after its first wildcard"
            )
        path = base / name
        folders = [parent for parent in path.parents if parent != base and base in parent.parents]
        if not (
            _is_hidden(path.name)
            or is_result_file(path)
            or any(_is_passed_over(folder, output) for folder in folders)
        ):
            found.append(Source(Path(given), Path(name).as_posix()))
    if not found:
        raise ParameterError(f"--input {pattern}: no file matches this pattern")
    return sorted(found, key=lambda source: source.name)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or ".tmp-" in name


def _is_passed_over(folder: Path, output: Path) -> bool:
    """Return whether a folder that was not itself given is hidden or an earlier result."""
    return (
        _is_hidden(folder.name)
        or os.path.abspath(folder) == os.path.abspath(output)
        or is_result(folder, "png")
    )
