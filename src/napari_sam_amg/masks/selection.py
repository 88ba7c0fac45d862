"""From candidates to masks: thresholds, duplicates, small regions, sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.nms import suppress

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam_amg.masks.proposals import Proposals
    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.parameters import AmgParameters

Rows = npt.NDArray[np.int64]

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
    cleaned : int
        Smallest region, in pixels, that was left in them; 0 if they are the candidates' own.
    """

    rows: Rows
    store: MaskStore
    removed: dict[str, int]
    cleaned: int


def select(proposals: Proposals, parameters: AmgParameters) -> Selection:
    """Select masks in the order in which sam2 decides.

    Predicted IoU, stability, crop edge, duplicates within each crop, duplicates between
    crops, small regions; then area and border. Tiles show different parts of one image: among
    their masks duplicates are removed at once, the better one staying wherever it was found.

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
    tiled = proposals.seam is not None
    if tiled:
        scores = proposals.predicted_iou[rows]
        rows = keep("box_nms_thresh", _unique(proposals, rows, scores, p.box_nms_thresh))
    else:
        rows = keep("box_nms_thresh", _unique_in_crops(proposals, rows, p.box_nms_thresh))
    if len(proposals.crop_boxes_all) > 1 and not tiled:
        rows = keep("crop_nms_thresh", _unique_between_crops(proposals, rows, p.crop_nms_thresh))
    source, places = proposals.store, rows
    if p.min_mask_region_area > 0:
        threshold = max(p.box_nms_thresh, p.crop_nms_thresh)
        source, changed = proposals.cleaned(p.min_mask_region_area).take(rows)
        # Duplicates appear by cleaning; as in sam2's ``postprocess_small_regions``, masks
        # that did not need it are preferred.
        places = suppress(source.boxes, (~changed).astype(np.float32), threshold)
        rows = keep("min_mask_region_area", rows[places])
    for step, wanted in wishes(p).items():
        good = wanted(source, places)
        rows, places = keep(step, rows[good]), places[good]
    return Selection(rows, source.take(places), removed, p.min_mask_region_area)


def _cut_off(proposals: Proposals, rows: Rows) -> npt.NDArray[np.bool_]:
    """Whether each box comes near an edge of its crop that is no edge of the image."""
    height, width = proposals.shape
    if proposals.crop_boxes_all.tolist() == [[0, 0, width, height]]:
        return np.zeros(len(rows), dtype=np.bool_)  # all its edges are the image's
    crops = proposals.crop_boxes_all[proposals.crop_index[rows]]
    near = _EDGE if proposals.seam is None else proposals.seam
    return cut_off(proposals.store.boxes[rows], crops, proposals.shape, near)


def cut_off(
    boxes: npt.NDArray[np.int64],
    crops: npt.NDArray[np.int64],
    shape: tuple[int, int],
    near: int,
) -> npt.NDArray[np.bool_]:
    """Tell which boxes come near an edge of their crop that is no edge of the image.

    Parameters
    ----------
    boxes : ndarray, Nx4
        x0, y0, x1, y1 in pixels of the image.
    crops : ndarray, Nx4
        Left, top, width, height in pixels of the image.
    shape : tuple of int
        Height and width of the image.
    near : int
        Up to how many pixels away.

    Returns
    -------
    ndarray, bool, N
    """
    height, width = shape
    edges = np.concatenate([crops[:, :2], crops[:, :2] + crops[:, 2:]], axis=1)
    near_crop = np.abs(boxes - edges) <= near
    near_image = np.abs(boxes - np.array([0, 0, width, height])) <= near
    cut: npt.NDArray[np.bool_] = (near_crop & ~near_image).any(axis=1)
    return cut


def _unique_in_crops(proposals: Proposals, rows: Rows, threshold: float) -> Rows:
    crop_of_row = proposals.crop_index[rows]
    kept = [rows[:0]]
    for crop in range(len(proposals.crop_boxes_all)):
        here = rows[crop_of_row == crop]
        kept.append(_unique(proposals, here, proposals.predicted_iou[here], threshold))
    return np.concatenate(kept)


def _unique_between_crops(proposals: Proposals, rows: Rows, threshold: float) -> Rows:
    """Of masks that several crops found, keep the one from the smallest crop."""
    crops = proposals.crop_boxes_all[proposals.crop_index[rows]]
    scores = np.float32(1) / (crops[:, 2] * crops[:, 3]).astype(np.float32)
    return _unique(proposals, rows, scores, threshold)


def _unique(
    proposals: Proposals, rows: Rows, scores: npt.NDArray[np.float32], threshold: float
) -> Rows:
    if proposals.overlaps is not None and proposals.overlaps.knows(rows):
        return rows[proposals.overlaps.suppress(rows, scores, threshold)]
    return rows[suppress(proposals.store.boxes[rows], scores, threshold)]


def wishes(p: AmgParameters) -> dict[str, Callable[[MaskStore, Rows], npt.NDArray[np.bool_]]]:
    """Say which of some masks of a store each parameter of size and place lets through."""
    found: dict[str, Callable[[MaskStore, Rows], npt.NDArray[np.bool_]]] = {}
    if (least := p.min_area) is not None:
        found["min_area"] = lambda store, rows: store.areas[rows] >= least
    if (most := p.max_area) is not None:
        found["max_area"] = lambda store, rows: store.areas[rows] <= most
    if p.exclude_border:
        found["exclude_border"] = lambda store, rows: ~store.at_border[rows]
    return found
