"""What earlier runs left, told by its content: any file can have the name of a result."""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam_amg.cli.arguments import OutputFormat

_RECORD_KEYS = {"segmentation", "predicted_iou", "stability_score", "crop_box"}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DESCRIPTION = 270
_MOST_ENTRIES = 4096

TABLE = ".measurements.csv"
"""How the name of a table of measurements ends."""

OBJECTS, PLACES = ".objects.csv", ".places.csv"
"""How the names of tables of linked objects end, and of where each is in each plane."""

ZARR = ".ome.zarr"
"""How the name of an OME-Zarr result ends."""

SUMMARY = "summary.csv"
"""Name of the table over all images."""


def is_result(path: Path, output_format: OutputFormat) -> bool:
    """Return whether what is at a path was written by a run.

    Parameters
    ----------
    path : Path
        A folder for ``png``, ``ome-zarr`` and ``large``, else a file; for ``rle`` the list or the
        record beside it.
    output_format : OutputFormat
        What the run writes, besides tables of measurements.

    Returns
    -------
    bool
        For ``png`` and ``rle`` True for results of amg.py too. False if nothing is there,
        or it cannot be read.
    """
    if is_table_name(path.name):
        return _is_table(path)
    if output_format == "png":
        from napari_sam_amg.formats.png_folder import is_result_folder as is_png_folder

        return is_png_folder(path)
    if output_format == "ome-zarr":
        from napari_sam_amg.formats import ome_zarr

        return ome_zarr.is_result_folder(path)
    if output_format == "large":
        from napari_sam_amg.large.work import is_finished

        return is_finished(path)
    return _FILES[output_format][1](path)


def is_result_folder(path: Path) -> bool:
    """Return whether a folder is the result of a run in any format of one folder an image."""
    from napari_sam_amg.large.work import is_ours

    return is_result(path, "png") or is_result(path, "ome-zarr") or is_ours(path)


def is_result_file(path: Path) -> bool:
    """Return whether a file is the result of a run in any format of one file an image."""
    if is_table_name(path.name):
        return _is_table(path)
    suffix = path.suffix.lower()
    return any(suffix in suffixes and check(path) for suffixes, check in _FILES.values())


def foreign_files(folder: Path, output_format: OutputFormat) -> list[str]:
    """Return what no run may replace in the place of a result that is a folder, sorted."""
    from napari_sam_amg.formats import atomic_folder, ome_zarr, png_folder

    if output_format == "large":
        from napari_sam_amg.large.work import foreign

        return foreign(folder)
    if output_format == "ome-zarr":
        return atomic_folder.foreign_files(
            folder, is_ours=ome_zarr.is_result_path, is_result=ome_zarr.is_result_folder
        )
    return atomic_folder.foreign_files(
        folder, is_ours=png_folder.is_result_file, is_result=png_folder.is_result_folder
    )


def _json(path: Path) -> Any:
    from napari_sam_amg.formats.reading import read_json

    try:
        return read_json(path)
    except ReadError:
        return None


def _is_rle(path: Path) -> bool:
    from napari_sam_amg.formats.rle_json import _HASH

    content = _json(path)
    if isinstance(content, dict):
        return _HASH in content
    # amg.py writes nothing but the list.
    return isinstance(content, list) and all(
        isinstance(entry, dict) and entry.keys() >= _RECORD_KEYS for entry in content
    )


def _is_dataset(path: Path) -> bool:
    from napari_sam_amg.formats.coco_reading import KEY

    content = _json(path)
    info = content.get("info") if isinstance(content, dict) else None
    return isinstance(info, dict) and isinstance(info.get(KEY), dict)


def _is_geojson(path: Path) -> bool:
    from napari_sam_amg.formats.geojson import KEY

    content = _json(path)
    return isinstance(content, dict) and isinstance(content.get(KEY), dict)


def _is_roi_zip(path: Path) -> bool:
    import zipfile

    from napari_sam_amg.formats.imagej import MARK

    try:
        with zipfile.ZipFile(path) as archive:
            return archive.comment == MARK
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def is_table_name(name: str) -> bool:
    """Return whether a file is called as a table that a run writes."""
    return name.endswith((TABLE, OBJECTS, PLACES))


def _is_table(path: Path) -> bool:
    """Return whether a table begins as its name says."""
    from napari_sam_amg.measurements import COLUMNS

    starts = {
        OBJECTS: r"label,voxels,|track_id,parent,",
        PLACES: r"label,slice,|track_id,frame,",
        # All of them: anyone measures labels and areas.
        TABLE: rf"(t,)?(z,)?{','.join(COLUMNS)}",
    }
    start = next(value for end, value in starts.items() if path.name.endswith(end))
    try:
        with path.open("rb") as file:
            return re.match(start.encode("ascii"), file.read(4096)) is not None
    except (OSError, ValueError):
        return False


def _is_label_image(path: Path) -> bool:
    from napari_sam_amg.formats.label_tiff import _MARK
    from napari_sam_amg.formats.ome_xml import CREATOR, HEAD

    try:
        found = _description(path, HEAD)
        return found.startswith(_MARK.encode("ascii")) or CREATOR.encode("ascii") in found
    except (OSError, ValueError, OverflowError, struct.error):
        return False


def _description(path: Path, length: int) -> bytes:
    """Return how a TIFF's description begins.

    By hand: of a folder of images every one is looked at, damaged ones too, and a library
    reads more of them, follows their pages and complains.
    """
    if not os.path.isfile(path):
        return b""
    with path.open("rb") as file:
        head = file.read(16)
        if not head.startswith(_TIFF):
            return b""
        order = "<" if head.startswith(b"II") else ">"
        # BigTIFF has 8 bytes where TIFF has 2 or 4.
        big = 43 in head[2:4]
        offset, count_form, entry_form = ("Q", "Q", "HHQQ") if big else ("I", "H", "HHII")
        file.seek(struct.unpack_from(order + offset, head, 8 if big else 4)[0])
        count_form, entry_form = order + count_form, order + entry_form
        (count,) = struct.unpack(count_form, file.read(struct.calcsize(count_form)))
        entries = file.read(min(count, _MOST_ENTRIES) * struct.calcsize(entry_form))
        for tag, _kind, _count, where in struct.iter_unpack(entry_form, entries):
            if tag == _DESCRIPTION:
                file.seek(where)
                return file.read(length)
    return b""


_FILES: dict[OutputFormat, tuple[tuple[str, ...], Callable[[Path], bool]]] = {
    "rle": ((".json",), _is_rle),
    "coco": ((".json",), _is_dataset),
    "labels": ((".tif", ".tiff"), _is_label_image),
    "imagej": ((".zip",), _is_roi_zip),
    "geojson": ((".geojson",), _is_geojson),
}
"""How files of each format are told: by what their names end with, and by a look inside."""
