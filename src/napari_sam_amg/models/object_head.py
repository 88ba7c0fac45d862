"""A small head that says where objects are, so that prompts need no grid.

It reads the finest level of the encoder's neck, before the mask decoder's own projection,
and gives two logits for each cell of 4x4 input pixels: how much of the cell objects cover,
and whether an object's centre lies there. Its tensors are optional: a checkpoint without
``object_head.`` has no such head, and a grid of points is used.
"""

from __future__ import annotations

import torch
from torch import nn

_WIDTH = 32


class ObjectHead(nn.Module):
    """Foreground and centre logits from the finest neck level.

    Parameters
    ----------
    d_model : int
        Channels of the neck.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(d_model, _WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(_WIDTH, 2, 1),
        )

    def forward(self, finest: torch.Tensor) -> torch.Tensor:
        """Return logits, Bx2xhxw (foreground, centre), of features Bxd_modelxhxw."""
        logits: torch.Tensor = self.layers(finest)
        return logits
