"""Masks as spans, stretches of pixels in a row: arithmetic on many masks at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.masks.arrangement import Arrangement
from napari_sam_amg.masks.ragged import Indices, offsets, portions, ranges, sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_sam_amg.masks.store import MaskStore

_SPANS_AT_ONCE = 1 << 20
_PIXELS_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class Spans:
    """The pixels of N masks as K stretches of neighbours in a row of the image.

    Attributes
    ----------
    size : int
        Pixels of the image.
    start, stop : ndarray, int64, K
        First pixel of each span and the one past its last, counted over the image row by
        row. Sorted within a mask; a span ends with its row.
    offsets : ndarray, int64, N + 1
        The spans of mask i are ``offsets[i]`` to ``offsets[i + 1] - 1``.
    cut : Arrangement, optional
        The image cut at the ends of these spans at least; see `prepared`.
    """

    size: int
    start: Indices
    stop: Indices
    offsets: Indices
    cut: Arrangement | None = None

    @classmethod
    def of(cls, store: MaskStore) -> Spans:
        """Find the spans of the masks of a store."""
        # A column of False after each row of a window ends the spans there.
        across = store.windows[:, 2] + 1
        bounds = offsets(across * store.windows[:, 3])
        starts, stops = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
        counts = [np.empty(0, dtype=np.int64)]
        for first, last in portions(bounds, _PIXELS_AT_ONCE):
            at = bounds[first : last + 1] - bounds[first]
            pixels = np.zeros(int(at[-1]) + 1, dtype=np.bool_)
            places = (at + 1).tolist()
            for index in range(first, last):
                begin, end = places[index - first : index - first + 2]
                window = store.window(index)
                pixels[begin:end].reshape(len(window), -1)[:, :-1] = window
            edges = np.flatnonzero(pixels[1:] != pixels[:-1])
            begin, end = edges[0::2], edges[1::2]
            counts.append(np.diff(np.searchsorted(begin, at)))
            mask = np.repeat(np.arange(first, last), counts[-1])
            rows, columns = np.divmod(begin - at[mask - first], across[mask])
            left, top = store.windows[mask, 0], store.windows[mask, 1]
            starts.append((rows + top) * store.shape[1] + columns + left)
            stops.append(starts[-1] + end - begin)
        return cls(
            store.shape[0] * store.shape[1],
            np.concatenate(starts),
            np.concatenate(stops),
            offsets(np.concatenate(counts)),
        )

    @classmethod
    def concatenate(cls, several: Sequence[Spans]) -> Spans:
        """Return the spans of the masks of several stores of one image, in order."""
        return cls(
            several[0].size,
            np.concatenate([spans.start for spans in several]),
            np.concatenate([spans.stop for spans in several]),
            offsets(np.concatenate([np.diff(spans.offsets) for spans in several])),
        )

    def take(self, masks: Indices) -> Spans:
        """Return the spans of some masks (int64, 0 to N - 1), in that order."""
        chosen, bounds = self.of_masks(masks)
        cut = None if self.cut is None else self.cut.take(chosen)
        return Spans(self.size, self.start[chosen], self.stop[chosen], bounds, cut)

    def prepared(self) -> Spans:
        """Return the same with the image cut at their ends, which `take` hands on.

        So what is drawn of ever other parts of many masks needs no sorting. Not of more spans
        than are worked off at once.
        """
        if self.cut is not None or not 0 < len(self.start) <= _SPANS_AT_ONCE:
            return self
        return replace(self, cut=Arrangement.of(self.start, self.stop))

    def of_masks(self, masks: Indices) -> tuple[Indices, Indices]:
        """Return which spans some masks have, one mask after the other, and their offsets."""
        first = self.offsets[masks]
        return ranges(first, self.offsets[masks + 1] - first)

    @cached_property
    def lengths(self) -> Indices:
        """Pixels of each span, int64 K."""
        return self.stop - self.start

    @cached_property
    def passed(self) -> Indices:
        """Pixels of all spans before each, and of all, int64 K + 1."""
        return offsets(self.lengths)

    @cached_property
    def _keys(self) -> Indices:
        """Where each span starts if the masks' images are laid end to end, int64 K."""
        counts = np.diff(self.offsets)
        return np.repeat(np.arange(len(counts)), counts) * (self.size + 1) + self.start

    def common(self, one: Indices, other: Indices) -> Indices:
        """Count the pixels that two masks share, for P pairs.

        Parameters
        ----------
        one, other : ndarray, int64, P
            Masks, 0 to N - 1. Time and memory go with the spans of `one`.

        Returns
        -------
        ndarray, int64, P
        """
        chosen, bounds = self.of_masks(one)
        image = np.repeat(other * (self.size + 1), np.diff(bounds))
        pixels = self._before(image + self.stop[chosen])
        pixels -= self._before(image + self.start[chosen])
        return sums(pixels, bounds)

    def _before(self, keys: Indices) -> Indices:
        """Count the pixels before places in the masks' images laid end to end."""
        index = np.searchsorted(self._keys, keys, side="right") - 1
        within = np.minimum(keys - self._keys[index], self.lengths[index])
        return np.where(index < 0, 0, self.passed[index] + within)

    def arrangements(self) -> Iterator[tuple[slice | Indices, Arrangement]]:
        """Yield the image cut at their ends, and which spans they are.

        In parts that have no pixel in common, so that little memory is needed; spans of a
        part that is no slice are sorted.
        """
        if not len(self.start):
            return
        if len(self.start) <= _SPANS_AT_ONCE:
            if self.cut is not None:
                yield slice(None), self.cut.simplified()
            else:
                yield slice(None), Arrangement.of(self.start, self.stop)
            return
        order = np.argsort(self.start, kind="stable")
        ended = np.maximum.accumulate(self.stop[order])[:-1]
        # A part may end wherever no span goes on, so at the latest with a row.
        apart = np.flatnonzero(self.start[order][1:] >= ended) + 1
        cuts = np.concatenate([[0], apart, [len(order)]])
        for first, last in portions(cuts, _SPANS_AT_ONCE):
            part = order[cuts[first] : cuts[last]]
            yield part, Arrangement.of(self.start[part], self.stop[part])
