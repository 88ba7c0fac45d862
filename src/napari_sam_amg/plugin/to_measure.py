"""What of a viewer is measured of a Labels layer, and in which channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.large.result import FOLDER, LargeResult
from napari_sam_amg.measurements import COLOURS
from napari_sam_amg.plugin.choice import image_layers
from napari_sam_amg.plugin.edited import labelled_masks_of_layer
from napari_sam_amg.plugin.layer_measurement import (
    LargeMeasurement,
    Measurement,
    StackMeasurement,
)
from napari_sam_amg.plugin.layers import PREVIEW, PROVENANCE, pixel_sides_um
from napari_sam_amg.plugin.placement import plane_axes
from napari_sam_amg.plugin.planes import level_data

if TYPE_CHECKING:
    from collections.abc import Sequence

    import napari.viewer
    import numpy.typing as npt
    from napari.layers import Image, Labels


_OF_RUN = ("identity", "pixels")
"""What a result says of how and from what it was made."""


def measurement(
    layer: Labels, viewer: napari.viewer.Viewer
) -> Measurement | StackMeasurement | LargeMeasurement:
    """Say what is to be measured of a Labels layer; of a single plane, labels are computed.

    Of a result that lies in a folder, masks and pixels are read a few rows at a time.

    Parameters
    ----------
    layer : napari.layers.Labels
    viewer : napari.viewer.Viewer
        Every image layer in it that has the same pixels, in the same place, gives a channel.

    Raises
    ------
    ImageError
        If the layer has several planes and no image has them too: there are no shapes of such
        objects to measure.
    ReadError
        If a result is no longer in the folder that it is read from.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(data.shape)
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    flat = len(axes) <= 2
    if flat:
        axes = plane_axes(shape)
    result = _in_folder(layer, data, [shape[axis] for axis in axes]) if flat else None
    channels: dict[str, Any] = {}
    for image in image_layers(viewer):
        pixels = (
            None if PREVIEW in image.metadata else _pixels(image, shape, axes, layer, flat=flat)
        )
        if pixels is not None:
            # Of a result in a folder colours stay together: they are read once.
            apart = image.rgb and result is None
            channels |= _colours(image.name, pixels) if apart else {image.name: pixels}
    if not flat:
        if not channels:
            raise ImageError(
                f"layer {layer.name!r} has several planes, and no image layer has the same ones "
                "in the same place: open the image that its objects are to be measured in"
            )
        return StackMeasurement(data, channels)
    sides = pixel_sides_um({"scale": layer.scale, "units": layer.units}, axes)
    if result is not None:
        return LargeMeasurement(result, channels, sides)
    ((_, labels, masks),) = labelled_masks_of_layer(
        data, {"name": layer.name, "metadata": layer.metadata}
    )
    return Measurement(labels, masks, channels, sides)


def _in_folder(layer: Labels, data: Any, shape: list[int]) -> LargeResult | None:
    """Return the result that a layer shows as it lies in a folder; None for any other layer.

    Labels that someone took into memory may have been changed there, and a layer of another shape
    is not the whole result: what they show counts. Lazy labels of its shape are taken for the
    result's own.
    """
    provenance = layer.metadata.get(PROVENANCE, {})
    if FOLDER not in layer.metadata or isinstance(data, np.ndarray):
        return None
    if shape != list(provenance.get("input", {}).get("shape", ()))[:2]:
        return None
    folder = layer.metadata[FOLDER]
    try:
        result = LargeResult.open(folder)
    except ReadError:
        raise ReadError(
            f"layer {layer.name!r}: its result is no longer in {folder}; open the result where it "
            "lies now with File > Open, and measure that layer"
        ) from None
    if any(result.provenance.get(key) != provenance.get(key) for key in _OF_RUN):
        raise ReadError(
            f"layer {layer.name!r}: its result is no longer in {folder}, where another run's is "
            f"now, of {result.provenance.get('date')}; open that with File > Open, and measure "
            "its layer"
        )
    return result


def _colours(name: str, pixels: Any) -> dict[str, Any]:
    return {f"{name} {colour}": pixels[..., i] for i, colour in enumerate(COLOURS)}


def _pixels(
    image: Image, shape: tuple[int, ...], axes: Sequence[int], layer: Labels, *, flat: bool
) -> Any:
    """Return the pixels of an image layer on which a Labels layer of `shape` lies; else None.

    Along axes that are not among `axes` it is a single place, left out if `flat`.
    """
    recorded = layer.metadata.get(PROVENANCE, {}).get("plane", {}).get("index")
    for level in range(len(image.data) if image.multiscale else 1):
        data = level_data(image, level)
        sides = tuple(data.shape[: image.ndim])
        if len(sides) != len(shape) or any(sides[axis] != shape[axis] for axis in axes):
            continue
        offset = np.zeros(len(shape), dtype=int)
        for axis, length in enumerate(sides):
            if axis not in axes and length > 1:
                if recorded is None or len(recorded) != len(shape):
                    return None  # nothing says which of its planes
                offset[axis] = min(int(recorded[axis] or 0), length - 1)
        factors = image.downsample_factors[level] if image.multiscale else np.ones(len(shape))
        if not _in_place(image, axes, offset, np.asarray(factors, dtype=float), shape, layer):
            return None
        return data[
            tuple(
                slice(None) if axis in axes else at if flat else slice(at, at + 1)
                for axis, at in enumerate(offset.tolist())
            )
        ]
    return None


def _in_place(
    image: Image,
    axes: Sequence[int],
    offset: npt.NDArray[np.int64],
    factors: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    layer: Labels,
) -> bool:
    """Return whether an image's pixels lie on those of a Labels layer, to half a pixel."""
    # The first corner and those beside it tell of any shift, turn and stretch.
    corners = np.zeros((1 + len(axes), len(shape)))
    for number, axis in enumerate(axes, start=1):
        corners[number, axis] = shape[axis] - 1
    for at in corners:
        found = layer.world_to_data(image.data_to_world((at + offset) * factors))
        if (np.abs(np.asarray(found) - at)[list(axes)] > 0.5).any():
            return False
    return True
