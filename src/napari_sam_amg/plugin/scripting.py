"""One call from a script in napari's console or a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    import napari.layers
    import napari.viewer
    import numpy.typing as npt

    from napari_sam_amg.engine.arguments import Precision


def segment_layer(
    layer: napari.layers.Image,
    viewer: napari.viewer.Viewer,
    model: str | Path = "nuclei-nano",
    *,
    device: str = "auto",
    precision: Precision = "exact",
    contrast: tuple[float, float] | None = None,
    region: npt.NDArray[np.bool_] | napari.layers.Shapes | napari.layers.Labels | None = None,
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
    region : array of bool, Shapes or Labels, optional
        Where to look: pixels of the plane, or those that a layer's shapes (the selected
        ones, if any is) or labels cover.

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
    from napari_sam_amg.plugin.preferences import preferred_model_folder
    from napari_sam_amg.plugin.torch_import import prepare_torch_import
    from napari_sam_amg.plugin.tuning import Result
    from napari_sam_amg.plugin.where import region_of

    plane = displayed_plane(layer, viewer)
    prepare_torch_import()
    from napari_sam_amg.engine import AutomaticMaskGenerator

    generator = AutomaticMaskGenerator(
        model,
        device=device,
        precision=precision,
        contrast=contrast,
        model_folder=preferred_model_folder(),
        **parameters,
    )
    if region is not None and not isinstance(region, np.ndarray):
        region = region_of(region, plane, viewer)
    part = None if region is None else generator.region(region)
    image = plane.computed(None if part is None else part.slices)
    proposals = generator.propose(image, name=plane.name, region=part)
    proposals.provenance["plane"] = plane.provenance()
    if contrast is None:  # as the widget has it
        proposals.provenance["brightness"] = "plane"
    result = Result(viewer, plane, proposals)
    result.show()
    return result.layer
