"""One image's masks as ``amg.py --convert-to-rle`` writes them, and the run beside.

``<name>.json`` is the list of sam2's records with COCO run lengths; ``<name>.run.json``
adds the image's shape, the overlap rule and the provenance, and the hash of the list that
it belongs to.
"""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.atomic import write_files
from napari_sam_amg.formats.limits import MAX_MASK_PIXELS, MAX_PIXELS
from napari_sam_amg.formats.reading import parse_json, read_bytes
from napari_sam_amg.formats.records import masks_keywords, record_shape, run_record, to_json
from napari_sam_amg.formats.rle import check_size, decode, decoded_size
from napari_sam_amg.formats.rows import PixelBudget, build_masks, score_row
from napari_sam_amg.formats.staged import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

log = logging.getLogger(__name__)

_HASH = "records_sha256"
_Read = TypeVar("_Read")


def write_rle_json(masks: Masks, path: AnyPath) -> None:
    """Write masks as a list of records, and the run's record beside.

    Parameters
    ----------
    masks : Masks
    path : path
        The list; the run's record takes ``.run.json`` for its suffix.

    Raises
    ------
    WriteError
        If either cannot be written; what was there is as it was.
    """
    lines = ",\n".join(map(to_json, masks.records("coco_rle")))
    records = f"[{lines}]\n".encode("ascii")
    run = run_record(masks) | {_HASH: sha256(records).hexdigest()}
    with write_files([path, _run_path(Path(path))]) as (file, beside):
        file.write(records)
        beside.write(f"{to_json(run)}\n".encode("ascii"))


def read_rle_json(
    path: AnyPath, *, max_pixels: int = MAX_PIXELS, max_mask_pixels: int = MAX_MASK_PIXELS
) -> Masks:
    """Read a list of records of ours or of ``amg.py``.

    Parameters
    ----------
    path : path
        The list. If the run's record is not beside it, or belongs to another list, there
        is no provenance.
    max_pixels : int
        Most pixels that the image may have.
    max_mask_pixels : int
        Most pixels of all masks' bounding boxes together; more are refused before memory
        is taken.

    Returns
    -------
    Masks

    Raises
    ------
    ReadError
        If it cannot be read, is no such list or is damaged.
    """
    data = read_bytes(path)
    entries = parse_json(data, path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ReadError(f"{path} is not a list of masks as amg.py writes it")
    run = _run_of(Path(path), sha256(data).hexdigest())
    where = str(_run_path(Path(path)))
    shape = (
        record_shape(run, where, max_pixels=max_pixels)
        if run
        else _shape_of(entries, path, max_pixels)
    )
    rows = [score_row(entry, f"{path}: mask {place + 1}") for place, entry in enumerate(entries)]

    def each(read: Callable[..., _Read]) -> Iterator[_Read]:
        for place, entry in enumerate(entries):
            try:
                yield read(entry.get("segmentation"), shape=shape)
            except ReadError as error:
                raise ReadError(f"{path}: mask {place + 1}: {error}") from None
            except MemoryError:
                raise ReadError(
                    f"{path}: mask {place + 1} needs more memory than there is"
                ) from None

    claimed = PixelBudget(str(path), max_mask_pixels)
    for size in each(decoded_size):
        claimed.spend(size)
    keywords = masks_keywords(run, where)
    budget = PixelBudget(str(path), max_mask_pixels)
    return build_masks(shape, each(decode), rows, keywords=keywords, budget=budget)


def _run_path(path: Path) -> Path:
    # What has no name is refused in words where it is written or read.
    return path.with_suffix(".run.json") if path.name else path


def _run_of(path: Path, digest: str) -> dict[str, Any]:
    """Return the record that belongs to a list; empty if there is none.

    After a kill between replacing the two files, it is still under its temporary name.
    """
    beside = _run_path(path)
    for candidate in (beside, *leftovers(beside)):
        if candidate.is_symlink() or not candidate.is_file():
            continue
        try:
            run = parse_json(read_bytes(candidate), candidate)
        except ReadError:
            if candidate == beside:
                raise
            continue
        if isinstance(run, dict) and run.get(_HASH) == digest:
            return run
        if candidate == beside:
            log.warning("%s belongs to another list of masks than %s", candidate, path)
    return {}


def _shape_of(entries: list[dict[str, Any]], path: AnyPath, max_pixels: int) -> tuple[int, int]:
    if not entries:
        raise ReadError(
            f"{path} holds no mask, and there is no run.json of it beside, so the size of its "
            "image is unknown"
        )
    segmentation = entries[0].get("segmentation")
    if not isinstance(segmentation, dict):
        raise ReadError(f"{path}: mask 1 has no run lengths")
    try:
        return check_size(segmentation.get("size"), max_pixels=max_pixels)
    except ReadError as error:
        raise ReadError(f"{path}: mask 1: {error}") from None
