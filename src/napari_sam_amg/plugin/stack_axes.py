"""The axes of an image along which slices or time points may lie, to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from magicgui.widgets import ComboBox

from napari_sam_amg.plugin.planes import level_data, shown_axes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Image

    from napari_sam_amg.plugin.section import Host

NONE = "none"
NAMES = {"z": ("z", "depth", "slice", "slices"), "t": ("t", "time", "frame", "frames")}
"""What axes are called; others are never taken for slices or time points."""


def axis_field(name: str, label: str, text: str) -> ComboBox:
    """Return the field that an axis is chosen in; nothing is by default."""
    return ComboBox(
        name=name,
        label=label,
        choices=[("none", NONE)],
        tooltip=f"<qt>{text} It is chosen by itself only if the layer's axis labels say so.</qt>",
    )


def axes_of(layer: Image, host: Host) -> Iterable[tuple[str, int]]:
    """Return the axes of a layer besides its plane's, with a name for each."""
    shape = level_data(layer).shape
    shown = shown_axes(layer, host.viewer)
    found = []
    for axis in range(layer.ndim):
        if axis not in shown and shape[axis] > 1:
            label = str(layer.axis_labels[axis])
            # napari calls axes without a name -3, -2, -1.
            name = f"axis {axis}" if label.lstrip("-").isdigit() else label
            found.append((f"{name} ({shape[axis]})", axis))
    return found
