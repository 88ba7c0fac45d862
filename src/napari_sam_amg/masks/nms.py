"""Which of several overlapping boxes stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import offsets, portions, ranges

_MANY = 4000
"""Numbers in a list of boxes above which torchvision goes another way on a CPU."""

_PAIRS_AT_ONCE = 1 << 20


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
    first, second = _overlapping(corners, threshold)
    begins = np.searchsorted(first, np.arange(len(order) + 1))
    kept = np.ones(len(order), dtype=np.bool_)
    for rank in np.flatnonzero(np.diff(begins)).tolist():
        if kept[rank]:
            kept[second[begins[rank] : begins[rank + 1]]] = False
    rows = order[kept]
    return _as_of_many(rows, scores) if 4 * len(boxes) > _MANY else rows


def _as_of_many(
    rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Order rows as torchvision does for many boxes: by torch's sort, which may swap ties."""
    import torch

    rows = np.sort(rows)
    order = torch.from_numpy(np.array(scores, dtype=np.float32)[rows]).sort(descending=True)[1]
    return np.asarray(rows[order.numpy()], dtype=np.int64)


def _overlapping(
    corners: npt.NDArray[np.float32], threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pairs (i, j), i < j, of boxes that overlap by more than `threshold`, sorted by i.

    Only boxes whose columns meet are compared; others share no pixel.
    """
    by_left = np.argsort(corners[:, 0], kind="stable")
    lefts = corners[by_left, 0]
    places = np.arange(len(lefts))
    counts = np.searchsorted(lefts, corners[by_left, 2], side="left") - places - 1
    np.maximum(counts, 0, out=counts)  # of a box without width
    bounds = offsets(counts)
    found = [np.empty((0, 2), dtype=np.int64)]
    for begin, end in portions(bounds, _PAIRS_AT_ONCE):
        here = counts[begin:end]
        one, other = np.repeat(places[begin:end], here), ranges(places[begin:end] + 1, here)[0]
        one, other = by_left[one], by_left[other]
        # Rows first: they rule out most pairs.
        meet = corners[one, 1] < corners[other, 3]
        meet &= corners[other, 1] < corners[one, 3]
        one, other = one[meet], other[meet]
        much = _overlap(corners[one], corners[other]) > threshold
        found.append(np.stack([one[much], other[much]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    return pairs[:, 0], pairs[:, 1]


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
