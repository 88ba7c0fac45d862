"""Live re-tuning: thresholds act on the candidates of the last run, in its Labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.features import visible_areas
from napari_sam_amg.masks.nesting import depths
from napari_sam_amg.masks.ragged import offsets, sums
from napari_sam_amg.plugin.corrections import Corrections
from napari_sam_amg.plugin.layers import (
    colours,
    feature_colours,
    identity_colours,
    layer_features,
    layer_metadata,
    pixel_area_um2,
)
from napari_sam_amg.plugin.shown import ShownLayer

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer
    import pandas as pd

    from napari_sam_amg.masks import Masks, Proposals
    from napari_sam_amg.masks.selection import Selection
    from napari_sam_amg.plugin.planes import Plane

Rows = npt.NDArray[np.int64]

_MOST_ON_EXISTING = 0.5
"""Share of a mask that may lie on labels that are kept."""

NESTING = ("all", "whole", "part", "sub-part")
"""Which masks are shown: all, those within no other, those within one, or within more."""


class Result:
    """What one run found, and the layer that shows a selection of it.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer is added.
    plane : Plane
        What was looked at.
    proposals : Proposals
        What was found.

    Attributes
    ----------
    shown : ShownLayer
        The layer that shows ``masks.to_labels()``.
    masks : Masks or None
        What it shows.
    rows : ndarray, int64, M
        The candidates that they are.
    selection : Selection or None
        What the thresholds leave, before corrections.
    corrections : Corrections
        What the user chose instead.
    thresholds : dict
        With which `show` was called last.
    nesting : {"all", "whole", "part", "sub-part"}
        Which masks are shown.
    doubt : str
        Why the result deserves doubt, whatever of it is hidden; see `Masks.doubt`.
    colour_by : str or None
        The feature that colours the masks; None colours them by what they are.
    """

    def __init__(self, viewer: napari.viewer.Viewer, plane: Plane, proposals: Proposals) -> None:
        self._viewer = viewer
        self.plane = plane
        self.proposals = proposals
        self.shown = ShownLayer(viewer)
        self.masks: Masks | None = None
        self.rows: Rows = np.empty(0, dtype=np.int64)
        self.selection: Selection | None = None
        self.corrections = Corrections()
        self.thresholds: dict[str, Any] = {}
        self.doubt = ""
        self.nesting = NESTING[0]
        self.colour_by: str | None = None
        self._existing: npt.NDArray[np.bool_] | None = None
        self._covered: npt.NDArray[np.int64] = np.zeros(1, dtype=np.int64)
        self._selected: Masks | None = None
        self._state: tuple[Any, ...] = ()
        self._pixel_area = pixel_area_um2(plane.keywords, plane.axes)

    @property
    def layer(self) -> napari.layers.Labels | None:
        """The Labels layer; None until `show` was called."""
        return self.shown.layer

    @property
    def is_gone(self) -> bool:
        """Whether there is no layer, or it was removed from the viewer."""
        return self.shown.is_gone

    @property
    def is_edited(self) -> bool:
        """Whether the layer's pixels are no longer what was drawn, or the layer is gone."""
        return self.shown.is_edited

    @property
    def existing(self) -> npt.NDArray[np.bool_] | None:
        """Pixels (HxW) that belong to others: masks are added beside them only."""
        return self._existing

    @existing.setter
    def existing(self, pixels: npt.NDArray[np.bool_] | None) -> None:
        self._existing, self._state = pixels, ()
        if pixels is not None:  # counted once, so that each mask needs only its spans' ends
            self._covered = offsets(pixels.reshape(-1))

    def adopt(self, other: Result) -> None:
        """Show this result in the layer of an earlier one of the same layer and plane.

        Not where that would lose something: pixels edited by hand, corrections, or a whole
        result for a part of one.
        """
        less = "partial" in self.proposals.provenance
        less = less and "partial" not in other.proposals.provenance
        kept = other.is_edited or bool(other.corrections) or less
        same = (
            self.plane.layer is other.plane.layer
            and self.plane.index == other.plane.index
            and self.proposals.shape == other.proposals.shape
            and _equal(self.plane.keywords, other.plane.keywords)
        )
        if same and not kept:
            self.shown, other.shown = other.shown, ShownLayer(self._viewer)
        self.nesting, self.colour_by = other.nesting, other.colour_by

    def show(self, **thresholds: Any) -> Masks:
        """Select masks and show them.

        Parameters
        ----------
        **thresholds
            As for `Proposals.select`.

        Returns
        -------
        Masks
            What is shown now. A layer that was edited by hand stays as it is: a new one is
            added beside it.
        """
        self.proposals.prepare()
        self._selected, self.selection = self.proposals.selected(**thresholds)
        self.thresholds = thresholds
        return self.update()

    def update(self) -> Masks:
        """Show anew what was selected, after a change of something else than thresholds."""
        masks, rows = self._corrected()
        # That a user took all of them away is no news to that user.
        told = masks if len(masks) or self._selected is None else self._selected
        self.doubt = told.doubt
        if self.nesting != "all":
            depth = np.minimum(depths(masks.store), 2)
            chosen = np.flatnonzero(depth == NESTING.index(self.nesting) - 1)
            masks, rows = masks[chosen], rows[chosen]
            masks.provenance["nesting"] = self.nesting
        if self._existing is not None:
            chosen = np.flatnonzero(self._on_existing(masks) <= _MOST_ON_EXISTING)
            masks, rows = masks[chosen], rows[chosen]
        state = self._what_is_drawn(masks, rows)
        if state == self._state and self.shown.is_as_drawn:
            self.shown.describe(layer_metadata(masks, self._existing))
        else:
            self._state = ()  # whatever happens while drawing
            self._draw(masks, rows)
        self._state, self.masks, self.rows = state, masks, rows
        return masks

    def _what_is_drawn(self, masks: Masks, rows: Rows) -> tuple[Any, ...]:
        """Return what decides how masks look in the layer."""
        cleaned, as_found = 0, b""
        if self.selection is not None and self.selection.cleaned:
            cleaned = self.selection.cleaned
            as_found = np.isin(rows, self.selection.rows, invert=True).tobytes()
        return rows.tobytes(), masks.overlap, self.nesting, self.colour_by, cleaned, as_found

    def _draw(self, masks: Masks, rows: Rows) -> None:
        image, columns = masks.labels_and_columns()
        if self._existing is not None:
            image[self._existing] = 0
            columns = {**columns, "area_visible": visible_areas(image, len(masks))}
        features = layer_features(columns, self._pixel_area)
        self.shown.draw(
            self.plane.placed(image),
            features,
            layer_metadata(masks, self._existing),
            self._colours(features, rows),
            {"name": f"{self.plane.name} masks", **self.plane.keywords},
        )

    def colour(self) -> None:
        """Colour the layer anew, after a change of `colour_by`."""
        if self.layer is not None:
            self.layer.colormap = self._colours(self.layer.features, self.rows)

    def _on_existing(self, masks: Masks) -> npt.NDArray[np.float64]:
        """Return the share of each mask's pixels that belong to others."""
        spans = masks.store.spans
        taken = self._covered[spans.stop] - self._covered[spans.start]
        share: npt.NDArray[np.float64] = sums(taken, spans.offsets) / masks.areas
        return share

    def _corrected(self) -> tuple[Masks, Rows]:
        """Return what the thresholds select, with the user's corrections."""
        if self._selected is None or self.selection is None:
            raise ValueError("nothing was selected yet: call show first")
        rows = self.selection.rows
        wanted = self.corrections.applied(rows)
        if wanted is rows:
            return self._selected, rows
        if not self.selection.cleaned:
            table, store = self.proposals.table, self.proposals.store
            masks = self._selected.with_masks(store.take(wanted), table.take(wanted))
        else:  # what was promoted is shown as it was found
            new = np.setdiff1d(wanted, rows)
            masks = self._selected.followed_by(self.proposals.masks(new))
            everything = np.concatenate([rows, new])
            order = np.argsort(everything)
            masks = masks[order[np.searchsorted(everything[order], wanted)]]
        masks.provenance["corrected"] = True
        return masks, wanted

    def _colours(self, features: pd.DataFrame, rows: Rows) -> Any:
        if self.colour_by in features:
            return colours(feature_colours(features[self.colour_by].to_numpy()[1:]))
        return colours(identity_colours(rows))


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in a)
