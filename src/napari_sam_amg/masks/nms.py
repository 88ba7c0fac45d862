"""Which of several overlapping boxes stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def suppress(
    boxes: npt.NDArray[np.int64], scores: npt.NDArray[np.float32], threshold: float
) -> npt.NDArray[np.int64]:
    """Non-maximum suppression as sam2 calls it.

    It is torchvision's ``batched_nms`` with a single class, so that rounding, ties and the
    order of the result are sam2's own.

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
    import torch
    from torchvision.ops import batched_nms

    with torch.device("cpu"):  # whatever the host's default is
        kept = batched_nms(
            torch.from_numpy(np.array(boxes, dtype=np.float32)),
            torch.from_numpy(np.array(scores, dtype=np.float32)),
            torch.zeros(len(boxes), dtype=torch.int64),
            iou_threshold=threshold,
        )
    return np.asarray(kept.numpy(), dtype=np.int64)
