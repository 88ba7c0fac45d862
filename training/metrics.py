"""Average precision of label images, as BBBC038 is scored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

LEVELS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""IoU from which a found object counts: the mean of the ten precisions is AP50-95."""


def iou_matrix(true: npt.NDArray[np.integer], found: npt.NDArray[np.integer]) -> np.ndarray:
    """IoU of every true object with every found one, float64 (n_true, n_found)."""
    true_index, true_ids = _numbered(true)
    found_index, found_ids = _numbered(found)
    places = true_index * len(found_ids) + found_index
    size = len(true_ids) * len(found_ids)
    counts = np.bincount(places, minlength=size).reshape(len(true_ids), -1).astype(float)
    union = counts.sum(1, keepdims=True) + counts.sum(0, keepdims=True) - counts
    iou = counts / union
    return iou[true_ids > 0][:, found_ids > 0]


def _numbered(labels: npt.NDArray[np.integer]) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's place among the labels there are, and these."""
    flat = labels.ravel().astype(np.int64)
    # Sorting, as np.unique does, takes most of the time of a score.
    present = np.bincount(flat) > 0
    return (np.cumsum(present) - 1)[flat], np.flatnonzero(present)


def matched(iou: np.ndarray, threshold: float) -> npt.NDArray[np.bool_]:
    """Tell which true objects have a found one of their own at IoU >= `threshold`, bool n_true."""
    close = iou >= threshold
    if (close.sum(0) <= 1).all() and (close.sum(1) <= 1).all():
        return close.any(1)
    rows, columns = linear_sum_assignment(close.astype(float), maximize=True)
    own = np.zeros(len(iou), dtype=bool)
    own[rows] = close[rows, columns]
    return own


def matches(iou: np.ndarray, threshold: float) -> int:
    """Return how many true objects have a found one of their own at IoU >= `threshold`."""
    return int(matched(iou, threshold).sum())


def average_precision(iou: np.ndarray, threshold: float) -> float:
    """TP / (TP + FP + FN) with one-to-one matching at IoU >= `threshold`; 1 if all is empty."""
    hits = matches(iou, threshold)
    total = iou.shape[0] + iou.shape[1] - hits
    return hits / total if total else 1.0


def precisions(iou: np.ndarray) -> list[float]:
    """Average precision at each of `LEVELS`."""
    return [average_precision(iou, level) for level in LEVELS]


def diameters(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Diameters of discs as large as the objects, in pixels, in the order of `iou_matrix`."""
    areas = np.bincount(labels.ravel())[1:]
    found: npt.NDArray[np.float64] = np.sqrt(4 / np.pi * areas[areas > 0])
    return found
