"""JSON that any parser takes, and the record of a run that goes beside its masks."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ParameterError, ReadError, WriteError
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.formats.rle import check_size
from napari_sam_amg.formats.values import BEYOND_FLOAT32
from napari_sam_amg.masks.labels import checked_rule
from napari_sam_amg.masks.records import checked_mode

if TYPE_CHECKING:
    from napari_sam_amg.masks import Masks


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
    if "output_mode" in record:
        try:
            keywords["output_mode"] = checked_mode(record["output_mode"])
        except (ParameterError, TypeError):
            raise ReadError(f"{where}: there is no such output mode as it names") from None
    provenance = record.get("provenance")
    if provenance is not None and not isinstance(provenance, dict):
        raise ReadError(f"{where}: the provenance is damaged")
    keywords["provenance"] = provenance
    return keywords


def record_shape(record: Any, where: str, *, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Return the image's shape from a record, checked."""
    if not isinstance(record, dict):
        raise ReadError(f"{where}: the record of the run is damaged")
    try:
        return check_size(record.get("shape"), max_pixels=max_pixels)
    except ReadError as error:
        raise ReadError(f"{where}: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else math.copysign(BEYOND_FLOAT32, value)
    return value
