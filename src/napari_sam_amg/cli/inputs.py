"""Which images to work on, from files, folders and patterns."""

from __future__ import annotations

import fnmatch
import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.cli.existing import is_result_file, is_result_folder
from napari_sam_amg.cli.source import Source, Sources
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.sources.ngff import images_in, is_ome_zarr

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
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")


def find_images(
    inputs: Sequence[str], *, output: Path, recursive: bool = False, pattern: str | None = None
) -> Sources:
    """Find the images that the user asked for.

    Parameters
    ----------
    inputs : sequence of str
        Files, folders, or patterns with ``*``, ``?``, ``[]`` and ``**``. OME-Zarr folders
        are images, or collections of images, of which each is one.
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
        if os.path.isdir(given) and is_ome_zarr(given):
            found = _in_zarr(path, Path(os.path.abspath(given)).name)
        elif os.path.isdir(given):
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
    if any(os.path.exists(path / name) for name in _ZARR_FILES):
        return (
            f"--input {path}: this is a Zarr folder, but no OME-Zarr: nothing in it describes "
            "'multiscales', so its axes have no names"
        )
    what = f"file that matches {pattern!r}" if pattern else "image"
    advice = "" if recursive else "; add --recursive to look into its sub-folders"
    suffixes = "" if pattern else f" ({' '.join(IMAGE_SUFFIXES)} or OME-Zarr)"
    return f"--input {path}: there is no {what} in this folder{suffixes}{advice}"


def _in_zarr(folder: Path, name: str) -> list[Source]:
    """Return the images of an OME-Zarr folder: itself, or those of a collection."""
    try:
        inside = images_in(folder)
    except ImageError:
        # What is wrong with it is said when it is opened, and the others are done.
        inside = ["."]
    return [
        Source(folder / one, name if len(inside) == 1 else f"{name}/{one}", folder=True)
        for one in inside
    ]


def _in_folder(
    folder: Path, files: Iterable[Path], pattern: str | None, ignored: list[Path]
) -> list[Source]:
    found = []
    for path in files:
        folder_image = os.path.isdir(path)
        wanted = (
            fnmatch.fnmatch(path.name, pattern)
            if pattern
            else folder_image or path.suffix.lower() in IMAGE_SUFFIXES
        )
        if wanted and folder_image:
            found += _in_zarr(path, path.relative_to(folder).as_posix())
        elif wanted and not is_result_file(path):
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
        taken = [n for n in folders if not _is_passed_over(here / n, output)]
        images = {n for n in taken if is_ome_zarr(here / n)}
        folders[:] = [n for n in taken if recursive and n not in images]
        for name in sorted(images):
            yield here / name
        for name in names:
            if not _is_hidden(name):
                yield here / name


def _matching(pattern: str, output: Path) -> list[Source]:
    base = Path(pattern)
    while glob.has_magic(str(base)):
        base = base.parent
    found = []
    for given in glob.glob(pattern, recursive=True):
        folder_image = os.path.isdir(given) and is_ome_zarr(given)
        if not folder_image and not os.path.isfile(given):
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
            or (_is_passed_over(path, output) if folder_image else is_result_file(path))
            or any(_is_passed_over(folder, output) or is_ome_zarr(folder) for folder in folders)
        ):
            found += (
                _in_zarr(Path(given), Path(name).as_posix())
                if folder_image
                else [Source(Path(given), Path(name).as_posix())]
            )
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
        or is_result_folder(folder)
    )
