"""A folder of masks as segment-anything's ``amg.py`` writes it, and ``run.json`` beside.

``0.png …`` are 0 outside and 255 inside; ``metadata.csv`` has a row for each; ``run.json``
adds the image's shape, the overlap rule and the provenance.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ReadError, WriteError
from napari_sam_amg.formats.atomic_folder import write_folder
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.formats.png import decode_mask, encode_mask
from napari_sam_amg.formats.reading import parse_json, read_bytes
from napari_sam_amg.formats.records import (
    masks_keywords,
    record_shape,
    run_record,
    to_json,
)
from napari_sam_amg.formats.rows import PixelBudget, build_masks
from napari_sam_amg.formats.values import to_box, to_float32, to_numbers
from napari_sam_amg.masks.window import tight_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.window import Window

HEADER = (
    "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,"
    "stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
)

TABLE, RECORD = "metadata.csv", "run.json"
_OURS = re.compile(r"(0|[1-9][0-9]*)\.png|metadata\.csv|run\.json", re.ASCII)
_MAX_TABLE_BYTES = 2**28


def is_result_file(name: str) -> bool:
    """Return whether a file of a PNG folder can have this name."""
    return _OURS.fullmatch(name) is not None


def is_result_folder(folder: AnyPath) -> bool:
    """Return whether a folder has the table of a result, ours or ``amg.py``'s.

    The frames of a film have the names of masks, but no such table beside them.
    """
    table = Path(folder) / TABLE
    try:
        if table.is_symlink() or not table.is_file():
            return False
        with table.open("rb") as file:
            start = file.read(2 * len(HEADER))
    except (OSError, ValueError):
        return False
    return start.removeprefix(codecs.BOM_UTF8).splitlines()[:1] == [HEADER.encode("ascii")]


def write_png_folder(masks: Masks, path: AnyPath, *, overwrite: bool = False) -> None:
    """Write masks as a PNG folder.

    Parameters
    ----------
    masks : Masks
    path : path
        The folder.
    overwrite : bool
        Replace an earlier result, as a whole. A folder that holds anything else, or no table
        of a result, is never replaced.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    target = Path(path)
    if not overwrite and _is_filled(target):
        raise WriteError(f"{target} exists already; choose another folder or pass overwrite=True")
    with write_folder(path, is_ours=is_result_file, is_result=is_result_folder) as folder:
        for index in range(len(masks)):
            folder.write(f"{index}.png", encode_mask(masks[index]))
        folder.write(RECORD, (to_json(run_record(masks)) + "\n").encode("ascii"))
        folder.write(TABLE, _table(masks).encode("ascii"))


def read_png_folder(path: AnyPath, *, max_pixels: int = MAX_PIXELS) -> Masks:
    """Read a PNG folder of ours or of ``amg.py``.

    Parameters
    ----------
    path : path
        The folder.
    max_pixels : int
        Most pixels that the image may have.

    Returns
    -------
    Masks

    Raises
    ------
    ReadError
        If it is no such folder, incomplete or damaged.
    """
    folder = Path(path)
    if not os.path.isdir(folder):
        raise ReadError(f"{path} is not a folder")
    if not os.path.lexists(folder / TABLE):
        raise ReadError(f"{path} holds no {TABLE}; it is not a folder of masks")
    rows = list(_rows(folder / TABLE))
    record: dict[str, Any] = {}
    shape: tuple[int, int] | None = None
    if os.path.lexists(folder / RECORD):
        where = str(folder / RECORD)
        record = parse_json(_content(folder / RECORD), where)
        shape = record_shape(record, where, max_pixels=max_pixels)
        if record.get("count", len(rows)) != len(rows):
            raise ReadError(
                f"{path} is incomplete: {RECORD} counts {record['count']!r:.40} masks, "
                f"{TABLE} {len(rows)}"
            )
    elif not rows:
        raise ReadError(
            f"{path} holds no mask and no {RECORD}, so the size of its image is unknown"
        )
    keywords = masks_keywords(record, str(folder / RECORD))
    if shape is None:
        shape = _decoded(folder, 0, max_pixels=max_pixels).shape

    def windows() -> Iterator[tuple[int, int, Window] | None]:
        for index in range(len(rows)):
            yield tight_window(_decoded(folder, index, shape=shape, max_pixels=max_pixels))

    return build_masks(shape, windows(), rows, keywords=keywords, budget=PixelBudget(str(path)))


def _is_filled(folder: Path) -> bool:
    try:
        return folder.is_dir() and any(folder.iterdir())
    except (OSError, ValueError):
        # Why it cannot be looked into is said when it cannot be written.
        return False


def _table(masks: Masks) -> str:
    lines = [HEADER]
    rows = zip(
        masks.areas.tolist(),
        masks.bboxes.tolist(),
        masks.points.tolist(),
        masks.predicted_iou.tolist(),
        masks.stability_score.tolist(),
        masks.crop_boxes.tolist(),
        strict=True,
    )
    for index, (area, box, point, iou, stability, crop_box) in enumerate(rows):
        cells = [index, area, *box, *point, iou, stability, *crop_box]
        # A float's shortest exact text: float32 values come back bit by bit.
        lines.append(",".join(map(repr, cells)))
    return "\n".join(lines) + "\n"


def _content(file: Path) -> bytes:
    # Links are not followed: a folder from elsewhere must not make us open other files.
    if file.is_symlink():
        raise ReadError(f"{file} is a link; a folder of masks holds the files themselves")
    return read_bytes(file, max_bytes=2**31 if file.suffix == ".png" else _MAX_TABLE_BYTES)


def _decoded(folder: Path, index: int, **limits: Any) -> Window:
    file = folder / f"{index}.png"
    return decode_mask(_content(file), file, **limits)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    try:
        text = _content(file).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ReadError(f"{file} is not a table of numbers") from None
    if not lines or ",".join(lines[0]) != HEADER:
        raise ReadError(f"{file} does not begin with the header that a folder of masks has")
    for index, line in enumerate(lines[1:]):
        where = f"{file}, row {index + 1}"
        if len(line) != len(lines[0]):
            raise ReadError(f"{where} has {len(line)} cells; expected {len(lines[0])}")
        numbers = [_number(cell, where) for cell in line]
        if numbers[0] != index:
            raise ReadError(f"{where} has id {line[0]!r:.40}; expected {index}")
        yield {
            "predicted_iou": to_float32(numbers[8], where),
            "stability_score": to_float32(numbers[9], where),
            "points": to_numbers(numbers[6:8], 2, where),
            "crop_boxes": to_box(numbers[10:14], where),
        }


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise ReadError(f"{where} holds {cell!r:.40}; expected a number") from None
