"""Many images' masks in one COCO dataset, written so that every reader can open it.

Besides what COCO asks for, every annotation has the scores, prompt and features of its
mask, and ``info`` the provenance of each image; `read_coco` brings all of it back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_sam_amg.errors import ParameterError, WriteError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.coco_reading import KEY, read_coco
from napari_sam_amg.formats.polygons import to_polygons
from napari_sam_amg.formats.records import run_record, to_json
from napari_sam_amg.formats.rle import encode_compressed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

__all__ = ["read_coco", "write_coco"]

Segmentation = Literal["rle", "polygon"]

_CATEGORY = {"id": 1, "name": "object", "supercategory": ""}
_OUR_FEATURES = ("area_visible", "overlap_fraction", "touches_border", "parent")


def write_coco(
    items: Mapping[str, Masks] | Iterable[tuple[str, Masks]],
    path: AnyPath,
    *,
    segmentation: Segmentation = "rle",
) -> None:
    """Write one dataset.

    The same masks give the same bytes; no date but those of the runs is written.

    Parameters
    ----------
    items : mapping or iterable of pairs
        Masks by the file name of their image, which is written as it is.
    path : path
        The JSON file.
    segmentation : {"rle", "polygon"}
        Run lengths, which are exact, or polygons for readers that take nothing else.
        Polygons lose holes; the exact run lengths are then kept in ``rle``, which only
        `read_coco` looks at.

    Raises
    ------
    ParameterError
        If a file name comes twice, or there is no such `segmentation`.
    WriteError
        If it cannot be written; what was there is as it was.
    """
    if segmentation not in get_args(Segmentation):
        raise ParameterError(f"segmentation={segmentation!r}: use 'rle' or 'polygon'")
    pairs = list(items.items() if isinstance(items, Mapping) else items)
    names = [name for name, _ in pairs]
    for name in names:
        if not isinstance(name, str):
            raise ParameterError(f"file name {name!r} is a {type(name).__name__}; pass a str")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"file name {twice!r} comes twice: an image can be there only once")
    with write_file(path) as file:
        try:
            _write(file, pairs, segmentation)
        except MemoryError:
            raise WriteError(f"{path} needs more memory to write than there is") from None


def _write(file: BinaryIO, pairs: list[tuple[str, Masks]], segmentation: Segmentation) -> None:
    images = [
        {"id": number, "file_name": name, "width": masks.shape[1], "height": masks.shape[0]}
        for number, (name, masks) in enumerate(pairs, start=1)
    ]
    sections: dict[str, Iterable[Any]] = {
        "licenses": [],
        "images": images,
        "categories": [_CATEGORY],
        "annotations": _annotations(pairs, segmentation),
    }
    file.write(b'{"info": ' + to_json(_info(pairs)).encode("ascii"))
    for name, entries in sections.items():
        file.write(f',\n"{name}": ['.encode("ascii"))
        for place, entry in enumerate(entries):
            # An entry a line: readable, and not all of them in memory at once.
            file.write((",\n" if place else "\n").encode("ascii"))
            file.write(to_json(entry).encode("ascii"))
        file.write(b"]")
    file.write(b"}\n")


def _info(pairs: list[tuple[str, Masks]]) -> dict[str, Any]:
    info: dict[str, Any] = {"description": "Masks by napari-sam-amg", "version": "1.0"}
    dates = [masks.provenance.get("date") for _, masks in pairs]
    latest = max((date for date in dates if isinstance(date, str)), default=None)
    if latest is not None:
        info["date_created"] = latest
        if latest[:4].isdecimal():
            info["year"] = int(latest[:4])
    info[KEY] = {"format": 1, "images": {name: run_record(masks) for name, masks in pairs}}
    return info


def _annotations(
    pairs: list[tuple[str, Masks]], segmentation: Segmentation
) -> Iterator[dict[str, Any]]:
    number = 0
    for image, (_, masks) in enumerate(pairs, start=1):
        features = masks.features
        ours = {name: features[name].tolist() for name in _OUR_FEATURES}
        for index in range(len(masks)):
            number += 1
            iou = float(masks.predicted_iou[index])
            yield {
                "id": number,
                "image_id": image,
                "category_id": _CATEGORY["id"],
                **_shape_of(masks, index, segmentation),
                "area": int(masks.areas[index]),
                "iscrowd": 0,
                # Some readers take no null here, so an unknown score is left out.
                **({} if math.isnan(iou) else {"score": iou}),
                "label": index + 1,
                "predicted_iou": iou,
                "stability_score": float(masks.stability_score[index]),
                "point_coords": [masks.points[index].tolist()],
                "crop_box": masks.crop_boxes[index].tolist(),
                **{name: column[index] for name, column in ours.items()},
            }


def _shape_of(masks: Masks, index: int, segmentation: Segmentation) -> dict[str, Any]:
    left, top, window = masks.window(index)
    height, width = window.shape
    # COCO's box has the full width, not sam2's xmax - xmin.
    box = [float(left), float(top), float(width), float(height)]
    rle = encode_compressed(window, left=left, top=top, shape=masks.shape)
    if segmentation == "rle":
        return {"segmentation": rle, "bbox": box}
    polygons = to_polygons(window, left=left, top=top)
    return {"segmentation": polygons, "bbox": box, "rle": rle}
