"""Losses that teach a promptable model which nucleus a point means.

Focal plus dice averaged over the image collapses on nuclei: it learns "nucleus or not".
Here the prompted object, the *other* objects, the background and a band around the
object are each averaged over their own pixels, so that confusing two neighbours costs as
much as missing one. In a field of a hundred objects a mask that takes in a second, far one
would then cost next to nothing, though its IoU is halved: regions much larger than the
object count as a few times its size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def _mean_over(
    values: torch.Tensor, weights: torch.Tensor, at_most: torch.Tensor | None = None
) -> torch.Tensor:
    """Weighted mean, with the weights' sum taken for `at_most` if it is larger."""
    total = weights.sum((-2, -1))
    if at_most is not None:
        total = torch.minimum(total, at_most)
    return (values * weights).sum((-2, -1)) / total.clamp(min=1.0)


def mask_losses(
    logits: torch.Tensor, target: torch.Tensor, foreground: torch.Tensor
) -> torch.Tensor:
    """Loss of each predicted mask.

    Parameters
    ----------
    logits : Tensor, NxMxHxW
    target : Tensor, NxHxW
        Share of each cell that the object covers, 0 to 1.
    foreground : Tensor, NxHxW
        Share covered by any object.

    Returns
    -------
    Tensor, NxM
    """
    target, foreground = target[:, None], foreground[:, None]
    cross_entropy = F.binary_cross_entropy_with_logits(
        logits, target.expand_as(logits), reduction="none"
    )
    others = (foreground - target).clamp(min=0)
    band = F.max_pool2d(target, 5, stride=1, padding=2)
    probability = logits.sigmoid()
    overlap = (probability * target).sum((-2, -1))
    size = probability.sum((-2, -1)) + target.sum((-2, -1))
    dice = 1 - (2 * overlap + 1) / (size + 1)
    size_of_object = target.sum((-2, -1))
    return (
        _mean_over(cross_entropy, target)
        + _mean_over(cross_entropy, others, at_most=4 * size_of_object)
        + _mean_over(cross_entropy, 1 - foreground, at_most=16 * size_of_object)
        + _mean_over(cross_entropy, band)
        + dice
    )


def mask_iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """IoU (NxM) of thresholded logits (NxMxHxW) with a soft target (NxHxW)."""
    predicted, true = logits > 0, target[:, None] >= 0.5
    union = (predicted | true).sum((-2, -1)).float()
    return (predicted & true).sum((-2, -1)).float() / union.clamp(min=1)
