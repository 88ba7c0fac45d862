"""Every candidate of an image beside the true objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam_amg.masks import MaskStore, Proposals


@dataclass(frozen=True, eq=False)
class Candidates:
    """N candidates of one image, by row.

    Attributes
    ----------
    predicted, stability : ndarray, float64, N
        The model's own scores.
    best : ndarray, float64, N
        True IoU with the true object that it fits best, 0 without any.
    own : ndarray, float64, N
        True IoU with the object under its prompt; 0 for a prompt on the background.
    background : ndarray, bool, N
        Whether the prompt lies on no object.
    prompt : ndarray, int64, N
        Which candidates have their prompt in common.
    """

    predicted: npt.NDArray[np.float64]
    stability: npt.NDArray[np.float64]
    best: npt.NDArray[np.float64]
    own: npt.NDArray[np.float64]
    background: npt.NDArray[np.bool_]
    prompt: npt.NDArray[np.int64]

    @classmethod
    def of(cls, proposals: Proposals, labels: npt.NDArray[np.integer]) -> Candidates:
        """Compare proposals with the truth (labels HxW)."""
        iou = true_ious(proposals.store, labels)
        x, y = np.floor(proposals.points).astype(np.int64).T
        height, width = labels.shape
        under = labels[y.clip(0, height - 1), x.clip(0, width - 1)].astype(np.int64)
        _, prompt = np.unique(proposals.points, axis=0, return_inverse=True)
        return cls(
            proposals.predicted_iou.astype(np.float64),
            np.nan_to_num(proposals.stability_score.astype(np.float64)),
            iou[:, 1:].max(axis=1, initial=0),
            np.where(under > 0, iou[np.arange(len(iou)), under], 0),
            under == 0,
            prompt.reshape(-1),
        )


def true_ious(store: MaskStore, labels: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
    """Return the IoU of each mask with each label from 0 on, float64 N x (largest label + 1)."""
    flat = labels.astype(np.int64)
    areas = np.bincount(flat.ravel())
    common = np.zeros((len(store), len(areas)))
    for row in range(len(store)):
        inside = flat[store.slices(row)][store.window(row)]
        common[row] = np.bincount(inside, minlength=len(areas))
    found: npt.NDArray[np.float64] = common / (store.areas[:, None] + areas - common)
    return found


def separation(values: npt.NDArray[np.floating], good: npt.NDArray[np.bool_]) -> float:
    """Return how often a good one has the higher value than a bad one (AUC; ties count half).

    NaN if there are not both.
    """
    from scipy.stats import rankdata

    count = int(good.sum())
    if count in (0, len(good)):
        return float("nan")
    ranks = rankdata(values)[good].sum() - count * (count + 1) / 2
    return float(ranks / (count * (len(good) - count)))
