"""Which pixels of a plane the view, shapes or labels cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer

    from napari_sam_amg.plugin.planes import Plane

Mask = npt.NDArray[np.bool_]

_ROUND = 64
"""Corners of the polygon that stands for an ellipse."""
_BLOCK = 1 << 20


def view_region(plane: Plane, viewer: napari.viewer.Viewer) -> Mask:
    """Return the pixels of a plane that the canvas shows, a box around them if it is turned."""
    mask = np.zeros(plane.shape, dtype=np.bool_)
    places = to_plane(plane, _view_corners(viewer), viewer)
    if places is not None:
        # A pixel reaches half a pixel to each side of its centre.
        low = np.floor(places.min(axis=0) + 0.5).astype(int)
        high = np.floor(places.max(axis=0) + 0.5).astype(int)
        if (high >= 0).all() and (low < plane.shape).all():
            (top, left), (bottom, right) = np.maximum(low, 0), high
            mask[top : bottom + 1, left : right + 1] = True
    return _something(mask, "the view shows no pixel of the image: move it there")


def _view_corners(viewer: napari.viewer.Viewer) -> npt.NDArray[np.float64]:
    """Return the four corners of the canvas in the world."""
    canvas = getattr(viewer, "canvas", None)  # since napari 0.9; it may be cut into a grid
    size = viewer._canvas_size if canvas is None else canvas.viewbox_size(viewer.layers)
    camera = getattr(viewer, "scene", viewer).camera  # the viewer's own before napari 0.9
    half = np.asarray(size, dtype=float) / camera.zoom / 2
    centre = np.asarray(camera.center, dtype=float)[-2:]
    corners = np.tile(np.asarray(viewer.dims.point, dtype=float), (4, 1))
    shown = list(viewer.dims.displayed[-2:])
    corners[:, shown] = centre + half * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return corners


def shapes_region(
    plane: Plane, shapes: napari.layers.Shapes, viewer: napari.viewer.Viewer
) -> Mask:
    """Return the pixels inside the selected shapes of a layer, or inside all of them.

    Those that lie in another slice, lines and paths do not count.
    """
    from skimage.draw import polygon2mask

    chosen = sorted(shapes.selected_data) or range(len(shapes.data))
    mask = np.zeros(plane.shape, dtype=np.bool_)
    for number in chosen:
        kind = shapes.shape_type[number]
        if kind in ("line", "path"):
            continue
        corners = _corners(np.asarray(shapes.data[number], dtype=float), kind)
        world = np.array([shapes.data_to_world(corner) for corner in corners])
        places = to_plane(plane, world, viewer)
        if places is not None:
            mask |= polygon2mask(plane.shape, places)  # type: ignore[no-untyped-call]
    return _something(
        mask,
        f"layer {shapes.name!r} has no shape with an area in this plane: draw a rectangle, an "
        "ellipse or a polygon",
    )


def labels_region(
    plane: Plane, labels: napari.layers.Labels, viewer: napari.viewer.Viewer
) -> Mask:
    """Return the pixels of a plane on which a Labels layer has a label."""
    origin, down, across = (
        _labels_place(plane, labels, viewer, corner) for corner in ((0, 0), (1, 0), (0, 1))
    )
    down, across = down - origin, across - origin
    data = labels.data[0] if labels.multiscale else labels.data
    flat = np.isclose(down, 0) & np.isclose(across, 0)
    flat[-2:] = False  # at most these two are left
    index = tuple(
        int(np.clip(round(at), 0, size - 1)) if alone else slice(None)
        for at, size, alone in zip(origin, data.shape, flat, strict=True)
    )
    pixels = np.asarray(data[index])
    keep = np.flatnonzero(~flat)
    origin, down, across = origin[keep], down[keep], across[keep]
    height, width = plane.shape
    mask = np.zeros(plane.shape, dtype=np.bool_)
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, height, step):
        rows = np.arange(start, min(start + step, height))
        at = (
            origin[:, None, None]
            + down[:, None, None] * rows[None, :, None]
            + across[:, None, None] * np.arange(width)[None, None, :]
        )
        at = np.round(at).astype(np.int64)
        size = np.array(pixels.shape)[:, None, None]
        there = ((at >= 0) & (at < size)).all(axis=0)
        inside = np.zeros(there.shape, dtype=np.bool_)
        inside[there] = pixels[tuple(axis[there] for axis in at)] > 0
        mask[rows] = inside
    return _something(mask, f"layer {labels.name!r} has no label on this plane of the image")


def _labels_place(
    plane: Plane,
    labels: napari.layers.Labels,
    viewer: napari.viewer.Viewer,
    corner: tuple[int, int],
) -> npt.NDArray[np.float64]:
    """Return where a pixel of the plane lies in the data of a Labels layer."""
    at = np.array([0.0 if isinstance(i, slice) else float(i) for i in plane.index])
    at[plane.axes] = corner
    world = np.asarray(plane.layer.data_to_world(at * plane.factors))
    return np.asarray(labels.world_to_data(_full(world[None], viewer)[0]), dtype=float)


def _corners(corners: npt.NDArray[np.float64], kind: str) -> npt.NDArray[np.float64]:
    """Return the corners of a polygon that stands for a shape."""
    if kind != "ellipse":
        return corners
    centre = corners.mean(axis=0)
    one, two = (corners[1] - corners[0]) / 2, (corners[2] - corners[1]) / 2
    turn = np.linspace(0, 2 * np.pi, _ROUND, endpoint=False)[:, None]
    round_: npt.NDArray[np.float64] = centre + np.cos(turn) * one + np.sin(turn) * two
    return round_


def _full(world: npt.NDArray[np.float64], viewer: napari.viewer.Viewer) -> Any:
    """Give world coordinates of a layer with fewer axes those that the viewer stands at."""
    full = np.tile(np.asarray(viewer.dims.point, dtype=float), (len(world), 1))
    full[:, full.shape[1] - world.shape[1] :] = world
    return full


def to_plane(
    plane: Plane, world: npt.NDArray[np.float64], viewer: napari.viewer.Viewer
) -> npt.NDArray[np.float64] | None:
    """Turn places of the world into (row, column) of a plane; None if they lie in another.

    Places may have fewer axes than the viewer: those in front are where it stands.
    """
    full = _full(world, viewer)
    data = np.array([plane.layer.world_to_data(place) for place in full]) / plane.factors
    for axis, where in enumerate(plane.index):
        if not isinstance(where, slice) and (np.abs(data[:, axis] - where) > 0.5).any():
            return None
    return np.asarray(data[:, plane.axes])


def _something(mask: Mask, otherwise: str) -> Mask:
    if not mask.any():
        raise ParameterError(otherwise)
    return mask
