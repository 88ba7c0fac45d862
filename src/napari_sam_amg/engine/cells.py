"""Areas and boxes of upsampled masks from their low-resolution logits, many masks at once.

An output pixel is a convex combination of the four logits of one cell, whose corners are logits
(i, j) to (i + 1, j + 1). Where all four lie on one side of a cutoff, so do all pixels of the cell:
they are counted without being computed. Only in the other cells are pixels interpolated, by the
arithmetic of `Upsampler`, so that on a CPU every count and every box is that of the mask that
`torch.nn.functional.interpolate` would give.

Weights add up to 1 but for rounding. Rounded products and sums of numbers that are not negative
never fall when a number grows, so a pixel's value is at least that of a cell whose corners are all
the least of them: (1 - 4 * 2**-24) times it, and likewise at most. Corners within `_MARGIN` of a
cutoff decide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from napari_sam_amg.engine.arriving import sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.engine.upsampling import Axis, Upsampler

_MARGIN, _LEAST = 2e-6, 1e-30
"""How near to a cutoff, relative to it and at least, a logit counts as neither above nor below."""

FAR = 1 << 40
"""Beyond the last pixel of any image's side."""

# Temporaries of a few MB stay in the caches, and glibc does not return them to the system.
_LOGITS_AT_ONCE, _PIXELS_AT_ONCE = 1 << 19, 1 << 19


@dataclass(frozen=True)
class Line:
    """The cells along one axis: how many outputs each has, the first one, and their weights.

    ``low`` and ``high`` have a row for each cell; outputs that a cell lacks have NaN.
    """

    count: torch.Tensor
    first: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    @classmethod
    def of(cls, axis: Axis, size_in: int, kept: int) -> Line:
        """Find the cells of an axis on the CPU, of which the first `kept` outputs count."""
        cell = axis.low[:kept]
        count = torch.bincount(cell, minlength=size_in)
        first = torch.searchsorted(cell, torch.arange(size_in))
        place = torch.arange(kept) - first[cell]
        low, high = torch.full((2, size_in, int(count.max())), torch.nan).unbind()
        low[cell, place] = axis.weight_low[:kept]
        high[cell, place] = axis.weight_high[:kept]
        return cls(count, first, low, high)

    def beside(self, device: torch.device) -> Line:
        """Return the same on another device."""
        parts = (self.count, self.first, self.low, self.high)
        return Line(*(sent(part, device) for part in parts))


class Cells:
    """Measures masks that an upsampler would enlarge.

    Parameters
    ----------
    upsampler : Upsampler
        Whose sizes and arithmetic count.
    """

    def __init__(self, upsampler: Upsampler) -> None:
        self._upsampler = upsampler
        self._size_in = upsampler.size_in
        height, width = upsampler.size_kept
        self._device = upsampler.device
        y = Line.of(upsampler.here[0], self._size_in[0], height)
        x = Line.of(upsampler.here[1], self._size_in[1], width)
        self._y, self._x = y.beside(self._device), x.beside(self._device)
        each = y.low.shape[1] * x.low.shape[1]
        self._cells_at_once = max(1, _PIXELS_AT_ONCE // each)
        self._on_cpu = self._device.type == "cpu"
        # Sums of whole numbers are exact up to the precision of the type; MPS has no float64.
        exact = height * width < 1 << 24
        self._float = torch.float32 if exact or self._device.type == "mps" else torch.float64
        # A cell has no pixel where the output is smaller than the input, or is not kept.
        there = (y.count > 0)[:, None] & (x.count > 0)
        self._there = None if bool(there.all()) else sent(there, self._device)

    def measure(
        self, logits: torch.Tensor, cutoffs: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Count the pixels above cutoffs, and bound those above the middle one.

        Parameters
        ----------
        logits : Tensor, float32, Kxhxw
        cutoffs : three floats
            Not falling.

        Returns
        -------
        areas : Tensor, int64, Kx3
        boxes : Tensor, int64, Kx4
            First column and row, last column and row; of a mask without a pixel, the last is
            before the first.
        """
        if not len(logits):
            empty = torch.zeros(0, 4, dtype=torch.int64, device=logits.device)
            return empty[:, :3], empty
        if self._upsampler.small:
            return self._whole(logits, cutoffs)
        # Accelerators wait once for the number of cells: all masks go at once.
        size = logits[0].numel()
        step = max(1, _LOGITS_AT_ONCE // size) if self._on_cpu else len(logits)
        parts = [self._part(part, cutoffs) for part in torch.split(logits, step)]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _whole(
        self, logits: torch.Tensor, cutoffs: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Measure small masks pixel by pixel."""
        height, width = self._upsampler.size_kept
        full = self._upsampler.whole(logits)[:, :height, :width]
        areas = torch.stack([(full > cutoff).sum((1, 2)) for cutoff in cutoffs], dim=1)
        ends: list[torch.Tensor] = []
        for hit in ((full > cutoffs[1]).any(1), (full > cutoffs[1]).any(2)):
            place = torch.arange(hit.shape[1])
            ends += [torch.where(hit, place, FAR).amin(1), torch.where(hit, place, -1).amax(1)]
        return areas, torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)

    def _part(
        self, logits: torch.Tensor, cutoffs: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        groups = _apart(cutoffs)
        areas = torch.zeros(len(logits), 3, dtype=torch.int64, device=self._device)
        bounds = self._no_bounds(len(logits))
        for group in groups:
            values = [cutoffs[index] for index in group]
            middle = group.index(1) if 1 in group else None
            decided, undecided = self._sorted_out(logits, values)
            for level, index in enumerate(group):
                above = decided > 2 * level + 1
                areas[:, index] = self._pixels(above)
                if level == middle:
                    bounds = self._bounds(above, bounds)
            found = torch.nonzero(undecided)  # the one moment that waits for an accelerator
            step = self._cells_at_once if self._on_cpu else max(1, len(found))
            for some in torch.split(found, step):
                hits = self._interpolated(logits, some)
                for level, index in enumerate(group):
                    above = hits > values[level]
                    areas[:, index].index_add_(0, some[:, 0], above.sum((1, 2)))
                    if level == middle:
                        self._widen(bounds, above, some)
        return areas, torch.stack([bounds[1], bounds[0], bounds[3], bounds[2]], dim=1)

    def _sorted_out(
        self, logits: torch.Tensor, cutoffs: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return how many margins' ends each decided cell exceeds (else 0), and the undecided."""
        masks, height, width = logits.shape
        above = logits.new_zeros((masks, height + 1, width + 1), dtype=torch.uint8)
        inner = above[:, :-1, :-1]
        for cutoff in cutoffs:
            inner += logits > cutoff - margin(cutoff)
            inner += logits > cutoff + margin(cutoff)
        above[:, -1] = above[:, -2]  # the last cell has its corners twice
        above[:, :, -1] = above[:, :, -2]
        upper, lower = above[:, :-1], above[:, 1:]
        least, most = torch.minimum(upper, lower), torch.maximum(upper, lower)
        least = torch.minimum(least[..., :-1], least[..., 1:])
        most = torch.maximum(most[..., :-1], most[..., 1:])
        undecided = (least != most) | (most & 1).bool()
        if self._there is not None:
            undecided &= self._there
        return least.masked_fill_(undecided, 0), undecided

    def _pixels(self, cells: torch.Tensor) -> torch.Tensor:
        """Count the pixels of some cells (bool, Kxhxw)."""
        across = cells.to(self._float) @ self._x.count.to(self._float)
        return (across @ self._y.count.to(self._float)).long()

    def _no_bounds(self, masks: int) -> list[torch.Tensor]:
        """Return first row and column, last row and column of masks without pixels."""
        first = torch.full((masks,), FAR, dtype=torch.int64, device=self._device)
        return [first, first.clone(), -torch.ones_like(first), -torch.ones_like(first)]

    def _bounds(self, cells: torch.Tensor, none: list[torch.Tensor]) -> list[torch.Tensor]:
        """Bound the pixels of some cells (bool, Kxhxw)."""
        if self._there is not None:
            cells = cells & self._there
        first, last = [], []
        for line, any_cell in ((self._y, cells.any(2)), (self._x, cells.any(1))):
            end = line.first + line.count - 1
            first.append(torch.where(any_cell, line.first, none[0][:1]).amin(1))
            last.append(torch.where(any_cell, end, none[2][:1]).amax(1))
        return first + last

    def _interpolated(self, logits: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Compute the pixels of U cells (int64 Ux3: mask, row, column), Uxfxf; NaN for none."""
        mask, row, column = cells.unbind(1)
        below = (row + 1).clamp(max=self._size_in[0] - 1)
        right = (column + 1).clamp(max=self._size_in[1] - 1)
        low, high = self._x.low[column], self._x.high[column]
        upper, lower = (
            self._upsampler.blend(
                logits[mask, y, column, None], logits[mask, y, right, None], low, high
            )
            for y in (row, below)
        )
        low, high = self._y.low[row, :, None], self._y.high[row, :, None]
        return self._upsampler.blend(upper[:, None], lower[:, None], low, high)

    def _widen(self, bounds: list[torch.Tensor], above: torch.Tensor, cells: torch.Tensor) -> None:
        """Widen masks' bounds by pixels of some cells (bool, Uxfxf)."""
        for axis, line in enumerate((self._y, self._x)):
            hit = above.any(2 - axis)
            place = torch.arange(hit.shape[1], device=hit.device)
            here = line.first[cells[:, 1 + axis]]
            first = here + torch.where(hit, place, FAR).amin(1)
            last = torch.where(hit.any(1), here + torch.where(hit, place, -1).amax(1), -1)
            bounds[axis].scatter_reduce_(0, cells[:, 0], first, "amin")
            bounds[axis + 2].scatter_reduce_(0, cells[:, 0], last, "amax")


def margin(cutoff: float) -> float:
    """Return how near to a cutoff a corner decides nothing."""
    return _MARGIN * abs(cutoff) + _LEAST


def _apart(cutoffs: Sequence[float]) -> list[list[int]]:
    """Group cutoffs, so that the margins of those in a group do not meet."""
    near = 4 * max(margin(cutoff) for cutoff in cutoffs)
    if all(b - a > near for a, b in pairwise(cutoffs)):
        return [list(range(len(cutoffs)))]
    return [[index] for index in range(len(cutoffs))]
