"""Bilinear upsampling of mask logits, one mask and one window at a time.

sam2 upsamples every low-resolution mask to the full image before it looks at any of them.
Here only the window in which a mask can have pixels is computed. The arithmetic is that of
ATen's bilinear kernel with ``align_corners=False`` (source index ``(i + 0.5) * scale - 0.5``
in float32, clamped at 0; then two fused multiply-adds, along x and then along y), so on a
CPU the window equals the same part of `torch.nn.functional.interpolate` bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class _Axis:
    """Where each output position of one axis reads its input."""

    low: torch.Tensor
    high: torch.Tensor
    weight_low: torch.Tensor
    weight_high: torch.Tensor

    @classmethod
    def between(cls, size_in: int, size_out: int, device: torch.device) -> _Axis:
        scale = torch.tensor(size_in, dtype=torch.float32) / size_out
        position = (scale * (torch.arange(size_out, dtype=torch.float32) + 0.5) - 0.5).clamp(min=0)
        low = position.long().clamp(max=size_in - 1)
        weight = (position - low).clamp(0, 1)
        parts = (low, (low + 1).clamp(max=size_in - 1), 1 - weight, weight)
        return cls(*(part.to(device) for part in parts))

    def reach(self, first: int, last: int) -> tuple[int, int]:
        """Output range (half open) that reads any input from `first` to `last`."""
        start = int(torch.searchsorted(self.high, first))
        stop = int(torch.searchsorted(self.low, last, right=True))
        return start, stop

    def part(self, start: int, stop: int) -> _Axis:
        return _Axis(
            self.low[start:stop],
            self.high[start:stop],
            self.weight_low[start:stop],
            self.weight_high[start:stop],
        )


class Upsampler:
    """Upsamples logits of one size to one output size.

    Parameters
    ----------
    size_in : tuple of int
        Height and width of the low-resolution logits.
    size_out : tuple of int
        Height and width that the logits stand for, in pixels: of the crop, or of the
        square that it was padded to.
    size_kept : tuple of int
        Height and width of the part to keep, from the top left: of the crop.
    device : torch.device
        Where the logits are.
    """

    # Above this share of the frame the window saves nothing over ATen's own kernel.
    _WHOLE = 0.3

    def __init__(
        self,
        size_in: tuple[int, int],
        size_out: tuple[int, int],
        *,
        size_kept: tuple[int, int],
        device: torch.device,
    ) -> None:
        self._size_out = size_out
        self._size_kept = size_kept
        self._enlarges = size_out[0] >= size_in[0] and size_out[1] >= size_in[1]
        self._y = _Axis.between(size_in[0], size_out[0], device)
        self._x = _Axis.between(size_in[1], size_out[1], device)
        # In float64 the product of two float32 is exact: one rounding, as in a fused
        # multiply-add. Accelerators may lack float64; there the kernel differs anyway.
        self._wide = torch.float64 if device.type == "cpu" else torch.float32

    def window(self, logits: torch.Tensor, floor: float) -> tuple[int, int, torch.Tensor] | None:
        """Upsample the part of a mask that can exceed `floor`.

        Parameters
        ----------
        logits : Tensor, float32, hxw
            Low-resolution logits of one mask.
        floor : float
            Every pixel outside the window is at most this.

        Returns
        -------
        x0, y0, window : int, int, Tensor (float32)
            Left and top of the window in the kept part and its logits; None if no pixel
            exceeds `floor`. An output pixel is a convex combination of four inputs, so
            it cannot exceed `floor` where none of the four does.
        """
        above = logits > floor
        rows, columns = above.any(1).nonzero()[:, 0], above.any(0).nonzero()[:, 0]
        if len(rows) == 0:
            return None
        top, bottom = self._y.reach(int(rows[0]), int(rows[-1]))
        left, right = self._x.reach(int(columns[0]), int(columns[-1]))
        bottom, right = min(bottom, self._size_kept[0]), min(right, self._size_kept[1])
        if top >= bottom or left >= right:
            return None
        share = (bottom - top) * (right - left) / (self._size_out[0] * self._size_out[1])
        if share > self._WHOLE or not self._enlarges:
            full = F.interpolate(
                logits[None, None], self._size_out, mode="bilinear", align_corners=False
            )[0, 0]
            return left, top, full[top:bottom, left:right]
        return left, top, self._interpolate(logits, top, bottom, left, right)

    def _interpolate(
        self, logits: torch.Tensor, top: int, bottom: int, left: int, right: int
    ) -> torch.Tensor:
        y, x = self._y.part(top, bottom), self._x.part(left, right)
        first, last = int(y.low[0]), int(y.high[-1])
        rows = logits[first : last + 1]
        along_x = self._blend(rows[:, x.low], rows[:, x.high], x.weight_low, x.weight_high)
        return self._blend(
            along_x[y.low - first],
            along_x[y.high - first],
            y.weight_low[:, None],
            y.weight_high[:, None],
        )

    def _blend(
        self,
        low: torch.Tensor,
        high: torch.Tensor,
        weight_low: torch.Tensor,
        weight_high: torch.Tensor,
    ) -> torch.Tensor:
        product = (high * weight_high).to(self._wide)
        return (low.to(self._wide) * weight_low + product).to(torch.float32)
