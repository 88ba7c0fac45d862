"""What the form's fields say, and what the choice of a model or a preset does to them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.models.architecture import ARCHITECTURES
from napari_sam_amg.models.profiles import InputProfile
from napari_sam_amg.models.registry import model_info
from napari_sam_amg.parameters import SELECT_PARAMETERS, AmgParameters
from napari_sam_amg.plugin.panel import CUSTOM, PRESETS
from napari_sam_amg.sizes import derived, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari_sam_amg.plugin.panel import Panel

LIVE = (*SELECT_PARAMETERS, "overlap")
"""Parameters that act on the shown masks at once."""

_LEADING = ("object_diameter", "scale", "tile_size")
_FOLLOWING = ("scale", "tile_size", "tile_halo", "points_per_side", "min_area", "max_area")

_OF_GRID = ("points_per_side", "crop_n_points_downscale_factor", "point_grids")


class Settings:
    """The parameters in the form of a `Panel`.

    Parameters
    ----------
    panel : Panel
    changed : callable
        Called with True after parameters have changed that act at once, with False after
        others.

    Attributes
    ----------
    touched : set of str
        Parameters that the user set: another model leaves them as they are.
    """

    def __init__(self, panel: Panel, changed: Callable[[bool], None]) -> None:
        self._panel = panel
        self._changed = changed
        self._setting = False
        self.touched: set[str] = set()
        self._show_model()
        panel.model.changed.connect(self._model_changed)
        panel.model_file.changed.connect(self._model_changed)
        panel.preset.changed.connect(self._preset_changed)
        for name, field in panel.fields.items():
            field.changed.connect(lambda _=None, name=name: self._field_changed(name))

    @property
    def parameters(self) -> AmgParameters:
        """What the form says.

        Raises
        ------
        ParameterError
            If it cannot be used.
        """
        return AmgParameters(**self._values())

    @property
    def live(self) -> tuple[str, ...]:
        """Names of the parameters that act on a result at once."""
        return LIVE

    @property
    def thresholds(self) -> dict[str, Any]:
        """The parameters that act on a result at once, by name; errors as `parameters`."""
        parameters = self.parameters
        return {name: getattr(parameters, name) for name in LIVE}

    @property
    def profile(self) -> InputProfile:
        """How the chosen model wants to see images; the usual one for a file of one's own."""
        name = self._panel.model.value
        return InputProfile() if name == CUSTOM else model_info(name).profile

    @property
    def input_size(self) -> int:
        """Side of the chosen model's square input, in pixels; sam2's for a file of one's own."""
        name = self._panel.model.value
        kind = "sam2.1_hiera_tiny" if name == CUSTOM else model_info(name).architecture
        return ARCHITECTURES[kind].image_size

    def _values(self) -> dict[str, Any]:
        values = {name: field.value for name, field in self._panel.fields.items()}
        if values["point_grids"] is not None:
            values |= {"points_per_side": None, "prompts": "grid"}
        return values

    def set_by_user(self, values: Mapping[str, Any]) -> None:
        """Set fields, which count as touched, and say so once.

        Raises
        ------
        ParameterError
            If the values cannot be used together; no field is changed.
        """
        AmgParameters(**{**self._values(), **values})
        self.touched |= set(values)
        diameter = values.get("object_diameter")
        if diameter is not None:
            # What would follow anyway goes on following.
            follows = self._derived({"object_diameter": diameter})
            self.touched -= {n for n, value in follows.items() if values.get(n) == value}
        self._apply(values)
        if set(values) & set(_LEADING):
            self._follow()
        if not set(values) <= set(LIVE):
            self._changed(False)

    def show(self, values: Mapping[str, Any]) -> None:
        """Let the form say something, such as a result's thresholds; nothing acts on it."""
        self._setting = True
        try:
            for name, value in values.items():
                if self._panel.fields[name].value != value:
                    self._panel.fields[name].value = value
        finally:
            self._setting = False

    def _recommended(self) -> AmgParameters:
        name = self._panel.model.value
        if name == CUSTOM:
            return AmgParameters()
        return resolved(model_info(name), {}, self.input_size)

    def _derived(self, leading: Mapping[str, Any]) -> dict[str, Any]:
        return derived(leading, self.profile.object_diameter, self.input_size)

    def _sized(self) -> dict[str, Any]:
        """Return what follows from sizes that the user set; ParameterError if half typed."""
        fields = self._panel.fields
        leading: dict[str, Any] = {n: fields[n].value for n in _LEADING if n in self.touched}
        AmgParameters(**leading)
        known = any(value is not None for value in leading.values())
        return self._derived(leading) if known else {}

    def _wanted(self) -> dict[str, Any]:
        """Return what the model and the preset say."""
        return {**dict(self._recommended()), **PRESETS[self._panel.preset.value]}

    def _apply_untouched(self, values: Mapping[str, Any]) -> None:
        self._apply({name: v for name, v in values.items() if name not in self.touched})

    def _follow(self) -> None:
        """Set what follows from the diameter, the scale and the tile size."""
        wanted = self._wanted() | self._sized()
        self._apply_untouched({name: wanted[name] for name in _FOLLOWING})

    def _model_changed(self, value: object = None) -> None:
        self._show_model()
        if not self._panel.fields["prompts"].enabled:
            self.touched.discard("prompts")  # the new model cannot do it
        wanted = self._wanted()
        with contextlib.suppress(ParameterError):  # half typed
            wanted |= self._sized()
        self._apply_untouched(wanted)

    def _show_model(self) -> None:
        name = self._panel.model.value
        self._panel.show_model_file(shown=name == CUSTOM)
        info = None if name == CUSTOM else model_info(name)
        text = f"{info.description} {info.notes}" if info else "A SAM 2 checkpoint of your own."
        self._panel.model.tooltip = f"<qt>{text}</qt>"
        self._panel.fields["prompts"].enabled = info is None or info.object_head
        self._show_asked()

    def _show_asked(self) -> None:
        """Enable what says where the model is asked: a grid's points, or a threshold."""
        objects = self._panel.fields["prompts"].value == "objects"
        for name in _OF_GRID:
            self._panel.fields[name].enabled = not objects
        self._panel.fields["object_score_thresh"].enabled = objects

    def _preset_changed(self, preset: str) -> None:
        self.touched.clear()
        self._apply(self._wanted())

    def _apply(self, values: Mapping[str, Any]) -> None:
        """Set fields without counting them as touched, and say so once."""
        # None points per side: the points of one's own say that.
        self.show({k: v for k, v in values.items() if (k, v) != ("points_per_side", None)})
        self._changed(True)

    def _field_changed(self, name: str) -> None:
        if name == "prompts":
            self._show_asked()
        if not self._setting:
            self.touched.add(name)
            if name in _LEADING:
                try:
                    self._follow()
                except ParameterError:
                    return  # half typed
            self._changed(name in LIVE)
