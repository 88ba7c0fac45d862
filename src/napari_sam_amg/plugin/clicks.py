"""Corrections by clicks in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import ComboBox, PushButton

from napari_sam_amg.errors import SamAmgError
from napari_sam_amg.plugin.promotion import Promotion
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import napari.viewer

_MOVE, _PROMOTE, _REMOVE = "moves the picture", "shows another candidate", "removes a mask"


class Clicks(Section):
    """What a click in the picture does with a result, and undo."""

    title = "Correct"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.click = ComboBox(
            name="click",
            label="A click",
            choices=[_MOVE, _PROMOTE, _REMOVE],
            tooltip="<qt>Where an object was missed or is wrong, a click shows the best other "
            "candidate; another click there the next one: whole, part or rejected. With "
            "Shift it is added to what is shown there.</qt>",
        )
        self.remove_selected = PushButton(
            name="remove_selected",
            text="Remove selected",
            tooltip="<qt>Remove the mask of the layer's selected label, as chosen with the "
            "colour picker or in the features table.</qt>",
        )
        self.undo_correction = PushButton(
            name="undo_correction", text="Undo", tooltip="Take the last correction back."
        )
        self.rows = [self.click, (self.remove_selected, self.undo_correction)]
        self._promotion: Promotion | None = None
        self.remove_selected.changed.connect(self._remove_selected)
        self.undo_correction.changed.connect(lambda: self._do(lambda promotion: promotion.undo()))
        self.click.changed.connect(self._mode_changed)

    def close(self) -> None:
        """Leave clicks to the viewer again."""
        self.click.value = _MOVE

    def _mode_changed(self, mode: str) -> None:
        callbacks = self._host.viewer.mouse_drag_callbacks
        if mode == _MOVE:
            if self._pressed in callbacks:
                callbacks.remove(self._pressed)
        elif self._pressed not in callbacks:
            callbacks.append(self._pressed)
        if mode == _PROMOTE:
            self._host.say("Click where an object was missed or is wrong.")

    def _pressed(self, viewer: napari.viewer.Viewer, event: Any) -> Generator[None, None, None]:
        """Act on a click, but not where the picture is dragged."""
        result = self._host.result
        if event.button != 1 or result is None or result.layer is None:
            return
        if not result.is_gone and result.layer.mode != "pan_zoom":
            return
        yield
        if event.type != "mouse_move":
            self._act(event)

    def _act(self, event: Any) -> None:
        place = self._pixel(event.position)
        if place is None:
            self._host.say("That lies outside the masks, or in another plane than they.")
        elif self.click.value == _PROMOTE:
            add = "Shift" in event.modifiers
            self._do(lambda promotion: promotion.promote(*place, add=add))
        else:
            self._do(lambda promotion: _removed(promotion.remove([promotion.label_at(*place)])))

    def _pixel(self, position: Any) -> tuple[int, int] | None:
        """Return the pixel (x, y) of the result at a place of the world."""
        result = self._host.result
        if result is None or result.layer is None:
            return None
        at = np.round(np.asarray(result.layer.world_to_data(position))).astype(int)
        if ((at < 0) | (at >= result.layer.data.shape)).any():
            return None
        y, x = at[result.plane.axes].tolist()
        return x, y

    def _remove_selected(self) -> None:
        result = self._host.result
        label = 0 if result is None or result.layer is None else result.layer.selected_label
        self._do(lambda promotion: _removed(promotion.remove([label])))

    def _do(self, act: Callable[[Promotion], str]) -> None:
        result = self._host.result
        if result is None:
            self._host.say("There are no masks yet: press Run.")
            return
        if self._promotion is None or self._promotion.result is not result:
            self._promotion = Promotion(result)
        try:
            text = act(self._promotion)
        except SamAmgError as error:
            text = str(error)
        self._host.result_changed.emit()
        if text:
            self._host.say(text)


def _removed(count: int) -> str:
    return "Removed; Undo brings it back." if count else "There is no mask to remove."
