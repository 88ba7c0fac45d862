"""One image's masks as a label image, for programs that take nothing else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.records import (
    masks_keywords,
    parse_json,
    run_record,
    to_json,
)
from napari_sam_amg.formats.tiff import read_tiff

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

# Readers take a description that is bare JSON for one of their own kinds.
_MARK = "napari-sam-amg run: "


def write_labels(masks: Masks, path: AnyPath) -> None:
    """Write a label image: 16 bits up to 65,535 masks, else 32.

    Where masks overlap, their overlap rule decides; all other formats keep every pixel.

    Parameters
    ----------
    masks : Masks
    path : path
        The TIFF file; its description holds the run's record, as JSON.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    import tifffile

    labels = masks.to_labels()
    if labels.dtype.itemsize < 2:
        labels = labels.astype(np.uint16)
    content = io.BytesIO()
    tifffile.imwrite(
        content,
        labels,
        photometric="minisblack",
        compression="zlib",
        description=_MARK + to_json(run_record(masks)),
        metadata=None,
        software="napari-sam-amg",
    )
    with write_file(path) as file:
        file.write(content.getbuffer())


def read_labels(path: AnyPath) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Read a label image.

    Parameters
    ----------
    path : path
        A TIFF file of one page.

    Returns
    -------
    ndarray, uint8, uint16 or uint32, HxW

    Raises
    ------
    ReadError
        If it cannot be read or is no label image.
    """
    try:
        labels, _ = read_tiff(path)
    except ImageError as error:
        raise ReadError(str(error)) from error
    if labels.ndim != 2 or labels.dtype.kind != "u":
        raise ReadError(
            f"{path} is no label image: found shape {labels.shape} of {labels.dtype}; expected "
            "whole numbers, height x width"
        )
    return labels


def read_label_provenance(path: AnyPath) -> dict[str, Any]:
    """Return the provenance that a label image of ours holds; empty for any other.

    Raises
    ------
    ReadError
        If the file cannot be read.
    """
    try:
        _, description = read_tiff(path)
    except ImageError as error:
        raise ReadError(str(error)) from error
    if not description.startswith(_MARK):
        return {}
    record = parse_json(description.removeprefix(_MARK).encode(), path)
    provenance: dict[str, Any] = masks_keywords(record, str(path))["provenance"]
    return provenance or {}
