"""napari's Save: Labels layers as masks, outlines or a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import WriteError
from napari_sam_amg.plugin.edited import labelled_masks_of_layer, masks_of_layer
from napari_sam_amg.plugin.placement import with_placement

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.masks import Masks

FullLayer = tuple[Any, dict[str, Any], str]


def write_png_folder(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Labels layer as a folder of masks.

    Raises
    ------
    WriteError
        If the layer has several planes, or the folder holds anything but an earlier result.
    """
    from napari_sam_amg.formats import write_png_folder as write

    _, masks = _only_plane(data, meta)
    if Path(path).is_file():
        raise WriteError(f"{path} is a file: give the name of a folder, which will be made")
    write(with_placement(masks, _shape(data), meta), path, overwrite=True)
    return [str(path)]


def _only_plane(data: Any, meta: dict[str, Any]) -> tuple[npt.NDArray[np.int64], Masks]:
    """Return the labels and masks of a layer's plane."""
    planes = labelled_masks_of_layer(data, meta)
    if len(planes) != 1:
        raise WriteError(
            f"layer {meta.get('name')!r} has {len(planes)} planes, of which this format holds "
            "one; save it as COCO JSON, which holds all"
        )
    return planes[0][1:]


def write_imagej_rois(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Labels layer as a .zip of ImageJ ROIs; WriteError if it has several planes."""
    from napari_sam_amg.formats import write_imagej_rois as write

    write(_only_plane(data, meta)[1], path)
    return [str(path)]


def write_geojson(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one Labels layer as GeoJSON for QuPath, with its features as measurements.

    Raises
    ------
    WriteError
        If the layer has several planes, or the file cannot be written.
    """
    from napari_sam_amg.formats import write_geojson as write

    labels, masks = _only_plane(data, meta)
    write(masks, path, measurements=_numbers(meta, labels))
    return [str(path)]


def _numbers(meta: dict[str, Any], labels: npt.NDArray[np.int64]) -> pd.DataFrame | None:
    """Return the features of labels that are numbers, but for those that any mask has."""
    import pandas as pd

    table = pd.DataFrame(meta.get("features"))
    if "index" not in table:
        return None
    numbers = table.set_index("index").select_dtypes(["number", "bool"]).astype(float)
    numbers = numbers[~numbers.index.duplicated()]
    known = ("label", "area", "predicted_iou", "stability_score")
    return numbers.drop(columns=[n for n in numbers if n in known]).reindex(labels)


def write_features(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the features of one Labels layer, measurements among them, as CSV.

    Raises
    ------
    WriteError
        If the layer has no features, or the file cannot be written.
    """
    import pandas as pd

    from napari_sam_amg.formats import write_table

    table = pd.DataFrame(meta.get("features"))
    if not len(table.columns):
        raise WriteError(
            f"layer {meta.get('name')!r} has no features: run Measure masks first "
            "(Layers > Measure)"
        )
    if "index" in table:
        table = table[table["index"] != 0]  # the background
        if "label" in table and (table["label"] == table["index"]).all():
            table = table.drop(columns="label")
        if "label" not in table:
            table = table.rename(columns={"index": "label"})
    write_table(table, path)
    return [str(path)]


def write_coco(path: str, layers: list[FullLayer]) -> list[str]:
    """Write Labels layers as one COCO dataset, an image for each plane.

    The file name of an image is the source that the run recorded, else the layer's name.
    """
    from napari_sam_amg.formats import write_coco as write

    items: dict[str, Masks] = {}
    for data, meta, _ in layers:
        planes = masks_of_layer(data, meta)
        for name, masks in planes:
            if len(planes) > 1:
                items[_unused(name, items)] = masks
                continue
            source = str(masks.provenance.get("source") or name)
            items[_unused(source, items)] = with_placement(masks, _shape(data), meta)
    write(items, path)
    return [str(path)]


def _shape(data: Any) -> tuple[int, ...]:
    """Return the shape of a layer's data; of several levels that of the finest."""
    return tuple((data[0] if isinstance(data, list | tuple) else data).shape)


def _unused(name: str, taken: dict[str, Masks]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
