"""COCO datasets from anywhere, ours or not, into `Masks`.

Nothing in a file is trusted: sizes are bounded, run lengths are decoded by our own
decoder, and file names are only names, never opened.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.limits import MAX_MASK_PIXELS, MAX_PIXELS
from napari_sam_amg.formats.polygons import filled_size, from_polygons
from napari_sam_amg.formats.reading import read_json
from napari_sam_amg.formats.records import masks_keywords
from napari_sam_amg.formats.rle import check_size, decode, decoded_size
from napari_sam_amg.formats.rows import PixelBudget, build_masks, score_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.window import Window

log = logging.getLogger(__name__)

KEY = "napari_sam_amg"
"""Where ``info`` holds the records of the runs."""


def read_coco(
    path: AnyPath, *, max_pixels: int = MAX_PIXELS, max_mask_pixels: int = MAX_MASK_PIXELS
) -> dict[str, Masks]:
    """Read a COCO dataset.

    Parameters
    ----------
    path : path
        The JSON file.
    max_pixels : int
        Most pixels that an image may have.
    max_mask_pixels : int
        Most pixels of all masks' bounding boxes together; of the parts' too, for polygons.
        More are refused before memory is taken.

    Returns
    -------
    dict of Masks
        By the file name of the image, in the file's order. In datasets that we did not
        write, polygons are filled, missing scores are NaN, and annotations that have only
        a box are left out with a warning.

    Raises
    ------
    ReadError
        If it cannot be read, is no COCO dataset or is damaged.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise ReadError(f"{path} is not a COCO dataset: expected an object with images")
    images = _images(data, path, max_pixels)
    grouped: dict[int | str, list[dict[str, Any]]] = {key: [] for key in images}
    claimed, boxes = PixelBudget(str(path), max_mask_pixels), 0
    for place, annotation in enumerate(_list(data, "annotations", path)):
        where = f"{path}: annotation {place + 1}"
        image = annotation.get("image_id") if isinstance(annotation, dict) else None
        if type(image) not in (int, str) or image not in grouped:
            raise ReadError(f"{where} belongs to image {image!r:.40}, which is not in the file")
        if _is_box(annotation):
            boxes += 1
            continue
        claimed.spend(_size(annotation, images[image][1], where))
        grouped[image].append(annotation | {KEY: where})
    if boxes:
        log.warning("%s: left out %d annotations that have no mask, only a box", path, boxes)
    records = _records(data)
    budget = PixelBudget(str(path), max_mask_pixels)
    return {
        name: _masks(_in_order(grouped[key]), shape, records.get(name), budget)
        for key, (name, shape) in images.items()
    }


def _list(data: dict[str, Any], name: str, path: AnyPath) -> list[Any]:
    value = data.get(name)
    if not isinstance(value, list):
        raise ReadError(f"{path} is not a COCO dataset: it has no list of {name}")
    return value


def _images(
    data: dict[str, Any], path: AnyPath, max_pixels: int
) -> dict[int | str, tuple[str, tuple[int, int]]]:
    images: dict[int | str, tuple[str, tuple[int, int]]] = {}
    names: set[str] = set()
    for place, image in enumerate(_list(data, "images", path)):
        where = f"{path}: image {place + 1}"
        if not isinstance(image, dict) or type(image.get("id")) not in (int, str):
            raise ReadError(f"{where} has no id")
        name = image.get("file_name")
        if not isinstance(name, str):
            raise ReadError(f"{where} has no file name")
        if image["id"] in images or name in names:
            raise ReadError(f"{where} has the id or file name of another image")
        try:
            size = [image.get("height"), image.get("width")]
            shape = check_size(size, max_pixels=max_pixels)
        except ReadError as error:
            raise ReadError(f"{where}: {error}") from None
        images[image["id"]] = (name, shape)
        names.add(name)
    return images


def _records(data: dict[str, Any]) -> dict[str, Any]:
    """Return what our own datasets record of each run."""
    info = data.get("info")
    ours = info.get(KEY) if isinstance(info, dict) else None
    records = ours.get("images") if isinstance(ours, dict) else None
    return records if isinstance(records, dict) else {}


def _in_order(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Restore the order of labels, which other tools may have changed."""
    labels = [annotation.get("label") for annotation in annotations]
    if all(type(label) is int for label in labels) and len(set(labels)) == len(labels):
        return sorted(annotations, key=lambda annotation: int(annotation["label"]))
    return annotations


def _masks(
    annotations: list[dict[str, Any]],
    shape: tuple[int, int],
    record: Any,
    budget: PixelBudget,
) -> Masks:
    keywords = {} if record is None else masks_keywords(record, budget.where)

    def windows() -> Iterator[tuple[int, int, Window] | None]:
        for annotation in annotations:
            try:
                yield _window(annotation, shape)
            except ReadError as error:
                raise ReadError(f"{annotation[KEY]}: {error}") from None

    rows = [score_row(annotation, annotation[KEY]) for annotation in annotations]
    return build_masks(shape, windows(), rows, keywords=keywords, budget=budget)


def _segmentation(annotation: dict[str, Any]) -> Any:
    # Beside a polygon, our own files hold the exact run lengths.
    return annotation.get("rle", annotation.get("segmentation"))


def _is_box(annotation: dict[str, Any]) -> bool:
    """Return whether an annotation is of a detector that gives no masks."""
    return _segmentation(annotation) == [] or (
        "bbox" in annotation and not {"rle", "segmentation"} & set(annotation)
    )


def _size(annotation: dict[str, Any], shape: tuple[int, int], where: str) -> int:
    segmentation = _segmentation(annotation)
    try:
        if isinstance(segmentation, list):
            return filled_size(segmentation, shape=shape)
        return decoded_size(segmentation, shape=shape)
    except ReadError as error:
        raise ReadError(f"{where}: {error}") from None
    except MemoryError:
        raise ReadError(f"{where} needs more memory than there is") from None


def _window(annotation: dict[str, Any], shape: tuple[int, int]) -> tuple[int, int, Window] | None:
    segmentation = _segmentation(annotation)
    if isinstance(segmentation, list):
        return from_polygons(segmentation, shape=shape)
    return decode(segmentation, shape=shape)
