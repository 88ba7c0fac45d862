"""Size by example: a line or box over one object says which parameters fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from magicgui.widgets import Label, PushButton

from napari_sam_amg.errors import ParameterError, SamAmgError
from napari_sam_amg.plugin.example import Proposal, proposal
from napari_sam_amg.plugin.layout import Paragraph
from napari_sam_amg.plugin.planes import displayed_plane
from napari_sam_amg.plugin.regions import to_plane
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from napari.layers import Shapes

    from napari_sam_amg.plugin.planes import Plane

_NAME = "one object"


class Sizing(Section):
    """Proposes parameters from one typical object."""

    title = "Object size"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.draw_example = PushButton(
            name="draw_example",
            text="Draw one object",
            tooltip="<qt>Draw a line along one typical object, or a box around it, in a layer "
            "of its own; parameters that fit it are then proposed.</qt>",
        )
        self.apply_example = PushButton(
            name="apply_example",
            text="Use these",
            enabled=False,
            tooltip="<qt>Set the diameter, and all that follows from it, as proposed.</qt>",
        )
        self.example = Label(name="example", value="")
        self.rows = [(self.draw_example, self.apply_example), Paragraph(self.example)]
        self._layer: Shapes | None = None
        self._proposal: Proposal | None = None
        self.draw_example.changed.connect(self._draw)
        self.apply_example.changed.connect(self._apply)

    def _draw(self) -> None:
        image, viewer = self._host.image, self._host.viewer
        if image is None:
            self._host.say("There is no image to draw on.")
            return
        plane = displayed_plane(image, viewer)
        if self._layer is None or self._layer not in viewer.layers:
            scale = np.asarray(plane.keywords["scale"])[plane.axes]
            self._layer = viewer.add_shapes(
                ndim=2,
                name=_NAME,
                units=[plane.keywords["units"][axis] for axis in plane.axes],
                edge_width=2 * float(np.abs(scale).mean()),
                face_color="transparent",
                edge_color="yellow",
            )
            self._layer.events.data.connect(self._drawn)
        viewer.layers.selection.active = self._layer
        self._layer.mode = "add_line"
        self._host.say("Draw a line along one typical object, or a box around it.")

    def _drawn(self, event: object = None) -> None:
        """Measure what was drawn last."""
        if self._layer is None or not len(self._layer.data):
            return
        self._proposal = None
        try:
            self._proposal = self._proposed(self._layer)
            self.example.value = self._proposal.why
        except SamAmgError as error:
            self.example.value = str(error)
        self.apply_example.enabled = self._proposal is not None
        self.example.native.setMinimumHeight(
            self.example.native.heightForWidth(max(120, self.example.native.width()))
        )

    def _proposed(self, shapes: Shapes) -> Proposal:
        image, viewer = self._host.image, self._host.viewer
        if image is None:
            raise ParameterError("there is no image to measure in")
        plane = displayed_plane(image, viewer)
        world = np.array([shapes.data_to_world(corner) for corner in shapes.data[-1]])
        places = to_plane(plane, world, viewer)
        if places is None:
            raise ParameterError("the example lies in another plane: draw it in this one")
        length, breadth = _sides(places, shapes.shape_type[-1])
        trained = self._host.profile.object_diameter
        found = proposal(length, breadth, plane.shape, trained, self._host.input_size)
        return Proposal(found.parameters, found.why + _physical(plane, length, breadth))

    def _apply(self) -> None:
        self._drawn()  # the model may be another one by now
        if self._proposal is not None:
            self._host.set_parameters(self._proposal.parameters)
            self._host.say("The diameter and what follows from it are set: press Run.")


def _sides(places: np.ndarray, kind: str) -> tuple[float, float]:
    """Return the longer and shorter side of what was drawn; a line stands for both."""
    if kind in ("line", "path"):
        length = float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())
        return length, length
    if kind in ("rectangle", "ellipse"):
        sides = [float(np.linalg.norm(places[i + 1] - places[i])) for i in (0, 1)]
    else:
        sides = [float(side) for side in np.ptp(places, axis=0)]
    return max(sides), min(sides)


def _physical(plane: Plane, length: float, breadth: float) -> str:
    """Say a size in the layer's units, where these are not pixels."""
    unit = plane.keywords["units"][plane.axes[-1]]
    name = f"{unit:~}" if hasattr(unit, "dimensionality") else str(unit)
    if "pix" in name or not name:
        return ""
    scale = float(np.abs(np.asarray(plane.keywords["scale"])[plane.axes]).mean())
    return f" That is {length * scale:.3g} x {breadth * scale:.3g} {name}."
