"""The form: one magicgui widget for each parameter, made from the parameter model."""

from __future__ import annotations

import contextlib
import types
import typing
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from magicgui.widgets import CheckBox, ComboBox, FloatSlider, FloatSpinBox, LineEdit, SpinBox

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters, ParameterSet, limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from magicgui.widgets.bases import BaseValueWidget

_LARGEST_INT = 2**31 - 1
_SLIDERS = {"pred_iou_thresh", "stability_score_thresh", "object_score_thresh", "min_overlap"}
_SLIDERS |= {"box_nms_thresh", "crop_nms_thresh", "crop_overlap_ratio"}

CHOICES = {
    "smallest_on_top": "smallest on top",
    "best_score_on_top": "best score on top",
    "largest_on_top": "largest on top",
    "discard_overlaps": "leave shared pixels empty",
    "binary_mask": "images",
    "uncompressed_rle": "run lengths",
    "coco_rle": "COCO run lengths",
    "grid": "at a grid of points",
    "objects": "where it sees objects",
    "interpolate": "by interpolation",
    "leave_open": "not at all",
}
"""What the choices of parameters are called in the window."""


NOTHING = {
    "object_diameter": "as the model was trained",
    "scale": "a tile fills the input",
    "tile_size": "the whole image",
    "tile_halo": "an eighth of a tile",
    "max_distance": "the median diameter",
}
"""What stands in grey where nothing is written; elsewhere "no limit"."""


class OptionalNumber(LineEdit):
    """A number, or None where nothing is written.

    Parameters
    ----------
    kind : type
        int or float.
    minimum, maximum : int or float
        Smallest and largest number that is allowed.
    nothing : str
        Shown in grey for None.
    **keywords
        As for `magicgui.widgets.LineEdit`.
    """

    def __init__(
        self,
        *,
        kind: type[int] | type[float],
        minimum: float,
        maximum: float,
        nothing: str,
        value: float | None,
        **keywords: Any,
    ) -> None:
        from qtpy.QtGui import QDoubleValidator, QIntValidator

        self._kind, self._range = kind, (minimum, maximum)
        super().__init__(value="", **keywords)
        if value is not None:
            self.set_value(value)
        self.native.setPlaceholderText(nothing)
        if kind is int:
            low, high = int(minimum), int(maximum)
            self.native.setValidator(QIntValidator(low, high, self.native))
        else:
            self.native.setValidator(QDoubleValidator(minimum, maximum, 6, self.native))

    def get_value(self) -> Any:
        """Return the number, or None; ParameterError if something else is written."""
        text = str(super().get_value()).strip().replace(",", ".")
        try:
            return self._kind(text) if text else None
        except ValueError:
            raise ParameterError(
                f"{self.name}: {text!r} is no number; write one, or nothing"
            ) from None

    def set_value(self, value: Any) -> None:
        """Set a number, or None."""
        low, high = self._range
        if value is None or value == "":
            super().set_value("")
            return
        whole = self._kind is int
        if (whole and int(value) != float(value)) or not low <= value <= high:
            raise ParameterError(
                f"{self.name}={value}: allowed are {'whole ' if whole else ''}numbers from "
                f"{low:g} to {high:g}, or None"
            )
        super().set_value(str(self._kind(value)))

    def _on_value_change(self, value: Any = None) -> None:
        # magicgui takes None for "no event"; here it is a value like any other.
        with contextlib.suppress(ParameterError):  # half typed: said when it is to be used
            self.changed.emit(self.get_value())


class ExactSlider(FloatSlider):
    """A slider with steps that keeps a value set by a program as it was given."""

    _exact: float | None = None

    def get_value(self) -> float:
        """Return the exact value while the slider stands where it put it."""
        shown = float(super().get_value())
        if self._exact is not None and abs(shown - self._exact) <= float(self.step or 0):
            return self._exact
        return shown

    def set_value(self, value: float) -> None:
        """Set a value; the slider goes to the nearest step."""
        self._exact = float(value)
        super().set_value(value)

    def _on_value_change(self, value: float | None = None) -> None:
        # Moved by hand, it says what it shows.
        if self._exact is not None and value is not None:
            near = abs(value - self._exact) <= float(self.step or 0)
            value = self._exact if near else value
            self._exact = self._exact if near else None
        super()._on_value_change(value)


class GridsEdit(LineEdit):
    """Own points as a nested list of (x, y) shares; empty for None."""

    def get_value(self) -> Any:
        """Return the grids as typed, or None; whether they are right, `AmgParameters` says."""
        import json

        text = super().get_value().strip()
        if not text:
            return None
        try:
            return json.loads(text.replace("(", "[").replace(")", "]").replace(",]", "]"))
        except ValueError:
            raise ParameterError(
                f"point_grids: {text[:60]!r} is no list of lists of [x, y]; write for example "
                "[[[0.25, 0.5], [0.75, 0.5]]], or leave it empty for the regular grid"
            ) from None

    def set_value(self, value: Any) -> None:
        """Set grids (nested sequences or arrays), or None."""
        import json

        if value is None or isinstance(value, str):
            super().set_value(value or "")
            return
        plain = AmgParameters(point_grids=value).point_grids
        super().set_value(json.dumps(plain))


def make_field(
    name: str, value: Any, *, model: type[ParameterSet] = AmgParameters, prefix: str = ""
) -> BaseValueWidget[Any]:
    """Make the widget of one parameter.

    Parameters
    ----------
    name : str
        Name of a field of `model`.
    value
        Its first value.
    model : type of ParameterSet
    prefix : str
        What the widget's name begins with, before the parameter's.

    Returns
    -------
    BaseValueWidget
        With the parameter's title, help and range.
    """
    field = model.model_fields[name]
    low, high, exclusive = limits(name, model)
    common: dict[str, Any] = {
        "name": prefix + name,
        "label": field.title,
        "tooltip": f"<qt>{field.description}</qt>",
        "value": value,
    }
    kind = _kind(field.annotation)
    if name == "point_grids":
        return GridsEdit(**common)
    if kind == "choice":
        pairs = [(CHOICES[choice], choice) for choice in _literal(field.annotation)]
        return ComboBox(**common, choices=pairs)
    if kind is bool:
        return CheckBox(**common)
    if _optional(field.annotation) and name != "points_per_side":
        span = {"minimum": low or 0, "maximum": _LARGEST_INT if high is None else high}
        return OptionalNumber(**common, kind=kind, nothing=NOTHING.get(name, "no limit"), **span)
    if kind is int:
        most = int(high if high is not None else _LARGEST_INT)
        return SpinBox(**common, min=int(low or 0), max=most)
    step = 0.01 if name in _SLIDERS else 0.1
    common |= {"min": low, "max": high - step if exclusive and high else high, "step": step}
    return ExactSlider(**common) if name in _SLIDERS else FloatSpinBox(**common)


def make_fields(values: Mapping[str, Any]) -> dict[str, BaseValueWidget[Any]]:
    """Make all parameters' widgets, by name, in the order of the model."""
    return {name: make_field(name, values[name]) for name in AmgParameters.model_fields}


def _parts(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is typing.Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def _optional(annotation: Any) -> bool:
    return type(None) in _parts(annotation)


def _literal(annotation: Any) -> tuple[str, ...]:
    return next((get_args(p) for p in _parts(annotation) if get_origin(p) is Literal), ())


def _kind(annotation: Any) -> Any:
    if _literal(annotation):
        return "choice"
    return next(p for p in _parts(annotation) if p is not type(None))
