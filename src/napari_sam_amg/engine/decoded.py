"""What the model says to point prompts."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Decoded:
    """What the model says to n prompts, and K masks that pass the floor.

    Attributes
    ----------
    logits : Tensor, float32, Kxhxw
        Low-resolution mask logits, by prompt, then by mask.
    prompt, mask : Tensor, int64, K
        Whose they are: row and column of `predicted_iou`. On the CPU.
    predicted_iou : Tensor, float32, nxM
        On the CPU; M is 3 or 1. Of a mask without logits it need not be the final one, but is
        not above the floor either.
    """

    logits: torch.Tensor
    prompt: torch.Tensor
    mask: torch.Tensor
    predicted_iou: torch.Tensor


def replaced(one: Decoded, other: Decoded, which: torch.Tensor) -> Decoded:
    """Take the answers to some prompts (bool, n) from another way of asking the same ones."""
    parts = (one, ~which), (other, which)
    kept = [(decoded, theirs[decoded.prompt]) for decoded, theirs in parts]
    prompt = torch.cat([decoded.prompt[mine] for decoded, mine in kept])
    order = prompt.argsort(stable=True)
    logits = torch.cat([decoded.logits[mine] for decoded, mine in kept])
    mask = torch.cat([decoded.mask[mine] for decoded, mine in kept])
    scores = torch.where(which[:, None], other.predicted_iou, one.predicted_iou)
    return Decoded(logits[order], prompt[order], mask[order], scores)


def joined(groups: list[Decoded]) -> Decoded:
    """Put groups together; the prompts of each count from its first."""
    before = itertools.accumulate((len(g.predicted_iou) for g in groups), initial=0)
    return Decoded(
        torch.cat([g.logits for g in groups]),
        torch.cat([g.prompt + start for g, start in zip(groups, before, strict=False)]),
        torch.cat([g.mask for g in groups]),
        torch.cat([g.predicted_iou for g in groups]),
    )


def filled(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Fill a group up to a size with its last row."""
    if len(rows) == size:
        return rows
    return rows[torch.arange(size, device=rows.device).clamp(max=len(rows) - 1)]
