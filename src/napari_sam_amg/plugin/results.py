"""The last result of each image layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg.plugin.tuning import Result

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Image

    from napari_sam_amg.masks import Proposals
    from napari_sam_amg.plugin.planes import Plane


class Results:
    """Results of a viewer's image layers, so that going back to an image tunes its own.

    Parameters
    ----------
    viewer : napari.viewer.Viewer

    Attributes
    ----------
    current : Result or None
        That of the chosen image; of the last run, where the chosen image has none.
    """

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        self._viewer = viewer
        self._of: dict[Image, Result] = {}
        self.current: Result | None = None
        viewer.layers.events.removed.connect(self._forget)

    def add(self, plane: Plane, proposals: Proposals) -> Result:
        """Take in what was found in a plane, as the current one; it is not shown yet."""
        result = Result(self._viewer, plane, proposals)
        earlier = self._of.get(plane.layer, self.current)
        if earlier is not None:
            result.adopt(earlier)
        self._of[plane.layer] = self.current = result
        return result

    def choose(self, layer: Image | None) -> bool:
        """Go to the result of a layer, and tell whether there is one."""
        if layer is None or layer not in self._of:
            return False
        self.current = self._of[layer]
        return True

    def _forget(self, event: object = None) -> None:
        """Keep no result of which nothing is left in the viewer."""
        gone = [k for k, r in self._of.items() if k not in self._viewer.layers and r.is_gone]
        for layer in gone:
            del self._of[layer]
