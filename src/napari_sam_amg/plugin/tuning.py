"""Live re-tuning: thresholds act on the candidates of the last run, in its Labels layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.plugin.layers import (
    colours,
    layer_features,
    layer_metadata,
    pixel_area_um2,
)

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer
    import numpy.typing as npt

    from napari_sam_amg.masks import Masks, Proposals
    from napari_sam_amg.plugin.planes import Plane


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
    layer : napari.layers.Labels or None
        Shows ``masks.to_labels()``; None until `show` was called.
    """

    def __init__(self, viewer: napari.viewer.Viewer, plane: Plane, proposals: Proposals) -> None:
        self._viewer = viewer
        self.plane = plane
        self.proposals = proposals
        self.layer: napari.layers.Labels | None = None
        self._drawn: npt.NDArray[Any] | None = None
        self._pixel_area = pixel_area_um2(plane)

    @property
    def is_edited(self) -> bool:
        """Whether the layer's pixels are no longer what was drawn, or the layer is gone."""
        if self.layer is None or self.layer not in self._viewer.layers:
            return True
        return self._drawn is None or not np.array_equal(self.layer.data, self._drawn)

    def adopt(self, other: Result) -> None:
        """Show this result in the layer of an earlier one of the same layer and plane."""
        same = (
            self.plane.layer is other.plane.layer
            and self.plane.index == other.plane.index
            and self.proposals.shape == other.proposals.shape
            and _equal(self.plane.keywords, other.plane.keywords)
        )
        if same and not other.is_edited:
            self.layer, self._drawn = other.layer, other._drawn

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
        masks, rows = self.proposals.select_rows(**thresholds)
        image, table = masks.labels_and_features()
        labels = self.plane.placed(image)
        features = layer_features(table, self._pixel_area)
        if self.layer is not None and not self.is_edited:
            self._update(labels, features, masks, rows)
        else:
            self._add(labels, features, masks, rows)
        self._drawn = labels.copy()
        return masks

    def _update(self, labels: Any, features: Any, masks: Masks, rows: Any) -> None:
        layer = self.layer
        assert layer is not None  # noqa: S101 - for the type checker
        with layer.events.set_data.blocker():  # the old picture need not be drawn again
            layer.colormap = colours(rows)
        layer.metadata = {**layer.metadata, **layer_metadata(masks)}
        if layer.selected_label > np.iinfo(labels.dtype).max:
            layer.selected_label = 1
        layer.data = labels
        layer.features = features

    def _add(self, labels: Any, features: Any, masks: Masks, rows: Any) -> None:
        self.layer = self._viewer.add_labels(
            labels,
            name=f"{self.plane.name} masks",
            features=features,
            metadata=layer_metadata(masks),
            colormap=colours(rows),
            **self.plane.keywords,
        )


def _equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[key], b[key]) for key in a)
