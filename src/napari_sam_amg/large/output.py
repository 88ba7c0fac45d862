"""Masks as they come, drawn, tabulated and kept, each as soon as nothing can change it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.large.candidates import Candidates, packed
from napari_sam_amg.large.pyramid import Pyramid
from napari_sam_amg.masks import MaskStore
from napari_sam_amg.masks.features import Columns, tabulate
from napari_sam_amg.masks.labels import Painting, paint

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam_amg.masks.ragged import Indices
    from napari_sam_amg.masks.window import Window
    from napari_sam_amg.parameters import OverlapRule

LABELS, MASKS, TABLE = "labels", "masks", "table.csv"
"""What a result is made of, in its folder."""


class Output:
    """Writes the label image, the table and the masks of one image.

    Parameters
    ----------
    folder : Path
        What it has of an earlier run is overwritten.
    shape : tuple of int
        Height and width of the image in pixels.
    overlap : OverlapRule
        Which mask a pixel is given to.
    chunk, pixel_size, unit
        As for `Pyramid`.

    Attributes
    ----------
    count : int
        Masks so far.
    """

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int],
        *,
        overlap: OverlapRule,
        chunk: int,
        pixel_size: tuple[float, float],
        unit: str | None,
    ) -> None:
        self._pyramid = Pyramid(
            folder / LABELS, shape, chunk=chunk, pixel_size=pixel_size, unit=unit
        )
        self._folder, self._shape, self._chunk, self._overlap = folder, shape, chunk, overlap
        self._painted = 0
        self.count = 0
        # Masks that a row not yet painted or a mask not yet tabulated may share pixels with.
        self._live = Candidates.none(shape)
        self._labels, self._visible, self._shared = np.zeros((3, 0), dtype=np.int64)
        self._rows: list[Columns] = []
        with write_file(folder / TABLE) as file:
            file.write(_csv(self._tabulated(np.empty(0, dtype=np.int64)), header=True))

    def add(self, masks: Candidates, settled: int) -> None:
        """Take the next masks.

        Parameters
        ----------
        masks : Candidates
            N, in the order of their numbers, which is by their first rows.
        settled : int
            Row above which no later mask has a pixel.
        """
        if len(masks):
            first = self.count + 1
            with write_file(self._folder / MASKS / f"{first:010d}.npz") as file:
                file.write(packed(masks, first_label=np.array(first)))
        _ = self._live.store.spans, masks.store.spans  # so that they are found only once
        self._live = Candidates.concatenate([self._live, masks])
        new = np.zeros(len(masks), dtype=np.int64)
        self._labels = np.concatenate([self._labels, self.count + 1 + np.arange(len(masks))])
        self._visible = np.concatenate([self._visible, new])
        self._shared = np.concatenate([self._shared, new])
        self.count += len(masks)
        before = self._painted
        while (end := min(self._painted + self._chunk, self._shape[0])) <= settled:
            if end == self._painted:
                break
            self._paint(self._painted, end)
            self._painted = end
        if self._painted > before:
            self._settle()

    def _paint(self, top: int, bottom: int) -> None:
        """Draw some rows of the image."""
        live = self._live
        near = np.flatnonzero((live.tops < bottom) & (live.bottoms >= top))
        rows, parts = [], []
        for row in near.tolist():
            part = _part(live.store, row, top, bottom)
            if part is not None:
                rows.append(row)
                parts.append(part)
        chosen = np.array(rows, dtype=np.int64)
        store = MaskStore.from_windows((bottom - top, self._shape[1]), parts)
        painting = paint(
            store, live.predicted_iou[chosen], self._overlap, areas=live.areas[chosen]
        )
        self._visible[chosen] += painting.visible
        self._shared[chosen] += painting.shared
        labels = np.concatenate([[0], self._labels[chosen]]).astype(np.uint32)
        self._pyramid.write(labels[painting.image])

    def _settle(self) -> None:
        """Tabulate the masks that are painted as a whole, and forget what is not needed."""
        live = self._live
        open_ = live.bottoms >= self._painted
        done = np.flatnonzero(~open_ & (self._visible >= 0))
        if len(done):
            self._rows.append(self._tabulated(done))
        # Masks yet to be tabulated begin below here; those that reach them may be parents.
        line = live.tops[open_].min(initial=self._painted)
        keep = np.flatnonzero(open_ | (live.bottoms >= line))
        self._visible[done] = -1  # once is enough
        self._live = live.take(keep)
        self._labels, self._visible, self._shared = (
            column[keep] for column in (self._labels, self._visible, self._shared)
        )
        waiting = self._visible >= 0
        self._flush(int(self._labels[waiting].min(initial=self.count + 1)))

    def _tabulated(self, rows: Indices) -> Columns:
        """Return the table's columns of some live masks."""
        nothing = np.empty((0, 0), dtype=np.uint32)
        painting = Painting(nothing, self._visible, self._shared)
        columns = tabulate(self._live.store, self._live.table, painting)
        labels = np.concatenate([[0], self._labels])
        columns["label"], columns["parent"] = self._labels, labels[columns["parent"]]
        return {name: column[rows] for name, column in columns.items()}

    def _flush(self, stop: int) -> None:
        """Write the rows of labels below `stop`, in their order."""
        if not self._rows:
            return
        columns = {name: np.concatenate([r[name] for r in self._rows]) for name in self._rows[0]}
        ready = columns["label"] < stop
        self._rows = [{name: column[~ready] for name, column in columns.items()}]
        if ready.any():
            order = np.argsort(columns["label"][ready])
            rows = {name: column[ready][order] for name, column in columns.items()}
            with open(self._folder / TABLE, "ab") as file:
                file.write(_csv(rows, header=False))


def _part(store: MaskStore, index: int, top: int, bottom: int) -> tuple[int, int, Window] | None:
    """Return what a mask has in some rows: left, first row counted from `top`, pixels."""
    x, y, _, height = store.windows[index].tolist()
    first, last = max(top - y, 0), min(bottom - y, height)
    pixels = store.rows(index, first, last)
    return (x, y + first - top, pixels) if pixels.any() else None


def _csv(columns: Columns, *, header: bool) -> bytes:
    import pandas as pd

    text = pd.DataFrame(columns).to_csv(index=False, header=header, lineterminator="\n")
    return bytes(text.encode("utf-8"))
