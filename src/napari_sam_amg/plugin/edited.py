"""The masks that a Labels layer stands for: those of a run, as far as nobody changed them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import WriteError
from napari_sam_amg.masks import Masks, MaskStore, MaskTable
from napari_sam_amg.plugin.layers import LEFT_OUT, MASKS

if TYPE_CHECKING:
    from collections.abc import Mapping

Window = tuple[int, int, npt.NDArray[np.bool_]]
Ids = npt.NDArray[np.int64]


def masks_of_plane(
    data: npt.NDArray[Any],
    masks: Masks | None,
    left_out: npt.NDArray[np.bool_] | None = None,
) -> Masks:
    """Return the masks of `labelled_masks`."""
    return labelled_masks(data, masks, left_out)[1]


def labelled_masks(
    data: npt.NDArray[Any],
    masks: Masks | None,
    left_out: npt.NDArray[np.bool_] | None = None,
) -> tuple[Ids, Masks]:
    """Turn a label image that a user may have edited into masks.

    Parameters
    ----------
    data : ndarray of integers, HxW
        The layer's pixels now; 0 is background, negative values too.
    masks : Masks, optional
        What was drawn into the layer, if we did that.
    left_out : ndarray, bool, HxW, optional
        Where nothing was drawn.

    Returns
    -------
    ndarray, int64, N
        The labels, rising.
    Masks
        N masks in the order of labels. A label whose pixels are as they were drawn gives the
        run's mask, with the pixels it lost to others and its scores, also where it is
        wholly hidden; a painted or new one gives its pixels as they are now, without
        scores; a label that was deleted gives none.
    """
    data = np.asarray(data)
    if masks is None or masks.shape != data.shape:
        present = np.unique(data[data > 0]).astype(np.int64)
        return present, _from_labels(data, present)
    drawn = masks.to_labels()
    if left_out is not None and left_out.shape == drawn.shape:
        drawn[left_out] = 0
    differs = data != drawn
    if not differs.any():
        return np.arange(1, len(masks) + 1), masks
    touched = set(np.unique(drawn[differs]).tolist()) | set(np.unique(data[differs]).tolist())
    left = set(np.unique(data[data > 0]).tolist())
    kept = [label for label in range(1, len(masks) + 1) if label not in touched]
    changed = sorted((touched & left) - {0})
    new = _from_labels(data, np.array(changed, dtype=np.int64))
    old = masks[np.array(kept, dtype=np.int64) - 1]
    return np.array(sorted(kept + changed), dtype=np.int64), _merged(old, kept, new, changed)


def masks_of_layer(data: Any, meta: Mapping[str, Any]) -> list[tuple[str, Masks]]:
    """Return the names and masks of `labelled_masks_of_layer`."""
    return [(name, masks) for name, _, masks in labelled_masks_of_layer(data, meta)]


def labelled_masks_of_layer(data: Any, meta: Mapping[str, Any]) -> list[tuple[str, Ids, Masks]]:
    """Return the masks of each plane of a Labels layer, with a name and the labels of each.

    Parameters
    ----------
    data : array of integers, HxW or with more axes in front
        Lazy arrays are computed plane by plane; of several levels the finest is taken.
    meta : mapping
        napari's keywords of the layer.

    Raises
    ------
    WriteError
        If the layer has fewer than two dimensions.
    """
    name = str(meta.get("name") or "labels")
    if isinstance(data, list | tuple):
        data = data[0]
    shape = tuple(data.shape)
    if len(shape) < 2:
        raise WriteError(f"layer {name!r} has {len(shape)} dimension: a label image needs two")
    metadata = meta.get("metadata") or {}
    made = metadata.get(MASKS)
    # The plane of a run lies across the axes that have the length 1.
    long = [axis for axis, length in enumerate(shape) if length > 1]
    if isinstance(made, Masks) and [n for n in shape if n > 1] == [n for n in made.shape if n > 1]:
        plane = np.asarray(data).reshape(made.shape)
        return [(name, *labelled_masks(plane, made, metadata.get(LEFT_OUT)))]
    if len(long) <= 2:
        kept = [shape[axis] for axis in long] if len(long) == 2 else list(shape[-2:])
        return [(name, *labelled_masks(np.asarray(data).reshape(kept), None))]
    planes = []
    for index in np.ndindex(*shape[:-2]):
        number = "-".join(str(i) for i in index)
        planes.append((f"{name}-{number}", *labelled_masks(np.asarray(data[index]), None)))
    return planes


def _from_labels(data: npt.NDArray[Any], labels: npt.NDArray[Any]) -> Masks:
    from scipy import ndimage

    index = np.searchsorted(labels, data)
    index = np.where((index < len(labels)), index, 0)
    compact = np.zeros(data.shape, dtype=np.int32)
    if len(labels):
        compact = np.where(labels[index] == data, index + 1, 0).astype(np.int32)
    windows: list[Window] = []
    for number, place in enumerate(ndimage.find_objects(compact), start=1):
        rows, columns = place
        windows.append((columns.start, rows.start, compact[place] == number))
    store = MaskStore.from_windows((data.shape[0], data.shape[1]), windows)
    return Masks(store, MaskTable.unknown(store))


def _merged(old: Masks, kept: list[int], new: Masks, changed: list[int]) -> Masks:
    """Put two sets of masks into one, in the order of their labels."""
    masks = old.followed_by(new)[np.argsort(np.array(kept + changed), kind="stable")]
    masks.provenance["edited"] = True
    return masks
