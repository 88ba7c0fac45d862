"""Which masks cover a pixel, without those that say the same twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_sam_amg.masks.scored import ScoredMasks

_ALIKE = 0.9
_MOST = 500


def covering(masks: ScoredMasks, x: int, y: int) -> npt.NDArray[np.int64]:
    """Find the masks that cover a pixel, the best first.

    Parameters
    ----------
    masks : ScoredMasks
        N masks or candidates.
    x, y : int
        The pixel; one outside the image is covered by none.

    Returns
    -------
    ndarray, int64
        Rows by falling product of predicted IoU and stability (NaN last). Of masks whose
        boxes and areas agree by 90 % and more, only the first; at most the best 500 that
        cover the pixel are compared.
    """
    left, top, width, height = masks.store.windows.T
    near = np.flatnonzero(
        (left <= x) & (x < left + width) & (top <= y) & (y < top + height)
    ).tolist()
    rows = [
        i
        for i in near
        if masks.store.rows(i, y - int(top[i]), y - int(top[i]) + 1)[0, x - left[i]]
    ]
    chosen = np.array(rows, dtype=np.int64)
    score = masks.predicted_iou[chosen] * masks.stability_score[chosen]
    best_first = chosen[np.lexsort((chosen, -np.nan_to_num(score, nan=-1.0)))]
    return _distinct(masks, best_first[:_MOST])


def _distinct(masks: ScoredMasks, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    boxes, areas = masks.store.windows[rows].astype(np.float64), masks.areas[rows]
    near, far = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    sizes = boxes[:, 2] * boxes[:, 3]
    kept: list[int] = []
    left = np.ones(len(rows), dtype=np.bool_)
    for index in range(len(rows)):
        if not left[index]:
            continue
        kept.append(index)
        sides = np.minimum(far, far[index]) - np.maximum(near, near[index])
        shared = np.maximum(sides, 0).prod(axis=1)
        boxes_agree = shared >= _ALIKE * (sizes + sizes[index] - shared)
        areas_agree = np.minimum(areas, areas[index]) >= _ALIKE * np.maximum(areas, areas[index])
        left &= ~(boxes_agree & areas_agree)
    return rows[kept]
