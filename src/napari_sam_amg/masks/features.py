"""The features table: one row a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.nesting import parents

if TYPE_CHECKING:
    from napari_sam_amg.masks.labels import LabelImage, Painting
    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.masks.table import MaskTable

Columns = dict[str, npt.NDArray[Any]]


def tabulate(store: MaskStore, table: MaskTable, painting: Painting) -> Columns:
    """Tabulate masks.

    Parameters
    ----------
    store, table : MaskStore, MaskTable
        N masks and their scores.
    painting : Painting
        The masks as drawn, which ``area_visible`` depends on.

    Returns
    -------
    dict of ndarray, N
        The columns; boxes are sam2's, in pixels, ``w = xmax - xmin``; ``area_visible`` is what
        the label image shows of the mask, ``overlap_fraction`` the share of its pixels
        that another mask covers too, ``parent`` as by `parents`.
    """
    boxes = store.bboxes
    return {
        "label": np.arange(1, len(store) + 1, dtype=np.int64),
        "area": store.areas,
        "bbox_x0": boxes[:, 0],
        "bbox_y0": boxes[:, 1],
        "bbox_w": boxes[:, 2],
        "bbox_h": boxes[:, 3],
        "point_input_x": table.points[:, 0].astype(np.float64),
        "point_input_y": table.points[:, 1].astype(np.float64),
        "predicted_iou": table.predicted_iou.astype(np.float64),
        "stability_score": table.stability_score.astype(np.float64),
        "crop_box_x0": table.crop_boxes[:, 0],
        "crop_box_y0": table.crop_boxes[:, 1],
        "crop_box_w": table.crop_boxes[:, 2],
        "crop_box_h": table.crop_boxes[:, 3],
        "area_visible": painting.visible,
        "overlap_fraction": painting.shared / store.areas,
        "touches_border": store.at_border,
        "parent": parents(store),
    }


def visible_areas(painted: LabelImage, count: int) -> npt.NDArray[np.int64]:
    """Return how many pixels of each of `count` masks a label image shows, int64."""
    flat = painted.reshape(-1)
    # By stretches of one label, which are far fewer than pixels.
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]), flat.size - 1)
    lengths = np.diff(ends, prepend=-1)
    seen = np.bincount(flat[ends], weights=lengths, minlength=count + 1)
    return seen[1:].astype(np.int64)
