"""Which of several overlapping boxes stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.pairs import banded, overlapping

_MANY = 4000
"""Numbers in a list of boxes above which torchvision goes another way on a CPU."""

_MOST_MEETING, _MOST_PAIRS = 1 << 22, 1 << 19
"""Pairs of boxes that are compared, and that overlap, of which `Overlaps` are kept."""


def suppress(
    boxes: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.int64]:
    """Non-maximum suppression as sam2 calls it.

    The same decisions as torchvision's ``batched_nms`` with a single class, rounding, ties
    and order included; importing torchvision alone takes longer than many a run.

    Parameters
    ----------
    boxes : ndarray, Nx4
        x0, y0, x1, y1 in pixels, x1 and y1 inclusive, whose area sam2 takes to be
        ``(x1 - x0) * (y1 - y0)``.
    scores : ndarray, float32, N
        The box of the higher score stays; at a tie, the first.
    threshold : float
        Boxes whose intersection over union with one that stays is larger are dropped.

    Returns
    -------
    ndarray, int64
        Rows that stay, by falling score.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order]
    one, other, _ = overlapping(corners, threshold)
    rows = order[_kept(len(order), one, other)]
    return _as_of_many(rows, scores) if 4 * len(boxes) > _MANY else rows


def near_duplicates(
    boxes: npt.NDArray[np.int64],
    areas: npt.NDArray[np.int64],
    predicted_iou: npt.NDArray[np.float32],
    stability: npt.NDArray[np.float32],
    agreement: float,
) -> npt.NDArray[np.bool_]:
    """Tell which masks are all but another one that is at least as good in both scores.

    Whatever the thresholds of the scores are, it passes where they pass: removing them before
    or after a threshold comes to the same. A mask that is removed removes no other.

    Parameters
    ----------
    boxes : ndarray, Nx4
        As for `suppress`.
    areas : ndarray, N
        Pixels of each mask.
    predicted_iou, stability : ndarray, float32, N
        The scores; NaN is worse than any. Of equals the first stays.
    agreement : float
        The boxes' intersection over union is more than this, and the smaller area is at
        least this share of the larger one.

    Returns
    -------
    ndarray, bool, N
    """
    iou, stable = (np.nan_to_num(scores, nan=-1) for scores in (predicted_iou, stability))
    order = np.lexsort((-stable, -iou))  # each key stable, so that ties keep their order
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[order]
    one, other, _ = overlapping(corners, agreement)
    better, worse = np.minimum(one, other), np.maximum(one, other)
    areas, stable = areas[order], stable[order]
    same = stable[better] >= stable[worse]
    small, large = np.sort([areas[better], areas[worse]], axis=0)
    same &= small >= agreement * large
    removed = np.empty(len(order), dtype=np.bool_)
    removed[order] = ~_kept(len(order), better[same], worse[same])
    return removed


class Overlaps:
    """How much many boxes overlap, for one suppression after another among some of them.

    Parameters
    ----------
    boxes : ndarray, Nx4
        As for `suppress`.
    rows : ndarray, int64, optional
        Those that are compared, rising; by default all.
    """

    def __init__(
        self, boxes: npt.NDArray[np.int64], rows: npt.NDArray[np.int64] | None = None
    ) -> None:
        rows = np.arange(len(boxes)) if rows is None else rows
        corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[rows]
        one, other, self._overlap = overlapping(corners, 0.0)
        self._one, self._other = rows[one], rows[other]
        self._known = np.zeros(len(boxes), dtype=np.bool_)
        self._known[rows] = True

    @classmethod
    def of(cls, boxes: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]) -> Overlaps:
        """Compare as many of the boxes with the best scores as takes neither long nor much memory.

        Parameters
        ----------
        boxes, scores
            As for `suppress`.
        """
        order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
        corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
        rows = np.arange(len(order))
        while True:
            if banded(corners[rows]).meeting.sum() <= _MOST_MEETING:
                overlaps = cls(boxes, rows)
                if len(overlaps) <= _MOST_PAIRS:
                    return overlaps
            rows = np.sort(order[: len(rows) * 2 // 3])

    def __len__(self) -> int:
        return len(self._overlap)

    def knows(self, rows: npt.NDArray[np.int64]) -> bool:
        """Tell whether all these boxes were compared."""
        return bool(self._known[rows].all())

    def suppress(
        self, rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], threshold: float
    ) -> npt.NDArray[np.int64]:
        """Return the same as ``suppress(boxes[rows], scores, threshold)``.

        No row twice, and all of those that it `knows`.
        """
        order = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
        rank = np.full(len(self._known), -1, dtype=np.int64)
        rank[rows[order]] = np.arange(len(rows))
        much = self._overlap > threshold
        one, other = rank[self._one[much]], rank[self._other[much]]
        both = (one >= 0) & (other >= 0)
        kept = order[_kept(len(order), one[both], other[both])]
        return _as_of_many(kept, scores) if 4 * len(rows) > _MANY else kept


def _kept(
    count: int, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Tell which boxes stay, if each that does drops those of higher rank that it overlaps.

    In rounds: a box that no undecided better one overlaps stays for sure, all such at once.
    """
    first, second = np.minimum(one, other), np.maximum(one, other)
    kept = np.ones(count, dtype=np.bool_)
    while len(first):
        sure = kept.copy()
        sure[second] = False
        stays = sure[first]
        kept[second[stays]] = False
        left = ~stays & kept[first] & kept[second]
        first, second = first[left], second[left]
    return kept


def _as_of_many(
    rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Order rows as torchvision does for many boxes: by torch's sort, which may swap ties."""
    import torch

    rows = np.sort(rows)
    order = torch.from_numpy(np.array(scores, dtype=np.float32)[rows]).sort(descending=True)[1]
    return np.asarray(rows[order.numpy()], dtype=np.int64)
