"""napari's Save: Labels layers as a PNG folder or one COCO dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import WriteError
from napari_sam_amg.plugin.edited import masks_of_layer
from napari_sam_amg.plugin.placement import with_placement

if TYPE_CHECKING:
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

    planes = masks_of_layer(data, meta)
    if len(planes) != 1:
        raise WriteError(
            f"layer {meta.get('name')!r} has {len(planes)} planes: a PNG folder holds one; save "
            "it as COCO JSON, which holds all"
        )
    if Path(path).is_file():
        raise WriteError(f"{path} is a file: give the name of a folder, which will be made")
    write(with_placement(planes[0][1], _shape(data), meta), path, overwrite=True)
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
