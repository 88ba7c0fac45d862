"""From candidates that come row by row to the masks that one run would select from all.

Each decision waits until nothing that could change it is still to come: candidates of a tile
lie within the tile, so whatever ends above the next row of tiles meets none of those. The masks
kept are exactly those of `napari_sam_amg.masks.selection.select`. They are numbered by their
first row, then their first column, then where they were found (tile, then place within it), so
that numbers depend on nothing but the masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.large.candidates import Candidates
from napari_sam_amg.masks.cleaned import CleanedMasks
from napari_sam_amg.masks.pairs import overlapping
from napari_sam_amg.masks.selection import wishes

if TYPE_CHECKING:
    from napari_sam_amg.parameters import AmgParameters

Flags = npt.NDArray[np.bool_]

END = 1 << 62
"""A row below every image."""


class StreamedSelection:
    """Selects masks as rows of tiles are finished.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    parameters : AmgParameters
        The thresholds.
    """

    def __init__(self, shape: tuple[int, int], parameters: AmgParameters) -> None:
        p = parameters
        self._parameters = p
        self._found = Suppression(shape, p.box_nms_thresh)
        self._cleaned = Suppression(shape, max(p.box_nms_thresh, p.crop_nms_thresh))
        # Filling can add rows to a mask only where they have fewer pixels than that.
        self._growth = -(-p.min_mask_region_area // shape[1])
        self._unnumbered = Candidates.none(shape)

    def add(self, found: Candidates, frontier: int) -> tuple[Candidates, int]:
        """Take the candidates of a row of tiles.

        Parameters
        ----------
        found : Candidates
            In order.
        frontier : int
            Row above which no later candidate has a pixel; `END` after the last ones.

        Returns
        -------
        Candidates
            The next masks, in the order of their numbers.
        int
            Row above which no later mask has a pixel.
        """
        masks, settled = self._found.add(found, np.zeros(len(found), dtype=np.bool_), frontier)
        least = self._parameters.min_mask_region_area
        if least > 0:
            store, changed = CleanedMasks(masks.store, least).take(np.arange(len(masks)))
            cleaned = masks.with_pixels(store, np.arange(len(masks)))
            frontier = max(0, settled - self._growth)
            masks, settled = self._cleaned.add(cleaned, changed, frontier)
        good = np.arange(len(masks))
        for wanted in wishes(self._parameters).values():
            good = good[wanted(masks.store, good)]
        masks = Candidates.concatenate([self._unnumbered, masks.take(good)])
        ready = masks.tops < settled
        self._unnumbered = masks.take(np.flatnonzero(~ready))
        rows = np.flatnonzero(ready)
        left, top = masks.store.windows[rows, :2].T
        return masks.take(rows[np.lexsort((masks.places[rows], left, top))]), settled


class Suppression:
    """Non-maximum suppression of boxes of which more are to come.

    Decides as `napari_sam_amg.masks.nms.suppress` would on all of them.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    threshold : float
        Boxes whose intersection over union with one that stays is larger are dropped.
    """

    def __init__(self, shape: tuple[int, int], threshold: float) -> None:
        self._threshold = threshold
        self._waiting = Candidates.none(shape)
        self._behind = np.empty(0, dtype=np.bool_)

    def add(self, found: Candidates, behind: Flags, frontier: int) -> tuple[Candidates, int]:
        """Take more candidates, and decide what can be decided.

        Parameters
        ----------
        found : Candidates
            N; those of the higher predicted IoU stay, and at a tie the earlier ones.
        behind : ndarray, bool, N
            Those that come after all others, whatever their score.
        frontier : int
            Row above which no later one has a pixel.

        Returns
        -------
        Candidates
            That stay, by their places.
        int
            Row above which none has a pixel that is handed out later.
        """
        here = Candidates.concatenate([self._waiting, found])
        behind = np.concatenate([self._behind, behind])
        # suppress() compares inclusive ends: a box may share its last row with the frontier.
        safe = here.bottoms <= frontier
        rank = np.lexsort((here.places, -here.predicted_iou, behind))
        kept, open_ = settled(here.store.boxes[rank], safe[rank], self._threshold)
        left = np.sort(rank[open_])
        self._waiting, self._behind = here.take(left), behind[left]
        lowest = int(self._waiting.tops.min(initial=END))
        return here.take(np.sort(rank[kept])), min(frontier, lowest)


def settled(boxes: npt.NDArray[np.int64], safe: Flags, threshold: float) -> tuple[Flags, Flags]:
    """Decide about boxes while others are still to come.

    Parameters
    ----------
    boxes : ndarray, int64, Nx4
        x0, y0, x1, y1 in pixels, inclusive, the best first.
    safe : ndarray, bool, N
        Which ones overlap with none that is still to come.
    threshold : float
        As for `napari_sam_amg.masks.nms.suppress`.

    Returns
    -------
    kept : ndarray, bool, N
        Those that stay whatever comes.
    open_ : ndarray, bool, N
        Those of which it is not yet known. All others are dropped whatever comes.
    """
    one, other, _ = overlapping(boxes.astype(np.float32), threshold)
    better, worse = np.minimum(one, other), np.maximum(one, other)
    kept = np.zeros(len(boxes), dtype=np.bool_)
    open_ = np.ones(len(boxes), dtype=np.bool_)
    while True:
        sure = open_ & safe
        sure[worse] = False  # an undecided better one overlaps it
        kept |= sure
        open_ &= ~sure
        open_[worse[kept[better]]] = False
        undecided = open_[better] & open_[worse]
        if undecided.all() and not sure.any():
            return kept, open_
        better, worse = better[undecided], worse[undecided]
