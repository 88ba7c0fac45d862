"""What the model sees: brightness, channels and level, with a picture of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox, PushButton
from napari.qt.threading import create_worker

from napari_sam_amg.errors import ImageError, SamAmgError
from napari_sam_amg.plugin.choice import LayerChoices, image_layers
from napari_sam_amg.plugin.layers import PREVIEW
from napari_sam_amg.plugin.layout import show_row
from napari_sam_amg.plugin.look import MOST_TO_READ, rgb_of
from napari_sam_amg.plugin.picture import LAYERS, looked_at
from napari_sam_amg.plugin.section import Host, Section
from napari_sam_amg.plugin.thumbnail import Thumbnail

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari.layers
    import numpy as np
    import numpy.typing as npt
    from napari.qt.threading import FunctionWorker

    from napari_sam_amg.models.profiles import InputProfile
    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.look import Look
    from napari_sam_amg.plugin.planes import Plane

_AS_IT_IS = "as it is"
_AUTOMATIC = "automatic"


class Seeing(Section):
    """How the pixels of the image become what the model is given."""

    title = "What the model sees"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.brightness = ComboBox(
            name="brightness",
            label="Brightness",
            choices=[
                ("as in training, this plane", "plane"),
                ("as in training, whole stack", "stack"),
                ("as the layer shows it", "layer"),
            ],
            tooltip="<qt>What becomes black and white. As in training: by percentiles of the "
            "plane, or of the whole stack, so that its slices agree. As the layer shows it: "
            "its contrast limits and gamma.</qt>",
        )
        self.channels = ComboBox(
            name="channels",
            label="Channels",
            choices=[_AS_IT_IS],
            tooltip="<qt>Give the model up to three channels at once, as red, green and blue: "
            "those along one axis of the layer, or several layers. Each gets its own "
            "brightness.</qt>",
        )
        self.colours = tuple(
            ComboBox(
                name=f"{colour}_layer",
                label=colour.capitalize(),
                choices=lambda _: image_layers(host.viewer),
                nullable=True,
                tooltip="The layer that becomes this colour; none for black.",
            )
            for colour in ("red", "green", "blue")
        )
        self.level = ComboBox(
            name="level",
            label="Level",
            choices=[_AUTOMATIC],
            tooltip="<qt>Resolution of a multiscale layer. Automatic is the finest with at "
            "most 16 million pixels.</qt>",
        )
        self.preview_layer = PushButton(
            name="preview_layer",
            text="Add as layer",
            tooltip="<qt>Add what the model sees as an image layer, pixel by pixel.</qt>",
        )
        self.thumbnail = Thumbnail(self._ask)
        self.rows = [self.brightness, self.channels, *self.colours, self.level]
        self.rows += [self.thumbnail, self.preview_layer]
        self._worker: FunctionWorker[Any] | None = None
        self._outdated = False
        self._followed: napari.layers.Image | None = None
        for field in (self.brightness, self.channels, *self.colours, self.level):
            field.changed.connect(self.thumbnail.refresh)
        self.channels.changed.connect(self._show_colours)
        self.preview_layer.changed.connect(self._add_layer)
        host.image_changed.connect(self._image_changed)
        self._follows = LayerChoices(host.viewer, *self.colours)
        host.viewer.dims.events.current_step.connect(self.thumbnail.refresh)
        host.viewer.dims.events.order.connect(self.thumbnail.refresh)

    def prepare(self, job: Job) -> Job:
        """Give a job the chosen pixels; another layer than the chosen one is seen alone."""
        plane, look = self._looked_at(job.plane.layer, job.at, finest=job.finest)
        return replace(job, plane=plane, look=look)

    # -- fields -----------------------------------------------------------------------

    def laid_out(self) -> None:
        """Hide what the image has no use for."""
        self._image_changed()

    def _image_changed(self) -> None:
        layer = self._host.image
        axes = [] if layer is None else _colour_axes(layer)
        choices = [(_AS_IT_IS, _AS_IT_IS), *axes, ("layers as colours", LAYERS)]
        levels: list[tuple[str, Any]] = [(_AUTOMATIC, _AUTOMATIC)]
        if layer is not None and layer.multiscale:
            sizes = [" x ".join(map(str, data.shape)) for data in layer.data]
            levels += [(f"{number}: {size}", number) for number, size in enumerate(sizes)]
        _choose_from(self.channels, choices)
        _choose_from(self.level, levels)
        show_row(self.level, shown=len(levels) > 1)
        self._show_colours()
        self._follow(layer)
        self.thumbnail.refresh()

    def _show_colours(self, _: object = None) -> None:
        for field in self.colours:
            show_row(field, shown=self.channels.value == LAYERS)

    def _follow(self, layer: napari.layers.Image | None) -> None:
        """Draw the picture anew when the layer is shown in another way."""
        for which, connect in ((self._followed, False), (layer, True)):
            if which is not None:
                for name in ("contrast_limits", "gamma", "data"):
                    event = getattr(which.events, name)
                    (event.connect if connect else event.disconnect)(self.thumbnail.refresh)
        self._followed = layer

    # -- the picture ------------------------------------------------------------------

    def _looked_at(
        self,
        layer: napari.layers.Image,
        at: Mapping[int, int] | None = None,
        *,
        finest: bool = False,
    ) -> tuple[Plane, Look]:
        own = layer is self._host.image
        level: Any = self.level.value if own else _AUTOMATIC
        channels: Any = self.channels.value if own else _AS_IT_IS
        return looked_at(
            layer,
            self._host.viewer,
            level=(_finest(layer) if finest else None) if level == _AUTOMATIC else level,
            brightness=self.brightness.value,
            channels=None if channels == _AS_IT_IS else channels,
            colours=[field.value for field in self.colours],
            at=at,
        )

    def _chosen(self) -> tuple[Plane, Look]:
        """Return what is chosen to be looked at; SamAmgError if that cannot be."""
        layer = self._host.image
        if layer is None:
            raise ImageError("No image is chosen.")
        return self._looked_at(layer)

    def _ask(self) -> None:
        """Have the picture made in a worker; the last wish counts."""
        if self._worker is not None:
            self._outdated = True
            return
        try:
            plane, look = self._chosen()
        except SamAmgError as error:
            self.thumbnail.show_text(str(error))
            return
        self._outdated = False
        self._worker = create_worker(_seen, plane, look, self._host.profile)
        self._worker.returned.connect(self.thumbnail.show_result)
        self._worker.finished.connect(self._made)
        self._worker.start()

    def _made(self) -> None:
        self._worker = None
        if self._outdated:
            self.thumbnail.refresh()

    def _add_layer(self) -> None:
        try:
            plane, look = self._chosen()
        except SamAmgError as error:
            self._host.say(str(error))
            return
        seen = _seen(plane, look, self._host.profile)
        if isinstance(seen, str):
            self._host.say(seen)
            return
        self._host.viewer.add_image(
            plane.placed(seen),
            rgb=True,
            name=f"{plane.name} as the model sees it",
            metadata={PREVIEW: True},
            **plane.keywords,
        )
        self._host.viewer.layers.selection.active = plane.layer


def _seen(plane: Plane, look: Look, profile: InputProfile) -> npt.NDArray[np.uint8] | str:
    """Return the exact 8-bit RGB that the model would get, or why there is none."""
    height, width = plane.shape
    if height * width > MOST_TO_READ and not plane.in_memory:
        return f"{height} x {width} pixels that are not in memory: too many for a picture"
    try:
        image, contrast, gamma = look.prepared(plane.computed(), profile)
        return rgb_of(image, profile, contrast, gamma, plane.name)
    except Exception as error:  # noqa: BLE001 - layers may compute anything; said in its place
        return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _finest(layer: napari.layers.Image) -> int | None:
    return 0 if layer.multiscale else None


def _colour_axes(layer: napari.layers.Image) -> list[tuple[str, Any]]:
    """Return the axes that may hold channels: short ones in front of the plane's."""
    if layer.rgb or layer.ndim < 3:
        return []
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return [
        (f"axis {axis} ({shape[axis]} channels)", axis)
        for axis in range(layer.ndim)
        if 2 <= shape[axis] <= 4
    ]


def _choose_from(field: ComboBox, choices: list[tuple[str, Any]]) -> None:
    """Offer other choices, and keep the value where it is among them."""
    value = field.value
    with field.changed.blocked():
        field.choices = choices
        known = [choice for _, choice in choices]
        field.value = value if value in known else known[0]
