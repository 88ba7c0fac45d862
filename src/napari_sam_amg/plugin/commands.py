"""Entries of napari's Layers menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari.viewer  # noqa: TC002 - napari looks the annotation up

from napari_sam_amg.plugin.layers import colours, feature_colours, number_features
from napari_sam_amg.plugin.looks import show_features_table

if TYPE_CHECKING:
    from napari.layers import Labels


def features_table(viewer: napari.viewer.Viewer) -> None:
    """Open napari's table of the features of the chosen layer (Layers > Measure)."""
    show_features_table(viewer)


def measure_masks(viewer: napari.viewer.Viewer) -> None:
    """Measure the masks of the active Labels layer in every channel (Layers > Measure)."""
    from napari.layers import Labels
    from napari.utils.notifications import show_info

    from napari_sam_amg.plugin.measuring import start_measuring

    layer = viewer.layers.selection.active
    if not isinstance(layer, Labels):
        show_info("Choose a Labels layer, such as a run's masks.")
        return
    start_measuring(layer, viewer, show_info)


def colour_by_feature(viewer: napari.viewer.Viewer) -> None:
    """Ask for a feature of the active Labels layer and colour it (Layers > Visualize)."""
    from magicgui.widgets import request_values
    from napari.layers import Labels
    from napari.utils.notifications import show_info

    layer = viewer.layers.selection.active
    names = number_features(layer) if isinstance(layer, Labels) else []
    if not names:
        show_info("Choose a Labels layer whose features have numbers, such as a run's masks.")
        return
    chosen = request_values(
        title="Colour by feature",
        feature={"annotation": str, "label": "Feature", "options": {"choices": names}},
    )
    if chosen is not None:
        colour_layer(layer, chosen["feature"])


def colour_layer(layer: Labels, feature: str) -> None:
    """Colour labels by a feature, dark for low and bright for high values.

    Parameters
    ----------
    layer : napari.layers.Labels
        Its features have a row for each label from 0 on, or a column ``index`` with labels.
    feature : str
        One of `number_features`.
    """
    import numpy as np

    table = layer.features
    labels = table["index"].to_numpy() if "index" in table else np.arange(len(table))
    values = np.full(int(labels.max(initial=0)) + 1, np.nan)
    values[labels] = table[feature].to_numpy(dtype=float)
    layer.colormap = colours(feature_colours(values[1:]))
