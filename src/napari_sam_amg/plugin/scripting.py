"""One call from a script in napari's console or a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import napari.layers
    import napari.viewer

    from napari_sam_amg.engine.arguments import Precision


def segment_layer(
    layer: napari.layers.Image,
    viewer: napari.viewer.Viewer,
    model: str | Path = "nuclei-nano",
    *,
    device: str = "auto",
    precision: Precision = "exact",
    contrast: tuple[float, float] | None = None,
    **parameters: Any,
) -> napari.layers.Labels:
    """Find all objects in the displayed plane of an image layer and show them.

    The same layer as the widget adds; here the call returns when it is done.

    Parameters
    ----------
    layer : napari.layers.Image
    viewer : napari.viewer.Viewer
        The plane that it shows is used, and the result is added to it.
    model : str or Path
        A name from `list_models`, or the path of a checkpoint.
    device, precision, contrast, **parameters
        As for `AutomaticMaskGenerator`.

    Returns
    -------
    napari.layers.Labels
        Features and overlapping masks included; also in ``viewer.layers``.

    Raises
    ------
    SamAmgError
        As `AutomaticMaskGenerator` does.
    """
    from napari_sam_amg.plugin.planes import displayed_plane
    from napari_sam_amg.plugin.triton_guard import open_triton_apart
    from napari_sam_amg.plugin.tuning import Result

    plane = displayed_plane(layer, viewer)
    open_triton_apart()
    from napari_sam_amg.engine import AutomaticMaskGenerator

    generator = AutomaticMaskGenerator(
        model,
        device=device,
        precision=precision,
        contrast=contrast,
        **parameters,
    )
    result = Result(viewer, plane, generator.propose(plane.computed(), name=plane.name))
    result.show()
    return result.layer
