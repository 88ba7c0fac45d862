"""Average precision of label images, as BBBC038 is scored."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment


def iou_matrix(true: npt.NDArray[np.integer], found: npt.NDArray[np.integer]) -> np.ndarray:
    """IoU of every true object with every found one, float64 (n_true, n_found)."""
    true_ids, true_index = np.unique(true, return_inverse=True)
    found_ids, found_index = np.unique(found, return_inverse=True)
    counts = np.zeros((len(true_ids), len(found_ids)))
    np.add.at(counts, (true_index.ravel(), found_index.ravel()), 1)
    union = counts.sum(1, keepdims=True) + counts.sum(0, keepdims=True) - counts
    iou = counts / union
    return iou[true_ids > 0][:, found_ids > 0]


def matches(iou: np.ndarray, threshold: float) -> int:
    """Return how many true objects have a found one of their own at IoU >= `threshold`."""
    rows, columns = linear_sum_assignment((iou >= threshold).astype(float), maximize=True)
    return int((iou[rows, columns] >= threshold).sum())


def average_precision(iou: np.ndarray, threshold: float) -> float:
    """TP / (TP + FP + FN) with one-to-one matching at IoU >= `threshold`; 1 if all is empty."""
    hits = matches(iou, threshold)
    total = iou.shape[0] + iou.shape[1] - hits
    return hits / total if total else 1.0
