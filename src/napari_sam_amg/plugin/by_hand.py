"""Changes to a layer that was painted by hand: as by hand, so that napari can undo them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import napari.layers

    from napari_sam_amg.plugin.tuning import Result


def drawn_as(
    result: Result, rows: npt.NDArray[np.int64], drawn: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Tell which candidates have exactly the pixels that are drawn."""
    store = result.proposals.store
    same: npt.NDArray[np.bool_] = store.areas[rows] == np.count_nonzero(drawn)
    for index in np.flatnonzero(same).tolist():
        same[index] = np.array_equal(store.full(rows[index]), drawn)
    return same


def paint_candidate(
    result: Result, layer: napari.layers.Labels, row: int, label: int | None
) -> bool:
    """Paint a candidate where nothing is, or only what it takes the place of.

    Returns whether that changed any pixel: napari's undo knows only of what did.
    """
    data = np.asarray(layer.data)
    number = label or max(int(data.max()), len(result.rows)) + 1
    if number > np.iinfo(data.dtype).max:
        layer.data = data = data.astype(np.uint32)
    mask = result.plane.placed(result.proposals.store.full(row))
    old = data == number
    places = np.nonzero(old | (mask & (data == 0)))
    values = np.where(mask[places], number, 0).astype(data.dtype)
    changed = bool((data[places] != values).any())
    layer.data_setitem(places, values)
    if number >= len(layer.features):
        table = layer.features.reindex(range(number + 1))
        table["index"] = table["label"] = np.arange(number + 1)
        layer.features = table
    return changed


def erase(layer: napari.layers.Labels, labels: npt.NDArray[np.int64]) -> int:
    """Set some labels to 0, and return how many of them there were."""
    data = np.asarray(layer.data)
    places = np.nonzero(np.isin(data, labels[labels > 0]))
    count = len(np.unique(data[places]))
    if count:
        layer.data_setitem(places, 0)
    return count
