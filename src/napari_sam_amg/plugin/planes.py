"""What of an image layer goes to the model, and where its result belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.plugin.placement import transform_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari.layers
    import napari.viewer
    import numpy.typing as npt

MAX_DEFAULT_PIXELS = 1 << 24
"""Of a multiscale layer the finest level with at most so many pixels a plane is used."""


@dataclass(frozen=True)
class Plane:
    """One displayed plane of an image layer, as it was when a run began.

    Attributes
    ----------
    layer : napari.layers.Image
        Where it comes from; held as an object, since its name may change.
    name : str
        The layer's name then.
    pixels : array
        HxW or HxWxC; may be lazy.
    index : tuple of (int or slice)
        Where the plane lies in the layer's data (without the colour axis).
    keywords : dict
        Transform of a layer whose data is the plane with its other axes of length 1.
    factors : ndarray, float64
        Pixels of the layer's finest level along each axis for one of this plane.
    """

    layer: napari.layers.Image
    name: str
    pixels: Any
    index: tuple[int | slice, ...]
    keywords: dict[str, Any]
    factors: npt.NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.pixels.shape[:2]
        return int(height), int(width)

    @property
    def in_memory(self) -> bool:
        """Whether nothing has to be read or computed for its pixels."""
        parts = getattr(self.pixels, "parts", (self.pixels,))
        return all(part is None or isinstance(part, np.ndarray) for part in parts)

    @property
    def axes(self) -> list[int]:
        """The layer's axes along which it lies: that of its rows, that of its columns."""
        return [axis for axis, where in enumerate(self.index) if isinstance(where, slice)]

    def provenance(self) -> dict[str, Any]:
        """Return where it lies, so that a result can be put there again (JSON)."""
        index = [None if isinstance(i, slice) else i for i in self.index]
        return {
            "index": index,
            "factors": self.factors.tolist(),
            **transform_json(self.keywords),
        }

    def computed(self, window: tuple[slice, slice] | None = None) -> npt.NDArray[Any]:
        """Return the plane's pixels in memory, or those of a window; only they are computed.

        Pixels that are in memory anyway are returned whole.
        """
        if window is None or isinstance(self.pixels, np.ndarray):
            return np.asarray(self.pixels)
        return np.asarray(self.pixels[window])

    @property
    def across(self) -> tuple[slice | None, ...]:
        """What gives an HxW image an axis of length 1 for each that the plane lies across."""
        return tuple(slice(None) if isinstance(i, slice) else None for i in self.index)

    def placed(self, labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an HxW image with these axes."""
        return labels[self.across]

    def flat(self, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Undo `placed`."""
        return data[tuple(slice(None) if isinstance(i, slice) else 0 for i in self.index)]


def default_level(layer: napari.layers.Image) -> int:
    """Return the finest level of a multiscale layer whose plane is not huge; 0 otherwise."""
    if not layer.multiscale:
        return 0
    for level, data in enumerate(layer.data):
        shape = data.shape[:-1] if layer.rgb else data.shape
        if int(np.prod(sorted(shape)[-2:])) <= MAX_DEFAULT_PIXELS:
            return level
    return len(layer.data) - 1


def shown_axes(layer: napari.layers.Image, viewer: napari.viewer.Viewer) -> list[int]:
    """Return the two axes of a layer along which the displayed plane lies, sorted."""
    across = viewer.dims.ndim - layer.ndim
    return sorted([axis - across for axis in viewer.dims.order if axis >= across][-2:])


def displayed_plane(
    layer: napari.layers.Image,
    viewer: napari.viewer.Viewer,
    level: int | None = None,
    at: Mapping[int, int] | None = None,
) -> Plane:
    """Take the plane of `layer` that `viewer` shows, or one beside it; nothing is computed.

    Parameters
    ----------
    layer : napari.layers.Image
    viewer : napari.viewer.Viewer
        Its axis order and slider positions say which plane.
    level : int, optional
        Of a multiscale layer; by default `default_level`.
    at : mapping of int to int, optional
        Which plane along some of the layer's axes, instead of where the viewer stands.

    Raises
    ------
    ImageError
        If the layer has no plane, such as one of a single dimension.
    """
    if layer.ndim < 2:
        raise ImageError(
            f"layer {layer.name!r} has {layer.ndim} dimension: an image needs two at least"
        )
    level = default_level(layer) if level is None else level
    data = level_data(layer, level)
    factors = np.asarray(layer.downsample_factors[level] if layer.multiscale else 1.0)
    factors = np.broadcast_to(factors, (layer.ndim,)).astype(float)

    shown = shown_axes(layer, viewer)
    at_level = np.asarray(layer.world_to_data(viewer.dims.point)) / factors
    last = np.asarray(data.shape[: layer.ndim]) - 1
    for axis, number in (at or {}).items():
        at_level[axis] = number
    for axis in set(range(layer.ndim)) - set(shown):
        if (
            not -0.5
            <= at_level[axis] * factors[axis]
            <= last[axis] * factors[axis] + factors[axis] - 0.5
        ):
            raise ImageError(
                f"layer {layer.name!r} has no plane where the viewer stands: axis {axis} is at "
                f"{at_level[axis]:.6g}, the layer has 0 to {last[axis]}; move the slider"
            )
    index: list[int | slice] = [
        slice(None) if axis in shown else int(np.clip(round(float(at_level[axis])), 0, last[axis]))
        for axis in range(layer.ndim)
    ]
    offset = np.array([0 if isinstance(i, slice) else i for i in index], dtype=float)
    return Plane(
        layer=layer,
        name=layer.name,
        pixels=data[tuple(index)],
        index=tuple(index),
        keywords=_transform(layer, factors, offset),
        factors=factors,
    )


def level_data(layer: napari.layers.Image, level: int | None = None) -> Any:
    """Return the data of a level, by default of `default_level`; it can be cut unread."""
    data = layer.data
    if layer.multiscale:
        data = data[default_level(layer) if level is None else level]
    # Arrays on disk (zarr, HDF5) read what is cut out of them: dask waits.
    if isinstance(data, np.ndarray) or hasattr(data, "dask") or not hasattr(data, "chunks"):
        return data
    import dask.array as da

    # Its name is no hash: that can read all of the data.
    return da.from_array(data, name=False)  # type: ignore[no-untyped-call]


def _transform(
    layer: napari.layers.Image, factors: npt.NDArray[Any], offset: npt.NDArray[Any]
) -> dict[str, Any]:
    """Keywords of a layer with data coordinates ``(x - offset)`` of the level."""
    from napari.utils.transforms import Affine

    scale = np.asarray(layer.scale) * factors
    to_physical = Affine(scale=scale, rotate=layer.rotate, shear=layer.shear).linear_matrix
    return {
        "scale": scale,
        "translate": np.asarray(layer.translate) + to_physical @ offset,
        "rotate": layer.rotate,
        "shear": layer.shear,
        "affine": layer.affine.affine_matrix,
        "units": layer.units,
        "axis_labels": layer.axis_labels,
    }
