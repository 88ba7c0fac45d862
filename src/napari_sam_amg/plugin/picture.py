"""From a layer and the choices of a user to the pixels that are looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.plugin.look import Brightness, Channel, Look, Stacked
from napari_sam_amg.plugin.planes import Plane, displayed_plane, level_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import napari.layers
    import napari.viewer

LAYERS = "layers"
"""Says that the channels are layers."""

_COLOURS = 3


def looked_at(
    layer: napari.layers.Image,
    viewer: napari.viewer.Viewer,
    *,
    level: int | None = None,
    brightness: Brightness = "plane",
    channels: int | str | None = None,
    colours: Sequence[napari.layers.Image | None] = (),
    at: Mapping[int, int] | None = None,
) -> tuple[Plane, Look]:
    """Return the displayed plane of a layer, and how the model is to see it.

    Parameters
    ----------
    layer : napari.layers.Image
    viewer : napari.viewer.Viewer
    level : int, optional
        Of a multiscale layer; by default `default_level`.
    brightness : {"plane", "stack", "layer"}
        As in `Look`.
    channels : int or "layers", optional
        The axis whose first three entries become red, green and blue, or ``LAYERS`` for
        `colours`.
    colours : sequence of (layer or None)
        Layers for red, green and blue; None is black.
    at : mapping of int to int, optional
        As for `displayed_plane`.

    Raises
    ------
    ParameterError
        If the choice makes no sense for the layer.
    ImageError
        If layers do not lie at the same place with the same size.
    """
    if level is not None and not (layer.multiscale and 0 <= level < len(layer.data)):
        raise ParameterError(f"level={level}: layer {layer.name!r} has no such level")
    plane = displayed_plane(layer, viewer, level, at)
    if channels is None:
        return plane, Look(brightness, (_channel(layer, level),))
    if channels == LAYERS:
        return _of_layers(plane, viewer, level, brightness, colours, at)
    axis = int(channels)
    if layer.rgb or not 0 <= axis < layer.ndim or isinstance(plane.index[axis], slice):
        raise ParameterError(
            f"axis {axis} of layer {layer.name!r} cannot be taken as colours: it is one of the "
            "two that are displayed, or not there; choose another in What the model sees"
        )
    data = level_data(layer, level)
    numbers = range(min(_COLOURS, data.shape[axis]))
    parts = [data[_at(plane.index, axis, number)] for number in numbers]
    look = [_channel(layer, level, axis, number) for number in numbers]
    missing: list[None] = [None] * (_COLOURS - len(parts))
    stacked = replace(plane, pixels=Stacked((*parts, *missing)))
    return stacked, Look(brightness, (*look, *missing))


def _of_layers(
    plane: Plane,
    viewer: napari.viewer.Viewer,
    level: int | None,
    brightness: Brightness,
    colours: Sequence[napari.layers.Image | None],
    at: Mapping[int, int] | None,
) -> tuple[Plane, Look]:
    chosen = [layer for layer in colours if layer is not None]
    if not chosen:
        raise ParameterError(
            "no layer is chosen for red, green or blue: choose one in What the model sees"
        )
    parts: list[Any] = []
    for layer in colours:
        if layer is None:
            parts.append(None)
            continue
        if layer.rgb:
            raise ImageError(f"layer {layer.name!r} has colours already: choose grey layers")
        other = displayed_plane(layer, viewer, level if layer.multiscale else None, at)
        if other.shape != plane.shape or not _same_place(plane, other):
            raise ImageError(
                f"layers {plane.name!r} ({_size(plane)}) and {layer.name!r} ({_size(other)}) do "
                "not lie at the same place with the same size: they cannot be colours of one "
                "image"
            )
        parts.append(other.pixels)
    look = tuple(
        None if c is None else _channel(c, level if c.multiscale else None) for c in colours
    )
    return replace(plane, pixels=Stacked(tuple(parts))), Look(brightness, look)


def _channel(
    layer: napari.layers.Image,
    level: int | None,
    axis: int | None = None,
    number: int = 0,
) -> Channel:
    data, name = level_data(layer, level), layer.name
    if axis is not None:
        data, name = data[(slice(None),) * axis + (number,)], f"{name}, channel {number}"
    if layer.rgb and data.shape[-1] > _COLOURS:
        data = data[..., :_COLOURS]  # not the transparency
    low, high = layer.contrast_limits
    return Channel(
        name=name,
        stack=data,
        plane_axes=3 if layer.rgb else 2,
        contrast_limits=(float(low), float(high)),
        gamma=float(layer.gamma),
    )


def _at(index: tuple[int | slice, ...], axis: int, number: int) -> tuple[int | slice, ...]:
    return (*index[:axis], number, *index[axis + 1 :])


def _same_place(a: Plane, b: Plane) -> bool:
    """Tell whether two planes agree along their last two axes."""
    for key in ("scale", "translate"):
        if not np.allclose(np.asarray(a.keywords[key])[-2:], np.asarray(b.keywords[key])[-2:]):
            return False
    pairs = ((a.keywords[key], b.keywords[key]) for key in ("rotate", "shear", "affine"))
    return all(np.shape(p) != np.shape(q) or np.allclose(p, q) for p, q in pairs)


def _size(plane: Plane) -> str:
    return " x ".join(str(n) for n in plane.shape)
