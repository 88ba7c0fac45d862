"""Which of several overlapping boxes stay."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import offsets, portions, ranges

_MANY = 4000
"""Numbers in a list of boxes above which torchvision goes another way on a CPU."""

_PAIRS_AT_ONCE = 1 << 20

_MOST_MEETING, _MOST_PAIRS = 1 << 22, 1 << 19
"""Pairs of boxes that are compared, and that overlap, of which `Overlaps` are kept."""

_MOST_BANDS = 4
"""Bands of rows that boxes may be in on average."""


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
            if _banded(corners[rows]).meeting.sum() <= _MOST_MEETING:
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


class _Bands(NamedTuple):
    """Boxes laid out in bands of rows.

    ``first`` is the first band that each of N boxes meets. The others have a row for each
    band that a box meets, band by band and from left to right: ``box``, ``band``, and
    ``meeting``, with how many of the next ones, all of the same band, it shares columns.
    """

    first: npt.NDArray[np.int64]
    box: npt.NDArray[np.int64]
    band: npt.NDArray[np.int64]
    meeting: npt.NDArray[np.int64]


def _banded(corners: npt.NDArray[np.float32]) -> _Bands:
    """Lay boxes out so that few need to be compared in large images."""
    if not len(corners):
        none = np.empty(0, dtype=np.int64)
        return _Bands(none, none, none, none)
    left, top, right, bottom = (corners - corners.min(axis=0)[[0, 1, 0, 1]]).astype(np.float64).T
    height = max(1.0, float(np.median(bottom - top)))
    while True:
        first = (top // height).astype(np.int64)
        bands = (bottom // height).astype(np.int64) - first + 1
        if bands.sum() <= _MOST_BANDS * len(corners):
            break
        height *= 2  # some boxes are much higher than most
    band, _ = ranges(first, bands)
    boxes = np.repeat(np.arange(len(corners)), bands)
    width = right.max() + 1
    order = np.argsort(band * width + left[boxes], kind="stable")
    boxes, band = boxes[order], band[order]
    lefts = band * width + left[boxes]
    ends = np.searchsorted(lefts, band * width + right[boxes], side="left")
    counts = np.maximum(ends - np.arange(len(boxes)) - 1, 0)  # of a box without width
    return _Bands(first, boxes, band, counts)


def overlapping(
    corners: npt.NDArray[np.float32], threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return pairs of boxes that overlap by more than `threshold`, and by how much.

    Only boxes of one band whose columns meet are compared; others share no pixel. `corners`
    are boxes (float32, Nx4) as for `suppress`.
    """
    first, boxes, bands, counts = _banded(corners)
    places, bounds = np.arange(len(counts)), offsets(counts)
    ones, others = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    overlaps = [np.empty(0)]
    for begin, end in portions(bounds, _PAIRS_AT_ONCE):
        here = counts[begin:end]
        one, other = np.repeat(places[begin:end], here), ranges(places[begin:end] + 1, here)[0]
        band, one, other = bands[one], boxes[one], boxes[other]
        # Rows first: they rule out most pairs.
        meet = corners[one, 1] < corners[other, 3]
        meet &= corners[other, 1] < corners[one, 3]
        # Those that meet in several bands count where the lower of their tops is.
        meet &= np.maximum(first[one], first[other]) == band
        one, other = one[meet], other[meet]
        overlap = _overlap(corners[one], corners[other])
        much = overlap > threshold
        ones.append(one[much])
        others.append(other[much])
        overlaps.append(overlap[much])
    return np.concatenate(ones), np.concatenate(others), np.concatenate(overlaps)


def _overlap(ones: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Intersection over union, in pairs, in float32, as float64; NaN where both areas are 0."""
    inner = np.minimum(ones[:, 2:], others[:, 2:]) - np.maximum(ones[:, :2], others[:, :2])
    np.maximum(inner, np.float32(0), out=inner)
    shared = inner[:, 0] * inner[:, 1]
    one, other = ones[:, 2:] - ones[:, :2], others[:, 2:] - others[:, :2]
    union = one[:, 0] * one[:, 1] + other[:, 0] * other[:, 1] - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        # torchvision compares the float32 quotient with a double.
        overlap: npt.NDArray[Any] = (shared / union).astype(np.float64)
    return overlap
