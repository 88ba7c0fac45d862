"""The same as `cells` on a CPU, in numpy, where it only looks at cells that a mask can reach.

There torch takes seven times as long as numpy to compare floats or to find what is not zero, and
most masks reach a few cells in a hundred.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.cells import FAR, Line, margin

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from napari_sam_amg.engine.upsampling import Upsampler

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

# Temporaries of a few MB stay in the caches, and glibc does not return them to the system.
_LOGITS_AT_ONCE, _PIXELS_AT_ONCE = 1 << 19, 1 << 18


class CellsOnCpu:
    """Measures masks that an upsampler would enlarge.

    Parameters
    ----------
    upsampler : Upsampler
        Whose sizes and arithmetic count.
    """

    def __init__(self, upsampler: Upsampler) -> None:
        height, width = upsampler.size_in
        self._size = height, width
        self._masks = max(1, _LOGITS_AT_ONCE // (height * width))
        y = Line.of(upsampler.here[0], height, upsampler.size_kept[0])
        x = Line.of(upsampler.here[1], width, upsampler.size_kept[1])
        rows = np.arange(self._masks * height)
        # Of each row of all masks at once: where the one below begins, which mask it is, ...
        self._below = np.where(rows % height < height - 1, width, 0)
        self._mask = rows // height
        self._y, self._x = _Tables(y, rows % height), _Tables(x, np.arange(width))
        self._right = (np.arange(width) < width - 1).astype(np.int64)
        self._all_there = bool(y.count.all()) and bool(x.count.all())
        self._cells = max(1, _PIXELS_AT_ONCE // (self._y.low.shape[1] * self._x.low.shape[1]))

    def measure(self, logits: torch.Tensor, cutoffs: Sequence[float]) -> tuple[Indices, Indices]:
        """Count the pixels above cutoffs, and bound those above the middle one.

        Parameters
        ----------
        logits : Tensor, float32, Kxhxw
        cutoffs : three floats
            Not falling.

        Returns
        -------
        areas : ndarray, int64, Kx3
        boxes : ndarray, int64, Kx4
            As `Cells.measure` does.
        """
        values = logits.contiguous().numpy()
        areas = np.zeros((len(values), 3), dtype=np.int64)
        boxes = np.tile(np.array([FAR, FAR, -1, -1]), (len(values), 1))
        for start in range(0, len(values), self._masks):
            part = slice(start, start + self._masks)
            self._part(values[part].reshape(-1), cutoffs, areas[part], boxes[part])
        return areas, boxes

    def _part(
        self, logits: Floats, cutoffs: Sequence[float], areas: Indices, boxes: Indices
    ) -> None:
        """Fill in the figures of some masks, whose logits lie end to end."""
        low, _, high = cutoffs
        found = np.flatnonzero(self._reached(logits, np.float32(low - margin(low))))
        row, column = np.divmod(found, self._size[1])
        if not self._all_there:
            there = (self._y.count[row] > 0) & (self._x.count[column] > 0)
            found, row, column = found[there], row[there], column[there]
        right, below = found + self._right[column], self._below[row]
        corners = np.stack([logits[i] for i in (found, right, found + below, right + below)])
        inside = corners.min(axis=0) > np.float32(high + margin(high))
        self._add_whole(row[inside], column[inside], areas, boxes)
        left = np.flatnonzero(~inside)
        row, column, corners = row[left], column[left], corners[:, left]
        for start in range(0, len(row), self._cells):
            part = slice(start, start + self._cells)
            pixels = self._interpolated(corners[:, part], row[part], column[part])
            self._add(pixels, row[part], column[part], cutoffs, areas, boxes)

    def _reached(self, logits: Floats, least: np.float32) -> npt.NDArray[np.bool_]:
        """Tell which cells have a corner above a value.

        At the end of a row and of a mask, the next one's beginning is taken for a corner
        too: a cell too many is computed, and found to have no pixel, or all that it has.
        """
        width = self._size[1]
        above = np.greater(logits, least).view(np.uint8)
        rows = above.copy()
        np.bitwise_or(above[:-width], above[width:], out=rows[:-width])
        cells = rows.copy()
        np.bitwise_or(rows[:-1], rows[1:], out=cells[:-1])
        return cells.view(np.bool_)

    def _interpolated(self, corners: Floats, row: Indices, column: Indices) -> Floats:
        """Compute the pixels of U cells, Uxfxf; NaN for those that a cell lacks."""
        a, b, c, d = corners[:, :, None]
        low, high = self._x.low[column], self._x.high[column]
        upper, lower = _blend(a, b, low, high), _blend(c, d, low, high)
        low, high = self._y.low[row][:, :, None], self._y.high[row][:, :, None]
        return _blend(upper[:, None], lower[:, None], low, high)

    def _add_whole(self, row: Indices, column: Indices, areas: Indices, boxes: Indices) -> None:
        """Add cells all of whose pixels are above all cutoffs."""
        if not len(row):
            return
        mask = self._mask[row]
        pixels = self._y.count[row] * self._x.count[column]
        # Whole numbers below 2**53 are exact in float64.
        areas += np.bincount(mask, pixels, len(areas)).astype(np.int64)[:, None]
        masks, starts = _segments(mask)
        for axis, table, cell in ((1, self._y, row), (0, self._x, column)):
            first = np.minimum.reduceat(table.first[cell], starts)
            last = np.maximum.reduceat(table.last[cell], starts)
            boxes[masks, axis] = np.minimum(boxes[masks, axis], first)
            boxes[masks, axis + 2] = np.maximum(boxes[masks, axis + 2], last)

    def _add(
        self,
        pixels: Floats,
        row: Indices,
        column: Indices,
        cutoffs: Sequence[float],
        areas: Indices,
        boxes: Indices,
    ) -> None:
        """Add the pixels of some cells."""
        masks, starts = _segments(self._mask[row])
        stops = [*starts[1:].tolist(), len(row)]
        above = [pixels > np.float32(cutoff) for cutoff in cutoffs]
        for mask, start, end in zip(masks.tolist(), starts.tolist(), stops, strict=True):
            areas[mask] += [np.count_nonzero(level[start:end]) for level in above]
        for axis, table, cell in ((1, self._y, row), (0, self._x, column)):
            begin, end = _extents(above[1], 1 + axis)
            # A cell without a hit ends before any image, and begins far beyond it.
            first = np.minimum.reduceat(table.first[cell] + begin, starts)
            last = np.maximum.reduceat(table.first[cell] + end, starts)
            boxes[masks, axis] = np.minimum(boxes[masks, axis], first)
            boxes[masks, axis + 2] = np.maximum(boxes[masks, axis + 2], last)


class _Tables:
    """A line's figures by row or column; see `Line`."""

    def __init__(self, line: Line, cells: Indices) -> None:
        self.count: Indices = line.count.numpy()[cells]
        self.first: Indices = line.first.numpy()[cells]
        self.last = self.first + self.count - 1
        # Products of float32 are exact in float64: see `Upsampler.blend`.
        self.low = line.low.double().numpy()[cells]
        self.high: Floats = line.high.numpy()[cells]


def _blend(one: Floats, other: Floats, low: npt.NDArray[np.float64], high: Floats) -> Floats:
    """Return the weighted sum of two numbers, rounded as `Upsampler.blend` does."""
    total = one * low
    total += other * high
    return total.astype(np.float32)


def _segments(mask: Indices) -> tuple[Indices, Indices]:
    """Return the masks that there are, and where each begins; `mask` never falls."""
    starts = np.flatnonzero(np.diff(mask, prepend=-1))
    return mask[starts], starts


def _extents(hits: npt.NDArray[np.bool_], across: int) -> tuple[Indices, Indices]:
    """Return the first and the last hit of U cells (Uxfxf) along one axis, not along `across`.

    Line by line of a cell, of which there are few: numpy reduces short axes slowly.
    """
    lines = hits.transpose(3 - across, across, 0)
    begin = np.full(hits.shape[0], FAR, dtype=np.int64)
    end = np.full(hits.shape[0], -FAR, dtype=np.int64)
    for place, line in enumerate(lines):
        hit = np.bitwise_or.reduce(line, axis=0)
        end[hit] = place
        begin[hit & (begin == FAR)] = place
    return begin, end
