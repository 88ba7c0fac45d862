"""Masks as a napari Labels layer: ids, features, colours, and what users changed in it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.plugin.placement import placement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt
    import pandas as pd
    from napari.utils.colormaps import CyclicLabelColormap

    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.features import Columns

PROVENANCE = "napari_sam_amg"
"""Key in ``layer.metadata``: what made the result, as `Masks.provenance`."""

MASKS = "napari_sam_amg_masks"
"""Key in ``layer.metadata``: the `Masks`, with all their overlapping pixels."""

PREVIEW = "napari_sam_amg_preview"
"""Key in ``layer.metadata`` of what the model sees of another layer."""

LEFT_OUT = "napari_sam_amg_left_out"
"""Key in ``layer.metadata``: pixels (bool, HxW) where no mask was drawn; None for nowhere."""

_COLOURS = 4093
_MAX_COLOURS = 1 << 16


def layer_features(columns: Columns, pixel_area: float | None = None) -> pd.DataFrame:
    """Tabulate masks by napari's rules: row i is label i, row 0 the background.

    Parameters
    ----------
    columns : dict of ndarray
        Those of `Masks.features` of M masks.
    pixel_area : float, optional
        Of a pixel in square micrometres; adds the column ``area_um2``.

    Returns
    -------
    DataFrame
        M + 1 rows; ``index`` first, then the columns of `Masks.features`. Row 0 has label
        0, counts 0 and scores NaN.
    """
    import pandas as pd

    if pixel_area is not None:
        columns = {**columns, "area_um2": columns["area"] * pixel_area}
    whole = {"index": np.arange(len(columns["label"]) + 1)}
    for name, column in columns.items():
        first = np.nan if column.dtype.kind == "f" and name != "area_um2" else 0
        whole[name] = np.concatenate([np.array([first], dtype=column.dtype), column])
    return pd.DataFrame(whole)


def pixel_area_um2(keywords: Mapping[str, Any], axes: Sequence[int]) -> float | None:
    """Return the area of a pixel in square micrometres; see `pixel_sides_um`."""
    sides = pixel_sides_um(keywords, axes)
    return None if sides is None else sides[0] * sides[1]


def pixel_sides_um(keywords: Mapping[str, Any], axes: Sequence[int]) -> tuple[float, float] | None:
    """Return height and width of a pixel in micrometres; None where units are unknown.

    Parameters
    ----------
    keywords : mapping
        Of a layer: ``scale`` and ``units``, as napari has them or by their names.
    axes : sequence of int
        The two of the plane.
    """
    sides = lengths_um(keywords, axes)
    return None if sides is None else (sides[0], sides[1])


def lengths_um(keywords: Mapping[str, Any], axes: Sequence[int]) -> tuple[float, ...] | None:
    """Return the distance of pixels along some axes, as `pixel_sides_um`."""
    import pint

    registry: Any = pint.get_application_registry()  # type: ignore[no-untyped-call]
    lengths: list[float] = []
    for axis in axes:
        try:
            unit = registry.Unit(str(keywords["units"][axis]))
            length = registry.Quantity(float(keywords["scale"][axis]), unit).to("micrometer")
        except (pint.DimensionalityError, pint.UndefinedUnitError, AttributeError, KeyError):
            return None
        lengths.append(abs(float(length.magnitude)))
    return tuple(lengths)


def colours(chosen: npt.NDArray[Any]) -> CyclicLabelColormap:
    """Return a colormap that shows labels 1..M in given colours (float, Mx4, RGBA)."""
    from napari.utils.colormaps import CyclicLabelColormap

    chosen = chosen[: _MAX_COLOURS - 1] if len(chosen) else _palette()[:1]
    transparent = np.zeros((1, 4), dtype=chosen.dtype)
    return CyclicLabelColormap(colors=np.concatenate([transparent, chosen]))


def identity_colours(identities: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Return colours (float, Mx4) of masks by what they show, so that each keeps its own.

    Parameters
    ----------
    identities : ndarray, int64, M
        A number for each mask that is its own whatever else is shown.
    """
    palette = _palette()
    colours: npt.NDArray[Any] = palette[np.asarray(identities) % len(palette)]
    return colours


def feature_colours(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return colours (float, Mx4) for the values of a feature, from the lowest to the highest.

    Those that are not finite are grey.
    """
    from napari.utils.colormaps import ensure_colormap

    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    low, high = (values[known].min(), values[known].max()) if known.any() else (0.0, 0.0)
    share = (np.where(known, values, low) - low) / (high - low or 1.0)
    colours: npt.NDArray[Any] = ensure_colormap("viridis").map(share)
    colours[~known] = (0.5, 0.5, 0.5, 1.0)
    return colours


def make_palette() -> None:
    """Make the colours that `identity_colours` chooses from, ahead of their first use."""
    _palette()


@functools.cache
def _palette() -> npt.NDArray[Any]:
    """Colours to choose from, RGBA; made once, since every move of a slider asks for them."""
    from napari.utils.colormaps import label_colormap

    return np.asarray(label_colormap(_COLOURS).colors)[1:]


def layer_metadata(masks: Masks, existing: npt.NDArray[np.bool_] | None = None) -> dict[str, Any]:
    """Return what a Labels layer carries beside its pixels.

    Parameters
    ----------
    masks : Masks
    existing : ndarray, bool, HxW, optional
        Pixels that were left to others when the masks were drawn.
    """
    return {PROVENANCE: masks.provenance, MASKS: masks, LEFT_OUT: existing}


def layer_tuple(masks: Masks, *, name: str) -> tuple[npt.NDArray[Any], dict[str, Any], str]:
    """Return masks as napari's (data, keywords, "labels"), where they lay when they were saved."""
    labels, columns = masks.labels_and_columns()
    index, keywords = placement(masks)
    axes = [axis for axis, where in enumerate(index) if where is not None]
    meta = {
        "name": name,
        "features": layer_features(columns, pixel_area_um2(keywords, axes)),
        "metadata": layer_metadata(masks),
        **keywords,
    }
    return labels[index], meta, "labels"


def number_features(layer: Any) -> list[str]:
    """Return the features of a layer that have numbers, but for the labels themselves."""
    table = layer.features
    return [
        name
        for name in table.columns
        if name not in ("index", "label") and table[name].dtype.kind in "buif"
    ]
