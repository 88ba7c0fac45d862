"""What the dock widget is made of: fields, groups and buttons, and where they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import (
    ComboBox,
    FileEdit,
    Label,
    ProgressBar,
    PushButton,
)
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.models.registry import EMBEDDED, list_models
from napari_sam_amg.parameters import group_of
from napari_sam_amg.plugin.form import make_fields
from napari_sam_amg.plugin.layout import Paragraph, form, group, scrolling, show_row

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from magicgui.widgets.bases import BaseValueWidget
    from superqt import QCollapsible

    from napari_sam_amg.plugin.layout import Row
    from napari_sam_amg.plugin.section import Section

CUSTOM = "custom file"

GROUPS = {
    "Object size": ("objects",),
    "Points and crops": ("points", "crops"),
    "Quality": ("quality",),
    "Overlaps and size": ("overlap", "size"),
    "Advanced": ("advanced",),
}
"""Titles of the collapsible groups, and the parameters' groups in each."""

PRESETS: dict[str, dict[str, Any]] = {
    "as recommended": {},
    "few, large objects": {
        "prompts": "grid",
        "points_per_side": 12,
        "crop_n_layers": 0,
        "scale": None,
        "tile_size": None,  # an object may be larger than a tile
        "tile_halo": None,
    },
    "many, small objects": {"prompts": "grid", "points_per_side": 48, "crop_n_layers": 0},
    "everything": {
        "prompts": "grid",
        "points_per_side": 48,
        "pred_iou_thresh": 0.0,
        "stability_score_thresh": 0.0,
    },
}
"""What a user may look for, as changes to the model's recommendation."""


class Panel:
    """The widgets of the form, laid out in a column that scrolls, above the buttons.

    Parameters
    ----------
    image_layers : callable
        Returns the layers to choose from.
    values : mapping
        First values of the parameters, by name.
    before, after : sequence of Section
        What stands above and below the parameters. One after them whose title is that of
        a group of parameters stands at that group's end.

    Attributes
    ----------
    native : QWidget
        All of it.
    fields : dict
        The parameters' widgets, by name.
    """

    def __init__(
        self,
        image_layers: Callable[..., Any],
        values: Mapping[str, Any],
        *,
        before: Sequence[Section] = (),
        after: Sequence[Section] = (),
    ) -> None:
        self._before, self._after = before, after
        self.image_layer = ComboBox(
            name="image_layer",
            label="Image",
            choices=image_layers,
            nullable=True,
            tooltip="The layer that masks are made for; follows the active image layer.",
        )
        models = [(info.title, info.name) for info in list_models()]
        self.model = ComboBox(
            name="model",
            label="Model",
            choices=[*models, ("your own file ...", CUSTOM)],
            value=EMBEDDED,
        )
        self.model_file = FileEdit(
            name="model_file",
            label="File",
            filter="SAM 2 checkpoints (*.pt *.pth *.safetensors)",
            nullable=True,
            tooltip="A SAM 2 or 2.1 checkpoint; its architecture is recognised.",
        )
        self.device = ComboBox(
            name="device",
            label="Device",
            choices=["auto", "cpu", "cuda", "mps"],
            tooltip="auto takes a GPU where there is one.",
        )
        self.precision = ComboBox(
            name="precision",
            label="Precision",
            choices=["exact", "fast"],
            tooltip="<qt>exact computes in float32; fast in bfloat16, where the device has "
            "units for it, which can change masks slightly.</qt>",
        )
        self.preset = ComboBox(
            name="preset",
            label="Looking for",
            choices=list(PRESETS),
            tooltip="<qt>Sets several parameters at once, from what the model recommends.</qt>",
        )
        self.head: list[BaseValueWidget[Any]] = [
            self.image_layer,
            self.model,
            self.model_file,
            self.device,
            self.precision,
            self.preset,
        ]
        self.fields: dict[str, BaseValueWidget[Any]] = make_fields(values)
        self.run_button = PushButton(text="Run", tooltip="Find all objects in the image.")
        self.all_button = PushButton(
            text="Apply to all",
            tooltip="<qt>Find all objects in every image layer, with these settings.</qt>",
        )
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.keep_button = PushButton(
            text="Keep so far",
            enabled=False,
            tooltip="<qt>End the run and show what it has found so far.</qt>",
        )
        self.progress = ProgressBar(visible=False)
        stays = self.progress.native.sizePolicy()
        stays.setRetainSizeWhenHidden(True)  # so that a run moves nothing
        self.progress.native.setSizePolicy(stays)
        self.status = Label(value="")
        self._paragraph = Paragraph(self.status, lines=3)
        self.groups: dict[str, QCollapsible] = {}
        self.native = self._column()

    def _column(self) -> QWidget:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(form(self.head))
        for section in self._before:
            self._add_group(column, section.title, section.rows)
        for title, groups in GROUPS.items():
            rows: list[Row] = [w for n, w in self.fields.items() if group_of(n) in groups]
            for section in self._after:
                rows += section.rows if section.title == title else ()
            self._add_group(column, title, rows)
        for section in self._after:
            if section.title not in GROUPS:
                self._add_group(column, section.title, section.rows)
        for title in ("Object size", "Quality"):
            self.groups[title].expand(animate=False)
        column.addStretch()
        whole = QWidget()
        whole.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        layout = QVBoxLayout(whole)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scrolling(inner), stretch=1)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(4, 4, 8, 4)
        for button in (self.run_button, self.all_button, self.cancel_button, self.keep_button):
            button.native.setMinimumWidth(40)
            buttons.addWidget(button.native)
        layout.addLayout(buttons)
        progress = QHBoxLayout()
        progress.setContentsMargins(4, 0, 8, 0)
        progress.addWidget(self.progress.native)
        layout.addLayout(progress)
        layout.addWidget(self._paragraph)
        return whole

    def _add_group(self, column: QVBoxLayout, title: str, rows: Sequence[Row]) -> None:
        self.groups[title] = group(title, rows)
        column.addWidget(self.groups[title])

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        self._paragraph.say(text)

    def chosen_model(self) -> str | Path:
        """Return the model's name or file; ParameterError if no file is given."""
        if self.model.value != CUSTOM:
            return str(self.model.value)
        chosen = self.model_file.value
        if not chosen or str(chosen) == ".":
            raise ParameterError("no model file is chosen: give one in the field File")
        return Path(str(chosen))

    def show_model_file(self, *, shown: bool) -> None:
        """Show or hide the row of the model's file."""
        show_row(self.model_file, shown=shown)
