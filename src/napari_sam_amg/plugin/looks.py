"""How a result is shown: nesting level, colour by feature, the features table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from magicgui.widgets import ComboBox, PushButton
from qtpy.compat import isalive

from napari_sam_amg.plugin.layers import number_features
from napari_sam_amg.plugin.measuring import start_measuring
from napari_sam_amg.plugin.section import Host, Section
from napari_sam_amg.plugin.tuning import NESTING

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Labels

_PLAIN = "each its own"


class Looks(Section):
    """Which masks of a result are shown, and in what colours."""

    title = "Show"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.nesting = ComboBox(
            name="nesting",
            label="Masks",
            choices=[
                ("all", NESTING[0]),
                ("whole objects", NESTING[1]),
                ("parts of objects", NESTING[2]),
                ("parts of parts", NESTING[3]),
            ],
            tooltip="<qt>One level of nesting: a nucleolus need not be a hole in its nucleus. A "
            "mask is part of a larger one that holds at least 95 % of its pixels.</qt>",
        )
        self.colour_by = ComboBox(
            name="colour_by",
            label="Colour",
            choices=[_PLAIN],
            tooltip="<qt>Colour each mask by a feature, dark for low and bright for high "
            "values.</qt>",
        )
        self.features_table = PushButton(
            name="features_table",
            text="Features table",
            tooltip="<qt>Open napari's table of the masks' features.</qt>",
        )
        self.measure = PushButton(
            name="measure",
            text="Measure",
            tooltip="<qt>Shape of each mask and its intensity in every image layer that has the "
            "same pixels in the same place, as columns of the features table. Masks count with "
            "all their pixels. Other thresholds show other masks: measure them again.</qt>",
        )
        self.rows = [self.nesting, self.colour_by, (self.features_table, self.measure)]
        self.nesting.changed.connect(self._nesting_changed)
        self.colour_by.changed.connect(self._colour_changed)
        self.features_table.changed.connect(self._open_table)
        self.measure.changed.connect(self._measure)
        host.result_changed.connect(self._update)

    def _update(self) -> None:
        result = self._host.result
        if result is None or result.layer is None:
            return
        names = number_features(result.layer)
        if list(self.colour_by.choices) != [_PLAIN, *names]:
            with self.colour_by.changed.blocked():
                self.colour_by.choices = [_PLAIN, *names]
        # Another image's result may be shown in another way.
        for field, value in (
            (self.nesting, result.nesting),
            (self.colour_by, result.colour_by or _PLAIN),
        ):
            if field.value != value and value in field.choices:
                with field.changed.blocked():
                    field.value = value

    def _nesting_changed(self, level: str) -> None:
        result = self._host.result
        if result is not None:
            result.nesting = level
            result.update()
            self._host.result_changed.emit()

    def _colour_changed(self, feature: str) -> None:
        result = self._host.result
        if result is None or result.layer is None:
            return
        result.colour_by = None if feature == _PLAIN else feature
        result.colour()
        values = result.layer.features.get(feature)
        known = np.empty(0) if values is None else values.to_numpy(dtype=float)[1:]
        known = known[np.isfinite(known)]
        if known.size:
            self._host.say(f"{feature}: dark {known.min():.4g}, bright {known.max():.4g}.")

    def _shown(self) -> Labels | None:
        """Return the layer with the masks, if there is one."""
        result = self._host.result
        if result is None or result.is_gone:
            self._host.say("There are no masks yet: press Run.")
            return None
        return result.layer

    def _open_table(self) -> None:
        layer = self._shown()
        if layer is not None:
            self._host.viewer.layers.selection.active = layer
            show_features_table(self._host.viewer)

    def _measure(self) -> None:
        layer = self._shown()
        if layer is None:
            return
        self._host.say("Measuring ...")
        start_measuring(layer, self._host.viewer, self._measured)

    def _measured(self, text: str) -> None:
        if not isalive(self.measure.native):  # type: ignore[no-untyped-call]
            return  # the window was closed meanwhile
        self._host.say(text)
        self._update()


def show_features_table(viewer: napari.viewer.Viewer) -> None:
    """Show napari's own features table, below the picture where it has room."""
    from npe2 import PluginManager

    window, name = viewer.window, "Features table widget (napari)"  # as in napari's own menu
    if name in window.dock_widgets:
        dock = window.dock_widgets[name].parent()
        dock.show()
        dock.raise_()
        return
    table = PluginManager.instance().commands.get("napari.widgets.features_table")
    window.add_dock_widget(table(viewer), name=name, area="bottom")
