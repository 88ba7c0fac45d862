"""JSON that any parser takes, and the record of a run that goes beside its masks."""

from __future__ import annotations

import json
import math
import os
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ParameterError, ReadError, WriteError
from napari_sam_amg.formats.rle import check_size
from napari_sam_amg.masks.labels import checked_rule

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

MAX_FILE_BYTES = 2**31
"""Largest text file that is read."""

_BEYOND_FLOAT32 = 1e39


def to_json(value: Any) -> str:
    """Return standard JSON in ASCII, on one line.

    ASCII, because readers open files in whatever the system's encoding is, and because it
    holds any file name, even one that is not valid text. NaN becomes null; infinity, which
    JSON does not have, a number beyond float32's range.
    """
    try:
        return json.dumps(_plain(value), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise WriteError(
            f"the record of the run holds something that is not JSON ({error}); make the "
            "provenance of plain numbers, texts, lists and dicts"
        ) from error


def read_bytes(path: AnyPath, *, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file.

    Raises
    ------
    ReadError
        If it cannot be read, is no regular file or is too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(f"{path} is not a file")
        if status.st_size > max_bytes:
            raise ReadError(f"{path} has {status.st_size:,} bytes; at most {max_bytes:,} are read")
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)[:max_bytes]
    except OSError as error:
        why = (error.strerror or "input or output error").lower()
        raise ReadError(f"{path} cannot be read: {why}") from error
    except ValueError:
        raise ReadError(f"{os.fspath(path)!r} is no name of a file") from None


def read_json(path: AnyPath) -> Any:
    """Read a JSON file from anywhere.

    Raises
    ------
    ReadError
        If it cannot be read or is not JSON.
    """
    return parse_json(read_bytes(path), path)


def parse_json(data: bytes, path: AnyPath) -> Any:
    """Parse the content of a JSON file; see `read_json`."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ReadError(f"{path} is not JSON: byte {error.start} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ReadError(
            f"{path} is not JSON, or is cut short: {error.msg.lower()} in line {error.lineno}"
        ) from None
    except (RecursionError, ValueError):
        raise ReadError(f"{path} is not a file of masks: nested too deep or absurd") from None


def run_record(masks: Masks) -> dict[str, Any]:
    """Return what a reader needs to know of a run besides masks and scores."""
    return {
        "shape": list(masks.shape),
        "count": len(masks),
        "overlap": masks.overlap,
        "output_mode": masks.output_mode,
        "provenance": masks.provenance,
    }


def masks_keywords(record: Any, where: str) -> dict[str, Any]:
    """Return a record's keyword arguments of `Masks`, checked.

    Parameters
    ----------
    record : object
        As `run_record` makes it, from anywhere.
    where : str
        What errors call it.

    Raises
    ------
    ReadError
        If it is damaged.
    """
    if not isinstance(record, dict):
        raise ReadError(f"{where}: the record of the run is damaged")
    keywords: dict[str, Any] = {}
    if "overlap" in record:
        try:
            keywords["overlap"] = checked_rule(record["overlap"])
        except (ParameterError, TypeError):
            raise ReadError(f"{where}: there is no such overlap rule as it names") from None
    modes = ("binary_mask", "uncompressed_rle", "coco_rle")
    if "output_mode" in record:
        if record["output_mode"] not in modes:
            raise ReadError(f"{where}: there is no such output mode as it names")
        keywords["output_mode"] = record["output_mode"]
    provenance = record.get("provenance")
    if provenance is not None and not isinstance(provenance, dict):
        raise ReadError(f"{where}: the provenance is damaged")
    keywords["provenance"] = provenance
    return keywords


def record_shape(record: Any, where: str) -> tuple[int, int]:
    """Return the image's shape from a record, checked."""
    if not isinstance(record, dict):
        raise ReadError(f"{where}: the record of the run is damaged")
    try:
        return check_size(record.get("shape"))
    except ReadError as error:
        raise ReadError(f"{where}: {error}") from None


def to_float32(value: Any, where: str) -> float:
    """Return a number from a file as float32 holds it; NaN for null.

    Raises
    ------
    ReadError
        If it is not a number.
    """
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise ReadError(f"{where} is {value!r:.40}; expected a number")
    with np.errstate(over="ignore"):
        try:
            return float(np.float32(value))
        except OverflowError:
            return math.inf if value > 0 else -math.inf


def to_numbers(value: Any, length: int, where: str) -> list[float]:
    """Return a list of so many numbers from a file as float32 holds them."""
    if not isinstance(value, list) or len(value) != length:
        raise ReadError(f"{where} is not a list of {length} numbers")
    return [to_float32(item, where) for item in value]


def to_box(value: Any, where: str) -> list[int]:
    """Return four whole numbers from a file: left, top, width, height in pixels."""
    if not isinstance(value, list) or len(value) != 4:
        raise ReadError(f"{where} is not a list of 4 numbers")
    for item in value:
        if type(item) not in (int, float) or not abs(item) < 2**53 or item != int(item):
            raise ReadError(f"{where} holds {item!r:.40}; expected whole numbers of pixels")
    return [int(item) for item in value]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(_BEYOND_FLOAT32, value)
    return value
