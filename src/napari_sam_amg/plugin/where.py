"""Where objects are looked for: everywhere, in the view, or in shapes or labels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Labels, Shapes

from napari_sam_amg.plugin.choice import LayerChoices
from napari_sam_amg.plugin.regions import labels_region, shapes_region, view_region
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    import napari.viewer

    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.planes import Plane
    from napari_sam_amg.plugin.regions import Mask

_EVERYWHERE, _VIEW = "whole image", "current view"


class Where(Section):
    """Limits a run to a part of the image."""

    title = "Where"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.where = ComboBox(
            name="where",
            label="Look in",
            choices=self._choices,
            tooltip="<qt>The whole image, what you see of it, or the shapes or labels of a "
            "layer. The points are laid inside, about as many as otherwise in the whole "
            "image; objects at its edge are found whole. Of shapes the selected ones count, "
            "if any is selected.</qt>",
        )
        self.rows = [self.where]
        self._follows = LayerChoices(host.viewer, self.where)

    def prepare(self, job: Job) -> Job:
        """Limit a job to the chosen region."""
        chosen = self.where.value
        if chosen == _EVERYWHERE:
            return job
        return replace(job, region=region_of(chosen, job.plane, self._host.viewer))

    def _choices(self, _: object = None) -> list[tuple[str, Any]]:
        layers = [x for x in self._host.viewer.layers if isinstance(x, Shapes | Labels)]
        return [
            (_EVERYWHERE, _EVERYWHERE),
            (_VIEW, _VIEW),
            *((layer.name, layer) for layer in layers),
        ]


def region_of(chosen: Any, plane: Plane, viewer: napari.viewer.Viewer) -> Mask:
    """Return the pixels of a plane that a Shapes or Labels layer covers, or the view."""
    if isinstance(chosen, Shapes):
        return shapes_region(plane, chosen, viewer)
    if isinstance(chosen, Labels):
        return labels_region(plane, chosen, viewer)
    return view_region(plane, viewer)
