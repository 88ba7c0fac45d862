"""The image cut wherever a mask begins or ends along a row: painting and counting by pieces.

All pixels of such a piece lie in the same masks, and pieces are far fewer than pixels: an
object of diameter d has about 2 d ends of spans, but d**2 pixels. (In computational
geometry, the arrangement of a set of intervals.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import Indices, offsets, portions, ranges

_PIECES_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Arrangement:
    """K spans of an image as unions of P pieces.

    Attributes
    ----------
    edges : ndarray, int64, P + 1
        Where pieces begin and the last one ends, in pixels counted over the image row by
        row; rising, so that no piece is empty.
    first, last : ndarray, int64, K
        Each span is the pieces ``first`` to ``last - 1``.
    """

    edges: Indices
    first: Indices
    last: Indices

    @classmethod
    def of(cls, start: Indices, stop: Indices) -> Arrangement:
        """Cut the image at the ends of spans (int64, K, at least one)."""
        ends = np.concatenate([start, stop])
        order = np.argsort(ends)
        risen = ends[order]
        new = np.empty(len(ends), dtype=np.bool_)
        new[0], new[1:] = True, risen[1:] != risen[:-1]
        place = np.empty(len(ends), dtype=np.int64)
        place[order] = np.cumsum(new) - 1
        first, last = place.reshape(2, -1)
        return cls(risen[new], first, last)

    def take(self, chosen: Indices) -> Arrangement:
        """Return some of the spans, in that order, still cut at the ends of all."""
        return Arrangement(self.edges, self.first[chosen], self.last[chosen])

    def simplified(self) -> Arrangement:
        """Cut only where one of the spans begins or ends; in less time than `of` takes."""
        needed = np.zeros(len(self.edges), dtype=np.bool_)
        needed[self.first] = needed[self.last] = True
        place = np.cumsum(needed) - 1
        return Arrangement(self.edges[needed], place[self.first], place[self.last])

    @property
    def lengths(self) -> Indices:
        """Pixels of each piece, int64 P."""
        return np.diff(self.edges)

    @property
    def shared(self) -> npt.NDArray[np.bool_]:
        """Whether several of the spans cover a piece, bool P."""
        count = len(self.edges)
        begun = np.bincount(self.first, minlength=count)
        ended = np.bincount(self.last, minlength=count)
        covered: npt.NDArray[np.bool_] = np.cumsum(begun - ended)[:-1] > 1
        return covered

    def counted(self, pieces: npt.NDArray[np.bool_]) -> Indices:
        """Return how many pixels of each span lie in some of the pieces (bool P), int64 K."""
        passed = offsets(np.where(pieces, self.lengths, 0))
        return passed[self.last] - passed[self.first]

    def painted(self, order: Indices, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give each piece the label of the last span that covers it.

        Parameters
        ----------
        order : ndarray, int64, K
            The spans from bottom to top.
        labels : ndarray, K
            Their labels, in that order.

        Returns
        -------
        ndarray, P
            0 where no span is.
        """
        painted = np.zeros(len(self.edges) - 1, dtype=labels.dtype)
        first, counts = self.first[order], (self.last - self.first)[order]
        for begin, end in portions(offsets(counts), _PIECES_AT_ONCE):
            # Of several values for a piece NumPy leaves the last.
            pieces, _ = ranges(first[begin:end], counts[begin:end])
            painted[pieces] = np.repeat(labels[begin:end], counts[begin:end])
        return painted
