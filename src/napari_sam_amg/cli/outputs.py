"""Where results go, and whether they may."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.cli.existing import ZARR, foreign_files, is_result, is_table_name
from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from napari_sam_amg.cli.arguments import OutputFormat
    from napari_sam_amg.cli.source import Source

DATASET = "annotations.json"
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": ("",),
    "rle": (".json", ".run.json"),
    "labels": (".tif",),
    "imagej": (".zip",),
    "geojson": (".geojson",),
    "ome-zarr": (ZARR,),
    "large": ("",),
    "coco": (),
}
_FOLDERS = ("png", "ome-zarr", "large")
_TOGETHER = ("labels", "ome-zarr")


def is_together(output_format: OutputFormat) -> bool:
    """Return whether all planes of an image go into one result."""
    return output_format in _TOGETHER


def targets(
    source: Source, *, output: Path, output_format: OutputFormat, tables: tuple[str, ...]
) -> tuple[Path, ...]:
    """Return what a run writes for one image or plane; of a COCO dataset only tables.

    Parameters
    ----------
    source : Source
    output : Path
        Folder of the results.
    output_format : OutputFormat
    tables : tuple of str
        How the names of tables end that are among it.

    Returns
    -------
    tuple of Path
        The result itself comes first, the tables last.
    """
    suffixes = (*_SUFFIXES[output_format], *tables)
    return tuple(
        # An OME-TIFF's result has not the mark of both.
        output / (source.stem.removesuffix(".ome" if end == ZARR else "") + end)
        for end in suffixes
    )


def check_targets(
    sources: Iterable[Source],
    *,
    output: Path,
    output_format: OutputFormat,
    tables: tuple[str, ...],
) -> None:
    """Refuse a run whose results would destroy each other, an image or foreign files.

    Parameters
    ----------
    sources : iterable of Source
    output : Path
        Folder of the results.
    output_format : OutputFormat
    tables : tuple of str
        As for `targets`.

    Raises
    ------
    ParameterError
        Naming the files, and what to do.
    """
    if os.path.exists(output) and not os.path.isdir(output):
        raise ParameterError(f"--output {output}: this is a file; name a folder")
    sources = list(sources)
    images = {_key(source.path): source.path for source in sources}
    owners: dict[str, Source] = {}
    for source in sources:
        written = targets(source, output=output, output_format=output_format, tables=tables)
        for target in written or (output / source.name,):
            key = _key(target)
            other = owners.setdefault(key, source)
            if other is not source:
                raise _collision(other, source, target)
            if written and key in images:
                raise ParameterError(
                    f"the result {target} would replace the image {images[key]}: choose "
                    "another --output"
                )
        for target in written:
            _check_existing(target, output_format)
    if output_format in _FOLDERS:
        _check_nesting(owners, output)
    if output_format == "coco":
        _check_existing(output / DATASET, output_format)


def _key(path: Path) -> str:
    """Make a key that is equal for paths that are the same file on the usual disk here.

    Other disks may take more names for the same: the writers notice.
    """
    text = os.path.normcase(os.path.abspath(path))
    if sys.platform == "darwin":
        return unicodedata.normalize("NFC", text).casefold()
    return text


def _collision(first: Source, second: Source, target: Path) -> ParameterError:
    return ParameterError(
        f"{first.path} and {second.path} would both be written to {target}: rename one, or "
        "run them with different --output"
    )


def _check_nesting(owners: dict[str, Source], output: Path) -> None:
    top = _key(output)
    for key, source in owners.items():
        parent = os.path.dirname(key)
        while len(parent) > len(top):
            if parent in owners:
                raise _collision(owners[parent], source, Path(parent))
            parent = os.path.dirname(parent)


def _check_existing(target: Path, output_format: OutputFormat) -> None:
    table = is_table_name(target.name)
    # Not the method of Path, which raises where a name is too long: writing says that.
    if not os.path.exists(target):
        return
    found = ""
    if os.path.isdir(target):
        found = ": it is a folder"
        if output_format in _FOLDERS and not table:
            try:
                foreign = foreign_files(target, output_format)
            except OSError as error:
                raise ParameterError(
                    f"{target} cannot be looked into ({error.strerror}): choose another --output"
                ) from error
            if not foreign:
                return
            found = f": it holds {', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}"
    elif (output_format not in _FOLDERS or table) and is_result(target, output_format):
        return
    raise ParameterError(
        f"{target} would be replaced, but is not an earlier result{found}; choose another "
        "--output or move it away"
    )


def is_done(
    source: Source,
    *,
    output: Path,
    output_format: OutputFormat,
    tables: tuple[str, ...],
    finished: Collection[str] = (),
) -> bool:
    """Return whether an image has a complete result from an earlier run.

    Results appear under their name only once they are complete; that a folder or a file of
    this name is there does not make it one.

    Parameters
    ----------
    source, output, output_format, tables
        As for `targets`.
    finished : collection of str
        Names of images that a COCO dataset holds.
    """
    if output_format == "coco" and source.name not in finished:
        return False
    written = targets(source, output=output, output_format=output_format, tables=tables)
    return all(is_result(target, output_format) for target in written)
