"""Area limits in square micrometres, beside those in pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from magicgui.widgets import LineEdit

from napari_sam_amg.errors import ParameterError, SamAmgError
from napari_sam_amg.plugin.layers import pixel_area_um2
from napari_sam_amg.plugin.planes import default_level, shown_axes
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from napari.layers import Image

_ROUNDING = 1e-9
"""A limit that is a whole number of pixels stays that number in spite of rounding."""


class AreaEdit(LineEdit):
    """An area as a number, or None where nothing is written."""

    def get_value(self) -> Any:
        """Return the area; ParameterError for anything but a number from 0."""
        text = str(super().get_value()).strip().replace(",", ".")
        try:
            area = float(text) if text else None
        except ValueError:
            area = math.nan
        if area is not None and not 0 <= area < math.inf:
            raise ParameterError(f"{self.name}: {text!r} is no area; write a number such as 12.5")
        return area

    def set_value(self, value: Any) -> None:
        """Set an area, or None."""
        super().set_value("" if value is None or value == "" else f"{float(value):.6g}")


class Areas(Section):
    """The smallest and the largest area in um^2; the limits in pixels follow, and lead.

    They can be used where the image's units are lengths.
    """

    title = "Overlaps and size"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        tooltip = (
            "<qt>The {} area in square micrometres, where the image's units and scale are known. "
            "It sets the limit in pixels, which are what counts.</qt>"
        )
        self._edits = {
            name: AreaEdit(name=f"{name}_um2", label=label, tooltip=tooltip.format(word))
            for name, label, word in (
                ("min_area", "Minimum area, µm²", "smallest"),
                ("max_area", "Maximum area, µm²", "largest"),
            )
        }
        for edit in self._edits.values():
            edit.native.setPlaceholderText("no limit")
        self.rows = list(self._edits.values())
        self._pixel: float | None = None
        self._layer: Image | None = None
        self._following = False
        host.image_changed.connect(self._image_changed)
        host.viewer.dims.events.order.connect(self._measure)

    def laid_out(self) -> None:
        """Follow the limits in pixels."""
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
            self._pixel = pixel_area_um2(
                keywords | {"units": layer.units}, shown_axes(layer, viewer)
            )
        for edit in self._edits.values():
            edit.enabled = self._pixel is not None
        self._follow()

    def _follow(self, _: object = None) -> None:
        """Show what the limits in pixels are in um^2."""
        if self._following:
            return
        for name in self._edits:
            edit: Any = self._edits[name]
            pixels = self._host.parameter_field(name).value
            known = self._pixel is not None and pixels is not None
            with edit.changed.blocked():
                edit.value = pixels * self._pixel if known else None

    def _set(self, name: str) -> None:
        """Set the limit in pixels."""
        if self._pixel is None:
            return
        try:
            area: Any = self._edits[name].value
            pixels = None
            if area is not None and name == "min_area":
                pixels = math.ceil(area / self._pixel - _ROUNDING)
            elif area is not None:
                pixels = math.floor(area / self._pixel + _ROUNDING)
            self._following = True  # what is being typed stays as it is typed
            self._host.set_parameters({name: pixels})
        except SamAmgError as error:
            self._host.say(str(error))
        finally:
            self._following = False
