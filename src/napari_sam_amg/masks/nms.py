"""Which of several overlapping boxes stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_MANY = 4000
"""Numbers in a list of boxes above which torchvision goes another way on a CPU."""


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
    left = np.argsort(-np.asarray(scores, dtype=np.float32), kind="stable")
    corners = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)[left]
    kept: list[int] = []
    while len(left):
        kept.append(int(left[0]))
        distinct = ~(_overlap(corners[0], corners[1:]) > threshold)
        left, corners = left[1:][distinct], corners[1:][distinct]
    rows = np.array(kept, dtype=np.int64)
    return _as_of_many(rows, scores) if 4 * len(boxes) > _MANY else rows


def _as_of_many(
    rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.int64]:
    """Order rows as torchvision does for many boxes: by torch's sort, which may swap ties."""
    import torch

    rows = np.sort(rows)
    order = torch.from_numpy(np.array(scores, dtype=np.float32)[rows]).sort(descending=True)[1]
    return np.asarray(rows[order.numpy()], dtype=np.int64)


def _overlap(one: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Intersection over union in float32, as float64; NaN where both areas are 0."""
    inner = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    shared = np.maximum(inner, np.float32(0)).prod(axis=1, dtype=np.float32)
    size = (others[:, 2:] - others[:, :2]).prod(axis=1, dtype=np.float32)
    own = np.prod(one[2:] - one[:2], dtype=np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        # torchvision compares the float32 quotient with a double.
        overlap: npt.NDArray[Any] = (shared / (own + size - shared)).astype(np.float64)
    return overlap
