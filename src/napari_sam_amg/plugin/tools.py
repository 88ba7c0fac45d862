"""Settings in files, labels that are kept, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from magicgui.widgets import ComboBox, PushButton
from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog

from napari_sam_amg.errors import ParameterError, SamAmgError
from napari_sam_amg.plugin.choice import LayerChoices, renew_choices
from napari_sam_amg.plugin.regions import labels_region
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam_amg.plugin.tuning import Result

_NONE = "none"
_FILTER = "Settings (*.json)"


class Tools(Section):
    """What is not needed for every run."""

    title = "Tools"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.keep_labels = ComboBox(
            name="keep_labels",
            label="Keep labels of",
            choices=self._choices,
            tooltip="<qt>Add masks only where this layer is empty: those that lie on its "
            "labels for more than a half are left out, and no other covers them. The layer "
            "itself stays as it is.</qt>",
        )
        self.save_button = PushButton(
            name="save_button",
            text="Save settings",
            tooltip="Write model, device and all parameters to a JSON file.",
        )
        self.load_button = PushButton(
            name="load_button", text="Load settings", tooltip="Read them again."
        )
        self.free_button = PushButton(
            name="free_button",
            text="Free memory",
            tooltip="<qt>Unload the model and forget what it made of the image; results stay. "
            "The next run loads and encodes anew.</qt>",
        )
        self.rows = [self.keep_labels, (self.save_button, self.load_button), self.free_button]
        self._applied: WeakKeyDictionary[Result, Any] = WeakKeyDictionary()
        self.keep_labels.changed.connect(self._keep_changed)
        self.save_button.changed.connect(lambda: self._try(self._save))
        self.load_button.changed.connect(lambda: self._try(self._load))
        self.free_button.changed.connect(self._free)
        host.result_changed.connect(self._result_changed)
        self._follows = LayerChoices(host.viewer, self.keep_labels)

    def _choices(self, _: object = None) -> list[tuple[str, Any]]:
        result = self._host.result
        own = None if result is None else result.layer
        layers = [x for x in self._host.viewer.layers if isinstance(x, Labels) and x is not own]
        return [(_NONE, _NONE), *((layer.name, layer) for layer in layers)]

    def _result_changed(self) -> None:
        """Let a new result keep the chosen labels too."""
        result = self._host.result
        if result is not None and self._applied.get(result, _NONE) != self.keep_labels.value:
            renew_choices(self.keep_labels)
            self._keep_changed()

    def _keep_changed(self, _: object = None) -> None:
        result, chosen = self._host.result, self.keep_labels.value
        if result is None:
            return
        self._applied[result] = chosen
        if chosen == _NONE and result.existing is None:
            return
        try:
            existing = (
                None
                if chosen == _NONE or chosen is result.layer
                else labels_region(result.plane, chosen, self._host.viewer)
            )
        except ParameterError as error:  # nothing there to keep
            existing = None
            self._host.say(str(error))
        result.existing = existing
        result.update()
        self._host.result_changed.emit()

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(None, "Save settings", "settings.json", _FILTER)
        if path:
            self._host.save_settings(path)
            self._host.say(f"Saved as {path}.")

    def _load(self) -> None:
        path, _ = QFileDialog.getOpenFileName(None, "Load settings", "", _FILTER)
        if path:
            self._host.load_settings(path)
            self._host.say(f"Settings of {path} are loaded.")

    def _try(self, act: Callable[[], None]) -> None:
        try:
            act()
        except SamAmgError as error:
            self._host.say(str(error))

    def _free(self) -> None:
        self._host.free_memory()
        self._host.say("The model is unloaded; results stay.")
