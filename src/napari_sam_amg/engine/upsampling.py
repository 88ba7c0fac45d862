"""Bilinear upsampling of mask logits, one mask and one window at a time.

sam2 upsamples every low-resolution mask to the full image before it looks at any of them.
Here only a window is computed, where `Cells` found a mask to be. The arithmetic is that of
ATen's bilinear kernel with ``align_corners=False`` (source index ``(i + 0.5) * scale - 0.5``
in float32, clamped at 0; then two fused multiply-adds, along x and then along y), so on a
CPU the window equals the same part of `torch.nn.functional.interpolate` bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from napari_sam_amg.engine.arriving import sent

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Axis:
    """Where each output position of one axis reads its input."""

    low: torch.Tensor
    high: torch.Tensor
    weight_low: torch.Tensor
    weight_high: torch.Tensor

    @classmethod
    def between(cls, size_in: int, size_out: int) -> Axis:
        """Return the axis that enlarges `size_in` numbers to `size_out`."""
        scale = torch.tensor(size_in, dtype=torch.float32) / size_out
        position = (scale * (torch.arange(size_out, dtype=torch.float32) + 0.5) - 0.5).clamp(min=0)
        low = position.long().clamp(max=size_in - 1)
        weight = (position - low).clamp(0, 1)
        return cls(low, (low + 1).clamp(max=size_in - 1), 1 - weight, weight)

    def beside(self, device: torch.device) -> Axis:
        """Return the same on another device."""
        parts = (self.low, self.high, self.weight_low, self.weight_high)
        return Axis(*(sent(part, device) for part in parts))

    def part(self, start: int, stop: int) -> Axis:
        """Return some outputs, `start` to `stop - 1`."""
        return Axis(
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

    Attributes
    ----------
    size_in, size_kept, device
        As given.
    small : bool
        Whether only `whole` computes what ATen does.
    y, x : Axis
        The outputs of both axes, beside the logits.
    here : tuple of Axis
        Both on the CPU: nobody has to wait for an accelerator.
    """

    # Above this share of the frame ATen's own kernel, which gives the same, is faster.
    _WHOLE = 0.3

    # Outputs of at most so many rows and columns together ATen computes by another kernel,
    # which rounds otherwise.
    _SMALL = 128

    def __init__(
        self,
        size_in: tuple[int, int],
        size_out: tuple[int, int],
        *,
        size_kept: tuple[int, int],
        device: torch.device,
    ) -> None:
        self.size_in = size_in
        self.size_kept = size_kept
        self._size_out = size_out
        self.device = device
        self._on_cpu = device.type == "cpu"
        self.small = self._on_cpu and sum(size_out) <= self._SMALL
        self.here = Axis.between(size_in[0], size_out[0]), Axis.between(size_in[1], size_out[1])
        self.y, self.x = (axis.beside(device) for axis in self.here)
        self._ends = [_ends(axis) for axis in self.here]
        # In float64 the product of two float32 is exact: one rounding, as in a fused
        # multiply-add (two where one addend is 2**29 times the other). Accelerators may lack
        # float64; there the kernel differs anyway.
        self._wide = torch.float64 if self._on_cpu else torch.float32

    def source(self, window: Box) -> tuple[slice, slice]:
        """Return rows and columns of the logits from which a window's pixels come.

        Parameters
        ----------
        window : tuple of int
            Left, top, right and bottom in pixels, the last two exclusive.
        """
        left, top, right, bottom = window
        (row, rows), (column, columns) = self._ends
        return (
            slice(row[top], rows[bottom - 1] + 1),
            slice(column[left], columns[right - 1] + 1),
        )

    def window(self, logits: torch.Tensor, window: Box) -> torch.Tensor:
        """Upsample a part of a mask.

        Parameters
        ----------
        logits : Tensor, float32
            The part of one mask's low-resolution logits that `source` says.
        window : tuple of int
            As for `source`.

        Returns
        -------
        Tensor, float32, (bottom - top) x (right - left)
        """
        left, top, right, bottom = window
        share = (bottom - top) * (right - left) / (self._size_out[0] * self._size_out[1])
        if self.small or (self._on_cpu and share > self._WHOLE):
            whole = logits.new_zeros(self.size_in)
            whole[self.source(window)] = logits
            return self.whole(whole[None])[0, top:bottom, left:right]
        return self._interpolate(logits, top, bottom, left, right)

    def whole(self, logits: torch.Tensor) -> torch.Tensor:
        """Upsample whole masks (float32, Kxhxw) by ATen's own kernel, with what is not kept."""
        full = F.interpolate(logits[:, None], self._size_out, mode="bilinear", align_corners=False)
        return full[:, 0]

    def _interpolate(
        self, logits: torch.Tensor, top: int, bottom: int, left: int, right: int
    ) -> torch.Tensor:
        y, x = self.y.part(top, bottom), self.x.part(left, right)
        row, column = self._ends[0][0][top], self._ends[1][0][left]
        x_low, x_high = x.low - column, x.high - column
        along_x = self.blend(logits[:, x_low], logits[:, x_high], x.weight_low, x.weight_high)
        return self.blend(
            along_x[y.low - row],
            along_x[y.high - row],
            y.weight_low[:, None],
            y.weight_high[:, None],
        )

    def blend(
        self,
        low: torch.Tensor,
        high: torch.Tensor,
        weight_low: torch.Tensor,
        weight_high: torch.Tensor,
    ) -> torch.Tensor:
        """Return the weighted sum of two numbers, rounded as ATen does."""
        product = (high * weight_high).to(self._wide)
        return (low.to(self._wide) * weight_low + product).to(torch.float32)


def _ends(axis: Axis) -> tuple[list[int], list[int]]:
    """Return the first and the last input of each output, for the host."""
    return axis.low.tolist(), axis.high.tolist()
