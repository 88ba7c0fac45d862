"""sam2's records of masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks.runs import run_lengths, to_coco_counts
from napari_sam_amg.parameters import OutputMode

if TYPE_CHECKING:
    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.masks.table import MaskTable


def checked_mode(mode: str) -> OutputMode:
    """Return `mode` if there is such a form of records.

    Raises
    ------
    ParameterError
        If there is not; it names all that there are.
    """
    if mode not in get_args(OutputMode):
        raise ParameterError(
            f"output_mode={mode!r}: use one of " + ", ".join(map(repr, get_args(OutputMode)))
        )
    return mode  # type: ignore[return-value]


def records(store: MaskStore, table: MaskTable, mode: OutputMode) -> list[dict[str, Any]]:
    """Return masks as ``SAM2AutomaticMaskGenerator.generate`` does.

    Parameters
    ----------
    store, table : MaskStore, MaskTable
        N masks and their scores.
    mode : OutputMode
        Form of ``segmentation``: a bool HxW array, uncompressed run lengths
        (``{"size": [H, W], "counts": [int, ...]}``), or COCO's compressed ones (a str).

    Returns
    -------
    list of dict
        ``segmentation``, ``area`` (int), ``bbox`` (four floats, XYWH, w = xmax - xmin),
        ``predicted_iou``, ``point_coords`` ([[x, y]]), ``stability_score``, ``crop_box``
        (four floats, XYWH).
    """
    boxes = store.bboxes
    return [
        {
            "segmentation": _segmentation(store, index, mode),
            "area": int(store.areas[index]),
            "bbox": boxes[index].astype(float).tolist(),
            "predicted_iou": table.predicted_iou[index].item(),
            "point_coords": [table.points[index].tolist()],
            "stability_score": table.stability_score[index].item(),
            "crop_box": table.crop_boxes[index].astype(float).tolist(),
        }
        for index in range(len(store))
    ]


def _segmentation(store: MaskStore, index: int, mode: OutputMode) -> Any:
    if mode == "binary_mask":
        return store.full(index)
    left, top = store.windows[index, :2].tolist()
    counts = run_lengths(store.window(index), left=left, top=top, shape=store.shape)
    plain = {"size": list(store.shape), "counts": counts}
    if mode == "uncompressed_rle":
        return plain
    return {"size": list(store.shape), "counts": to_coco_counts(counts)}
