"""The Labels layer that shows a result, and whether someone else changed it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import napari.layers
    import napari.viewer
    import pandas as pd


class ShownLayer:
    """A Labels layer that is drawn again and again, in as little time as napari allows.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the layer is added.

    Attributes
    ----------
    layer : napari.layers.Labels or None
        None until `draw` was called.
    version : int
        How often it was drawn.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        # napari hands out a proxy that warns of what `_set_labels` needs.
        self._viewer: napari.viewer.Viewer = getattr(viewer, "__wrapped__", viewer)
        self.layer: napari.layers.Labels | None = None
        self.version = 0
        self._drawn: npt.NDArray[Any] | None = None
        self._features: pd.DataFrame | None = None

    @property
    def is_gone(self) -> bool:
        """Whether there is no layer, or it was removed from the viewer."""
        return self.layer is None or self.layer not in self._viewer.layers

    @property
    def is_edited(self) -> bool:
        """Whether the layer's pixels are no longer what was drawn, or the layer is gone."""
        if self.is_gone or self.layer is None:
            return True
        return self._drawn is None or not _same_pixels(self.layer.data, self._drawn)

    @property
    def is_as_drawn(self) -> bool:
        """Whether pixels and features are those that were drawn."""
        if self.is_gone or self.layer is None or self.layer.features is not self._features:
            return False
        return not self.is_edited

    def draw(
        self,
        labels: npt.NDArray[Any],
        features: pd.DataFrame,
        metadata: Mapping[str, Any],
        colormap: Any,
        added: Mapping[str, Any],
    ) -> None:
        """Show labels in the layer; one that was edited stays, and a new one is added.

        Parameters
        ----------
        labels : ndarray of unsigned integers
            As the layer has them; given away.
        features : DataFrame
            By napari's rules.
        metadata : mapping
            Added to what is there.
        colormap : napari.utils.colormaps.CyclicLabelColormap
        added : mapping
            Further keywords of a new layer.
        """
        if self.is_edited:
            self.layer = self._viewer.add_labels(
                labels, features=features, metadata=dict(metadata), colormap=colormap, **added
            )
        else:
            self._set_colormap(colormap)
            self.describe(metadata)
            self._set_labels(labels)
            self._layer().features = features
        if self._drawn is None or not _alike(self._drawn, labels):
            self._drawn = np.empty_like(labels)
        np.copyto(self._drawn, labels)
        self._features = self._layer().features
        self.version += 1

    def describe(self, metadata: Mapping[str, Any]) -> None:
        """Add to the layer's metadata what is true of the pixels that it has."""
        if self.layer is not None:
            self.layer.metadata = {**self.layer.metadata, **metadata}

    def _layer(self) -> napari.layers.Labels:
        if self.layer is None:
            raise ValueError("nothing was drawn yet")
        return self.layer

    def _set_colormap(self, colormap: Any) -> None:
        layer = self._layer()
        # The old picture need not be drawn again, nor the colour of the chosen label told:
        # the data that comes next does both.
        unseen = getattr(layer, "_block_refresh", contextlib.nullcontext)
        with unseen(), layer.events.set_data.blocker(), layer.events.selected_label.blocker():
            layer.colormap = colormap

    def _set_labels(self, labels: npt.NDArray[Any]) -> None:
        layer = self._layer()
        if layer.selected_label > np.iinfo(labels.dtype).max:
            layer.selected_label = 1
        # The same plane: the viewer need not look at the extent of all its layers again.
        measured: Callable[..., Any] | None = getattr(self._viewer, "_on_layers_change", None)
        with layer.events.extent.blocker(), _blocked(layer.events.data, measured):
            layer.data = labels


def _blocked(emitter: Any, callback: Callable[..., Any] | None) -> Any:
    """Block one callback of an event while others are called; napari may not have it."""
    return contextlib.nullcontext() if callback is None else emitter.blocker(callback)


def _alike(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _same_pixels(a: Any, b: npt.NDArray[Any]) -> bool:
    """Compare label images, eight bytes at a time where their memory allows it."""
    a = np.asarray(a)
    if a.shape != b.shape:
        return False
    words = a.dtype == b.dtype and a.nbytes % 8 == 0
    if words and a.flags.c_contiguous and b.flags.c_contiguous:
        a, b = a.reshape(-1).view(np.uint64), b.reshape(-1).view(np.uint64)
    return bool(np.array_equal(a, b))
