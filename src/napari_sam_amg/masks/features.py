"""The features table: one row a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.labels import paint, shared_pixels
from napari_sam_amg.masks.nesting import parents

if TYPE_CHECKING:
    import pandas as pd

    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.masks.table import MaskTable
    from napari_sam_amg.parameters import OverlapRule

_BLOCK_PIXELS = 1 << 22


def features(store: MaskStore, table: MaskTable, rule: OverlapRule) -> pd.DataFrame:
    """Tabulate masks.

    Parameters
    ----------
    store, table : MaskStore, MaskTable
        N masks and their scores.
    rule : OverlapRule
        What ``area_visible`` depends on.

    Returns
    -------
    DataFrame
        N rows; boxes are sam2's, in pixels, ``w = xmax - xmin``; ``area_visible`` is what
        the label image shows of the mask, ``overlap_fraction`` the share of its pixels
        that another mask covers too, ``parent`` as by `parents`.
    """
    import pandas as pd

    boxes, count = store.bboxes, len(store)
    columns: dict[str, npt.NDArray[np.generic]] = {
        "label": np.arange(1, count + 1, dtype=np.int64),
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
        "area_visible": visible_areas(store, table.predicted_iou, rule),
        "overlap_fraction": overlap_fractions(store),
        "touches_border": store.at_border,
        "parent": parents(store),
    }
    return pd.DataFrame({name: column.copy() for name, column in columns.items()})


def visible_areas(
    store: MaskStore, scores: npt.NDArray[np.float32], rule: OverlapRule
) -> npt.NDArray[np.int64]:
    """Return how many pixels of each mask the label image under `rule` shows, int64 N."""
    image = paint(store, scores, rule).reshape(-1)
    seen = np.zeros(len(store) + 1, dtype=np.int64)
    # bincount copies to int64: in blocks, so that a large image is never held eight times.
    for start in range(0, image.size, _BLOCK_PIXELS):
        seen += np.bincount(image[start : start + _BLOCK_PIXELS], minlength=len(seen))
    return seen[1:]


def overlap_fractions(store: MaskStore) -> npt.NDArray[np.float64]:
    """Return the share of each mask's pixels that another mask covers too, float64 N."""
    shared = shared_pixels(store)
    counts = [
        np.count_nonzero(shared[store.slices(index)] & store.window(index))
        for index in range(len(store))
    ]
    return np.array(counts, dtype=np.int64) / store.areas
