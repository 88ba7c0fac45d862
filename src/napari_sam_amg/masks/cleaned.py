"""Candidates without their small regions, cleaned once and kept for the next selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.regions import clean
from napari_sam_amg.masks.store import MaskStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.masks.window import Window

Rows = npt.NDArray[np.int64]


class CleanedMasks:
    """The masks of a store, each cleaned when it is first asked for.

    Parameters
    ----------
    store : MaskStore
        N masks.
    min_area : int
        Regions of fewer pixels are removed; see `clean`.
    """

    def __init__(self, store: MaskStore, min_area: int) -> None:
        self.min_area = min_area
        self._original = store
        empty = MaskStore.from_windows(store.shape, [])
        self._known = (empty, np.full(len(store), -1, dtype=np.int64))
        self._changed = np.zeros(len(store), dtype=np.bool_)

    def take(self, rows: Rows) -> tuple[MaskStore, npt.NDArray[np.bool_]]:
        """Return some masks cleaned, and which of them cleaning changed.

        Parameters
        ----------
        rows : ndarray, int64, M
            0 to N - 1; no row twice.
        """
        store, place = self._known  # replaced as a whole: another thread may do the same
        new = rows[place[rows] < 0]
        if len(new):
            place = place.copy()
            place[new] = len(store) + np.arange(len(new))
            added = MaskStore.from_windows(store.shape, self._cleaned(new))
            if len(store):
                _ = store.spans, added.spans  # so that they are handed on
                added = MaskStore.concatenate([store, added])
            self._known = store, place = added, place
        return store.take(place[rows]), self._changed[rows]

    def _cleaned(self, rows: Rows) -> Iterator[tuple[int, int, Window]]:
        for row in rows.tolist():
            left, top = self._original.windows[row, :2].tolist()
            left, top, window, self._changed[row] = clean(
                self._original.window(row),
                left=left,
                top=top,
                shape=self._original.shape,
                min_area=self.min_area,
            )
            yield left, top, window
