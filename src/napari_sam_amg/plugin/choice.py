"""The choice of the image layer, in step with the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image

if TYPE_CHECKING:
    import napari.viewer
    from magicgui.widgets import ComboBox


def image_layers(viewer: napari.viewer.Viewer) -> list[Image]:
    """Return the image layers of a viewer, from the lowest to the topmost."""
    return [layer for layer in viewer.layers if isinstance(layer, Image)]


def renew_choices(field: ComboBox) -> None:
    """Ask a field for its choices anew; what was chosen stays, also under another name."""
    value = field.value
    with field.changed.blocked():
        field.reset_choices()
        if field.value is not value and value in field.choices:
            field.value = value
    if field.value is not value:
        field.changed.emit(field.value)


class LayerChoices:
    """Renews fields' choices whenever layers come, go or are renamed.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Holds this by a weak reference only: keep it as long as the fields.
    *fields : ComboBox
        Their choices are made by functions.
    """

    def __init__(self, viewer: napari.viewer.Viewer, *fields: ComboBox) -> None:
        self._fields = fields
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed):
            event.connect(self._renew)

    def _renew(self, event: object = None) -> None:
        for field in self._fields:
            renew_choices(field)


class ImageChoice(LayerChoices):
    """Keeps a field's choices those of the viewer, and its value the active image layer.

    An active layer that is no image leaves the choice as it is.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    field : ComboBox
        Its choices are made by `image_layers`.
    """

    def __init__(self, viewer: napari.viewer.Viewer, field: ComboBox) -> None:
        self._viewer = viewer
        self._field = field
        super().__init__(viewer, field)
        viewer.layers.selection.events.active.connect(self._follow)
        self._follow()

    def _renew(self, event: object = None) -> None:
        super()._renew()
        images = image_layers(self._viewer)
        if self._field.value is None and images:
            self._field.value = images[-1]

    def _follow(self, event: object = None) -> None:
        self._renew()
        active = self._viewer.layers.selection.active
        if isinstance(active, Image):
            self._field.value = active
