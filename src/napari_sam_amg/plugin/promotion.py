"""Corrections by clicks: a candidate for what was missed or is wrong, and removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks.covering import covering
from napari_sam_amg.plugin.by_hand import drawn_as, erase, paint_candidate

if TYPE_CHECKING:
    import napari.layers

    from napari_sam_amg.plugin.tuning import Result

_SAME_PLACE = 3
"""How many pixels a second click may be off to mean the next candidate."""


@dataclass
class _Cycle:
    """The candidates at one place, and which of them is shown.

    Attributes
    ----------
    x, y : int
        The pixel that was clicked first.
    rows : ndarray, int64
        Candidates, in the order in which they come.
    instead : int or None
        The row of the mask that they take the place of; its label on an edited layer.
    place : int
        Which one is shown; ``len(rows)`` where it is again as it was before.
    edited : bool
        Whether the layer was painted by hand when it began: candidates are painted, too.
    changed : bool
        Whether the candidate that is shown changed anything, so that it can be taken back.
    seen : int or ndarray
        The layer's version after the last click, the pixels of one that is painted; if that
        is no longer so, it is over.
    """

    x: int
    y: int
    rows: npt.NDArray[np.int64]
    instead: int | None
    place: int
    edited: bool
    changed: bool
    seen: int | npt.NDArray[Any]


class Promotion:
    """Corrects a result from candidates; the model is not asked.

    On a layer that was painted by hand, candidates are painted like by hand: napari's own
    undo takes them back, and all other pixels stay as they are.

    Parameters
    ----------
    result : Result
        Shown already.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self._cycle: _Cycle | None = None

    def promote(self, x: int, y: int, *, add: bool = False) -> str:
        """Show a candidate that covers a pixel; called again there, the next one.

        It takes the place and label of the mask that is shown there, if any. After the
        last one it is again as it was before. All other labels keep their masks.

        Parameters
        ----------
        x, y : int
            The pixel, in those of the plane.
        add : bool
            Leave the mask that is shown there, and show the candidate in addition.

        Returns
        -------
        str
            What is shown now, for the user.

        Raises
        ------
        ParameterError
            If the layer is gone, or the pixel lies outside it.
        """
        layer = self._layer(x, y)
        cycle = self._cycle
        if cycle is None or not self._continues(cycle, x, y):
            cycle = self._begin(x, y, add=add)
            if not len(cycle.rows):
                return "No other candidate covers this place: try more points, or a lower floor."
        last = cycle.place + 1 == len(cycle.rows)
        if 0 <= cycle.place < len(cycle.rows) and cycle.changed:
            self._take_back(edited=cycle.edited, shown=last)
        cycle.place = (cycle.place + 1) % (len(cycle.rows) + 1)
        if not (back := cycle.place == len(cycle.rows)):
            self._show(cycle)
        cycle.seen = np.array(layer.data) if cycle.edited else self.result.shown.version
        self._cycle = cycle
        if back:
            return "As it was before. Click again for the first candidate."
        row = int(cycle.rows[cycle.place])
        found = self.result.proposals
        return (
            f"Candidate {cycle.place + 1} of {len(cycle.rows)}: {found.areas[row]:,} pixels, "
            f"predicted IoU {found.predicted_iou[row]:.2f}, stability "
            f"{found.stability_score[row]:.2f}. Click there again for the next."
        )

    def remove(self, labels: npt.ArrayLike) -> int:
        """Show some masks no more.

        Parameters
        ----------
        labels : array of int
            What is not there is left out.

        Returns
        -------
        int
            How many were removed.

        Raises
        ------
        ParameterError
            If the layer is gone.
        """
        self._cycle = None
        layer, result = self._layer(), self.result
        chosen = np.unique(np.asarray(labels, dtype=np.int64).reshape(-1))
        if result.is_edited:
            return erase(layer, chosen)
        chosen = chosen[(chosen > 0) & (chosen <= len(result.rows))]
        if len(chosen):
            result.corrections.remove(result.rows[chosen - 1])
            result.update()
        return len(chosen)

    def undo(self) -> str:
        """Take the last step back; on an edited layer, by napari's own undo.

        Returns
        -------
        str
            What was done, for the user.
        """
        self._cycle = None
        edited = self.result.is_edited
        if not edited and not self.result.corrections.can_undo:
            return "There is no correction to take back."
        self._take_back(edited=edited)
        return "Taken back."

    def _take_back(self, *, edited: bool, shown: bool = True) -> None:
        """Take a step back; what is not `shown` is followed by another step."""
        if edited:
            self._layer().undo()
        else:
            self.result.corrections.undo()
            if shown:
                self.result.update()

    def label_at(self, x: int, y: int) -> int:
        """Return the label that is shown at a pixel, 0 if none."""
        return int(self.result.plane.flat(np.asarray(self._layer(x, y).data))[y, x])

    def _layer(self, x: int = 0, y: int = 0) -> napari.layers.Labels:
        layer = self.result.layer
        if layer is None or self.result.is_gone:
            raise ParameterError("the layer of the masks is no longer there: press Run")
        height, width = self.result.proposals.shape
        if not (0 <= x < width and 0 <= y < height):
            raise ParameterError(f"pixel ({x}, {y}) lies outside the {width} x {height} image")
        return layer

    def _continues(self, cycle: _Cycle, x: int, y: int) -> bool:
        if abs(cycle.x - x) > _SAME_PLACE or abs(cycle.y - y) > _SAME_PLACE:
            return False
        if cycle.edited:
            return np.array_equal(cycle.seen, self._layer().data)
        shown = self.result.shown
        return cycle.seen == shown.version and not shown.is_edited

    def _begin(self, x: int, y: int, *, add: bool) -> _Cycle:
        result, label = self.result, self.label_at(x, y)
        edited = result.is_edited
        rows = covering(result.proposals, x, y)
        if edited:  # what is drawn there may be another mask than the run's
            drawn = result.plane.flat(np.asarray(self._layer().data)) == label
            rows = rows[~drawn_as(result, rows, drawn)]
        else:
            rows = rows[~np.isin(rows, result.rows)]
        instead: int | None = None
        if label > 0 and not add:
            instead = label if edited else int(result.rows[label - 1])
        return _Cycle(x, y, rows, instead, -1, edited, False, 0)

    def _show(self, cycle: _Cycle) -> None:
        result, row = self.result, int(cycle.rows[cycle.place])
        if cycle.edited:
            cycle.changed = paint_candidate(result, self._layer(), row, cycle.instead)
        else:
            result.corrections.promote(row, cycle.instead)
            result.update()
            cycle.changed = True
