"""One image's masks as a label image, for programs that take nothing else."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.formats.ome_xml import ome_xml, record_of
from napari_sam_amg.formats.reading import parse_json
from napari_sam_amg.formats.records import masks_keywords, run_record, to_json
from napari_sam_amg.formats.tiff import read_tiff
from napari_sam_amg.formats.values import to_column

if TYPE_CHECKING:
    import pandas as pd

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

_TABLE = "features"
# Readers take a description that is bare JSON for one of their own kinds.
_MARK = "napari-sam-amg run: "


def write_labels(
    masks: Masks, path: AnyPath, *, pixel_size: tuple[float, float] | None = None
) -> None:
    """Write a label image: 16 bits up to 65,535 masks, else 32.

    Where masks overlap, their overlap rule decides: pixels that a mask loses to others are
    not in the file. All other formats keep every pixel.

    Parameters
    ----------
    masks : Masks
    path : path
        The TIFF file; its description holds the run's record and the table of features,
        as JSON.
    pixel_size : (float, float), optional
        Height and width of a pixel in micrometres. The file is then an OME-TIFF, whose
        OME-XML says them and has the same JSON as an annotation.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    import tifffile

    labels = masks.to_labels()
    if labels.dtype.itemsize < 2:
        labels = labels.astype(np.uint16)
    table = masks.features
    columns = {name: table[name].to_numpy() for name in table.columns}
    record = to_json(run_record(masks) | {_TABLE: columns})
    content = io.BytesIO()
    tifffile.imwrite(
        content,
        labels,
        photometric="minisblack",
        compression="zlib",
        description=_MARK + record
        if pixel_size is None
        else _ome(masks, labels, record, pixel_size),
        metadata=None,
        software="napari-sam-amg",
    )
    with write_file(path) as file:
        file.write(content.getbuffer())


def _ome(
    masks: Masks, labels: npt.NDArray[Any], record: str, pixel_size: tuple[float, float]
) -> str:
    height, width = masks.shape
    return ome_xml(
        record,
        lengths={"Y": height, "X": width},
        dtype=str(labels.dtype),
        name=str(masks.provenance.get("source", "")),
        pixel_size=dict(zip("YX", pixel_size, strict=True)),
    )


def read_labels(
    path: AnyPath, *, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Read a label image.

    Parameters
    ----------
    path : path
        A TIFF file of one page.
    max_pixels : int
        Most pixels allowed; more are refused before memory is taken.

    Returns
    -------
    ndarray, uint8, uint16 or uint32, HxW

    Raises
    ------
    ReadError
        If it cannot be read or is no label image.
    """
    labels, _ = _read(path, max_pixels)
    if labels.ndim != 2 or labels.dtype.kind != "u":
        raise ReadError(
            f"{path} is no label image: found shape {labels.shape} of {labels.dtype}; expected "
            "whole numbers, height x width"
        )
    return labels


def read_label_provenance(path: AnyPath, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """Return the provenance that a label image of ours holds; empty for any other.

    Parameters
    ----------
    path, max_pixels
        As for `read_labels`.

    Raises
    ------
    ReadError
        If the file cannot be read.
    """
    record = _record(path, max_pixels)
    if record is None:
        return {}
    provenance: dict[str, Any] = masks_keywords(record, str(path))["provenance"]
    return provenance or {}


def read_label_features(path: AnyPath, *, max_pixels: int = MAX_PIXELS) -> pd.DataFrame:
    """Return the table of features that a label image of ours holds, as `Masks.features`.

    It has every mask, those too that are wholly hidden in the image.

    Parameters
    ----------
    path, max_pixels
        As for `read_labels`.

    Raises
    ------
    ReadError
        If the file cannot be read, holds no table or a damaged one.
    """
    import pandas as pd

    from napari_sam_amg.masks import Masks

    record = _record(path, max_pixels)
    columns = record.get(_TABLE) if isinstance(record, dict) else None
    if columns is None:
        raise ReadError(f"{path} holds no table of masks; only label images of ours do")
    kinds = Masks.empty((1, 1)).features.dtypes
    if not isinstance(columns, dict) or list(columns) != list(kinds.index):
        raise ReadError(f"{path}: the table of masks has not the columns that it should have")
    found = {
        name: to_column(columns[name], np.dtype(kind), f"{path}: {name}")
        for name, kind in kinds.items()
    }
    count = len(found["label"])
    if any(len(column) != count for column in found.values()):
        raise ReadError(f"{path}: the columns of the table of masks differ in length")
    return pd.DataFrame(found)


def _read(path: AnyPath, max_pixels: int) -> tuple[npt.NDArray[Any], str]:
    try:
        return read_tiff(path, max_pixels=max_pixels)
    except ImageError as error:
        raise ReadError(str(error)) from error


def _record(path: AnyPath, max_pixels: int) -> Any:
    """Return what a label image of ours says of its run; None for any other."""
    _, description = _read(path, max_pixels)
    text = record_of(description)
    if description.startswith(_MARK):
        text = description.removeprefix(_MARK)
    return None if text is None else parse_json(text.encode("utf-8", "replace"), path)
