"""Sizes in micrometres beside those in pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import LineEdit

from napari_sam_amg.errors import ParameterError, SamAmgError
from napari_sam_amg.plugin.form import NOTHING
from napari_sam_amg.plugin.layers import pixel_area_um2
from napari_sam_amg.plugin.planes import default_level, shown_axes
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from napari.layers import Image

_ROUNDING = 1e-9
"""A limit that is a whole number of pixels stays that number in spite of rounding."""


class SizeEdit(LineEdit):
    """A size as a number, or None where nothing is written."""

    def get_value(self) -> Any:
        """Return the size; ParameterError for anything but a number from 0."""
        text = str(super().get_value()).strip().replace(",", ".")
        try:
            area = float(text) if text else None
        except ValueError:
            area = math.nan
        if area is not None and not 0 <= area < math.inf:
            raise ParameterError(f"{self.name}: {text!r} is no size; write a number such as 12.5")
        return area

    def set_value(self, value: Any) -> None:
        """Set a size, or None."""
        super().set_value("" if value is None or value == "" else f"{float(value):.6g}")


class PhysicalSizes(Section):
    """Sizes in units of length; those in pixels follow, and lead.

    They can be used where the image's units are lengths.
    """

    power = 1
    """1 for lengths, 2 for areas."""
    quantities: tuple[tuple[str, str, str, str], ...] = ()
    """Name of the parameter, the field's name, its label, and what it is."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._edits = {
            parameter: SizeEdit(
                name=name,
                label=label,
                tooltip=f"<qt>{what}, where the image's units and scale are known. It sets the "
                "field in pixels, which is what counts.</qt>",
            )
            for parameter, name, label, what in self.quantities
        }
        for parameter, edit in self._edits.items():
            edit.native.setPlaceholderText(NOTHING.get(parameter, "no limit"))
        self.rows = list(self._edits.values())
        self._pixel: float | None = None
        self._layer: Image | None = None
        self._following = False
        host.image_changed.connect(self._image_changed)
        host.viewer.dims.events.order.connect(self._measure)

    def laid_out(self) -> None:
        """Follow the sizes in pixels."""
        for name, edit in self._edits.items():
            self._host.parameter_field(name).changed.connect(self._follow)
            edit.changed.connect(lambda _=None, name=name: self._set(name))
        self._image_changed()

    def _image_changed(self) -> None:
        layer = self._host.image
        if self._layer is not None:
            self._layer.events.scale.disconnect(self._measure)
            self._layer.events.units.disconnect(self._measure)
        self._layer = layer
        if layer is not None:
            layer.events.scale.connect(self._measure)
            layer.events.units.connect(self._measure)
        self._measure()

    def _measure(self, _: object = None) -> None:
        """Find the size of a pixel of the displayed plane; nothing of the image is read."""
        layer, viewer = self._layer, self._host.viewer
        self._pixel = None
        if layer is not None and layer.ndim >= 2:
            factors = 1.0
            if layer.multiscale:
                factors = layer.downsample_factors[default_level(layer)]
            keywords = {"scale": layer.scale * np.broadcast_to(factors, layer.ndim)}
            area = pixel_area_um2(keywords | {"units": layer.units}, shown_axes(layer, viewer))
            self._pixel = None if area is None else area ** (self.power / 2)
        for edit in self._edits.values():
            edit.enabled = self._pixel is not None
        self._follow()

    def _follow(self, _: object = None) -> None:
        """Show what the sizes in pixels are in micrometres."""
        if self._following:
            return
        for name in self._edits:
            edit: Any = self._edits[name]
            try:
                pixels = self._host.parameter_field(name).value
            except ParameterError:  # half typed
                pixels = None
            known = self._pixel is not None and pixels is not None
            with edit.changed.blocked():
                edit.value = pixels * self._pixel if known else None

    def _set(self, name: str) -> None:
        """Set the size in pixels."""
        if self._pixel is None:
            return
        try:
            size: Any = self._edits[name].value
            pixels = None if size is None else self._in_pixels(name, size / self._pixel)
            self._following = True  # what is being typed stays as it is typed
            self._host.set_parameters({name: pixels})
        except SamAmgError as error:
            self._host.say(str(error))
        finally:
            self._following = False

    def _in_pixels(self, name: str, pixels: float) -> float:
        return pixels


class Diameter(PhysicalSizes):
    """The diameter of a typical object in um."""

    title = "Object size"
    quantities = (
        (
            "object_diameter",
            "object_diameter_um",
            "Object diameter, µm",
            "Diameter of a typical object in micrometres",
        ),
    )


class Areas(PhysicalSizes):
    """The smallest and the largest area in um^2."""

    title = "Overlaps and size"
    power = 2
    quantities = (
        (
            "min_area",
            "min_area_um2",
            "Minimum area, µm²",
            "The smallest area in square micrometres",
        ),
        (
            "max_area",
            "max_area_um2",
            "Maximum area, µm²",
            "The largest area in square micrometres",
        ),
    )

    def _in_pixels(self, name: str, pixels: float) -> float:
        if name == "min_area":
            return math.ceil(pixels - _ROUNDING)
        return math.floor(pixels + _ROUNDING)
