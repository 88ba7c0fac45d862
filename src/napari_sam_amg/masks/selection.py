"""From candidates to masks: thresholds, duplicates, small regions, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.nms import suppress
from napari_sam_amg.masks.regions import clean
from napari_sam_amg.masks.store import MaskStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam_amg.masks.proposals import Proposals
    from napari_sam_amg.parameters import AmgParameters

Rows = npt.NDArray[np.int64]

Cleaned = tuple[int, int, npt.NDArray[np.bool_], bool]
"""Left, top, pixels, and whether cleaning changed them."""

_REMEMBERED = 1 << 16
"""Pixels of the largest window that is kept for the next move of a slider."""

_MOST_REMEMBERED = 4096

_EDGE = 20
"""How near to a crop's edge a box is cut off, in pixels; sam2's own."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What stays of N candidates, and why the others do not.

    Attributes
    ----------
    rows : ndarray, int64, M
        The candidates that stay, in the order of the result.
    store : MaskStore
        Their pixels, M masks, cleaned of small regions.
    removed : dict
        How many candidates each step removed, by the parameter that decides it, in the
        order of the steps; "crop edge" for masks that the edge of a crop cuts off.
    """

    rows: Rows
    store: MaskStore
    removed: dict[str, int]


def select(proposals: Proposals, parameters: AmgParameters) -> Selection:
    """Select masks in the order in which sam2 decides.

    Predicted IoU, stability, crop edge, duplicates within each crop, duplicates between
    crops, small regions; then area and border.

    Parameters
    ----------
    proposals : Proposals
        N candidates.
    parameters : AmgParameters
        The thresholds.
    """
    p = parameters
    removed: dict[str, int] = {}
    rows = np.arange(len(proposals))

    def keep(step: str, kept: Rows) -> Rows:
        removed[step] = len(rows) - len(kept)
        return kept

    # torch compares a float32 tensor with a Python number in float32.
    if p.pred_iou_thresh > 0:
        good = proposals.predicted_iou > np.float32(p.pred_iou_thresh)
        rows = keep("pred_iou_thresh", rows[good])
    if p.stability_score_thresh > 0:
        stable = proposals.stability_score[rows] >= np.float32(p.stability_score_thresh)
        rows = keep("stability_score_thresh", rows[stable])
    rows = keep("crop edge", rows[~_cut_off(proposals, rows)])
    rows = keep("box_nms_thresh", _unique_in_crops(proposals, rows, p.box_nms_thresh))
    if len(proposals.crop_boxes_all) > 1:
        rows = keep("crop_nms_thresh", _unique_between_crops(proposals, rows, p.crop_nms_thresh))
    store = proposals.store.take(rows)
    if p.min_mask_region_area > 0:
        threshold = max(p.box_nms_thresh, p.crop_nms_thresh)
        known = proposals.cleaned(p.min_mask_region_area)
        kept, store = without_small_regions(
            store, p.min_mask_region_area, threshold, names=rows, known=known
        )
        rows = keep("min_mask_region_area", rows[kept])
    for step, wanted in _wishes(p).items():
        kept = np.flatnonzero(wanted(store))
        if len(kept) < len(rows):
            store = store.take(kept)
        rows = keep(step, rows[kept])
    return Selection(rows, store, removed)


def without_small_regions(
    store: MaskStore,
    min_area: int,
    threshold: float,
    *,
    names: Rows | None = None,
    known: dict[int, Cleaned] | None = None,
) -> tuple[Rows, MaskStore]:
    """Clean masks of small holes and islands, then of duplicates that appear by it.

    Among duplicates, masks that did not need cleaning are preferred, as in sam2's
    ``postprocess_small_regions``.

    Parameters
    ----------
    store : MaskStore
        The masks.
    min_area : int
        Regions of fewer pixels are removed.
    threshold : float
        Of the boxes' intersection over union.
    names : ndarray, int64, optional
        Of each mask, by which `known` has it.
    known : dict, optional
        Masks cleaned earlier with the same `min_area`; small ones are added.

    Returns
    -------
    rows : ndarray, int64
        The masks that stay, in sam2's order.
    store : MaskStore
        Their cleaned pixels.
    """
    known = {} if known is None else known
    cleaned, unchanged = [], []
    for index, name in enumerate(range(len(store)) if names is None else names.tolist()):
        result = known.get(name)
        if result is None:
            left, top = store.windows[index, :2].tolist()
            result = clean(
                store.window(index), left=left, top=top, shape=store.shape, min_area=min_area
            )
            if result[2].size <= _REMEMBERED and len(known) < _MOST_REMEMBERED:
                known[name] = result
        cleaned.append(result[:3])
        unchanged.append(not result[3])
    new = MaskStore.from_windows(store.shape, cleaned)
    kept = suppress(new.boxes, np.array(unchanged, dtype=np.float32), threshold)
    return kept, new.take(kept)


def _cut_off(proposals: Proposals, rows: Rows) -> npt.NDArray[np.bool_]:
    """Whether each box comes near an edge of its crop that is no edge of the image."""
    height, width = proposals.shape
    boxes = proposals.store.boxes[rows]
    crops = proposals.crop_boxes_all[proposals.crop_index[rows]].copy()
    crops[:, 2:] += crops[:, :2]
    near_crop = np.abs(boxes - crops) <= _EDGE
    near_image = np.abs(boxes - np.array([0, 0, width, height])) <= _EDGE
    cut: npt.NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return cut


def _unique_in_crops(proposals: Proposals, rows: Rows, threshold: float) -> Rows:
    crop_of_row = proposals.crop_index[rows]
    boxes, scores = proposals.store.boxes, proposals.predicted_iou
    kept = [rows[:0]]
    for crop in range(len(proposals.crop_boxes_all)):
        here = rows[crop_of_row == crop]
        kept.append(here[suppress(boxes[here], scores[here], threshold)])
    return np.concatenate(kept)


def _unique_between_crops(proposals: Proposals, rows: Rows, threshold: float) -> Rows:
    """Of masks that several crops found, keep the one from the smallest crop."""
    crops = proposals.crop_boxes_all[proposals.crop_index[rows]]
    scores = np.float32(1) / (crops[:, 2] * crops[:, 3]).astype(np.float32)
    return rows[suppress(proposals.store.boxes[rows], scores, threshold)]


def _wishes(p: AmgParameters) -> dict[str, Callable[[MaskStore], npt.NDArray[np.bool_]]]:
    """Say which masks of a store each parameter of size and place lets through."""
    wishes: dict[str, Callable[[MaskStore], npt.NDArray[np.bool_]]] = {}
    if (least := p.min_area) is not None:
        wishes["min_area"] = lambda store: store.areas >= least
    if (most := p.max_area) is not None:
        wishes["max_area"] = lambda store: store.areas <= most
    if p.exclude_border:
        wishes["exclude_border"] = lambda store: ~store.at_border
    return wishes
