"""The tables of a volume: a row an object, and a row an object and slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.objects import Objects

if TYPE_CHECKING:
    from napari_sam_amg.linking.volume import Volume
    from napari_sam_amg.masks.ragged import Indices

Columns = dict[str, npt.NDArray[Any]]


def slice_columns(volume: Volume) -> Columns:
    """Tabulate the masks of a volume, sorted by object, then slice; see `Volume`."""
    parts = []
    for number, (masks, labels, sources) in enumerate(
        zip(volume.slices, volume.labels, volume.sources, strict=True)
    ):
        x, y, width, height = masks.store.windows.T
        centroids = Objects.of_store(masks.store).centroids
        parts.append(
            {
                "label": labels,
                "slice": np.full(len(masks), number, dtype=np.int64),
                "mask": sources + 1,
                "filled": sources < 0,
                "area": masks.areas,
                "centroid-0": centroids[:, 1],
                "centroid-1": centroids[:, 2],
                "bbox-0": y,
                "bbox-1": x,
                "bbox-2": y + height,
                "bbox-3": x + width,
                "predicted_iou": masks.predicted_iou.astype(np.float64),
                "stability_score": masks.stability_score.astype(np.float64),
                "touches_border": masks.store.at_border,
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["label"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    if volume.pixel_size is not None:
        _, height, width = volume.pixel_size
        columns[f"area_{volume.unit}2"] = columns["area"] * (height * width)
        for axis, length in enumerate((height, width)):
            columns[f"centroid_{volume.unit}-{axis}"] = columns[f"centroid-{axis}"] * length
    return columns


def object_columns(volume: Volume) -> Columns:
    """Tabulate the objects of a volume; see `Volume`."""
    rows = slice_columns(volume)
    group = rows["label"] - 1
    count = len(volume)

    def total(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return np.bincount(group, weights=values, minlength=count).astype(np.float64)

    def extreme(name: str, largest: bool = False) -> Indices:
        # Rows of an object stand together, and there are objects without none.
        first = np.flatnonzero(np.diff(group, prepend=-1))
        by = np.maximum if largest else np.minimum
        return by.reduceat(rows[name], first) if count else np.empty(0, dtype=np.int64)

    voxels = total(rows["area"])
    first, last = extreme("slice"), extreme("slice", largest=True)
    columns: Columns = {
        "label": np.arange(1, count + 1, dtype=np.int64),
        "voxels": voxels.astype(np.int64),
        "first_slice": first,
        "last_slice": last,
        "extent": last - first + 1,
        "filled_slices": total(rows["filled"]).astype(np.int64),
    }
    places = (rows["slice"], rows["centroid-0"], rows["centroid-1"])
    for axis, place in enumerate(places):
        columns[f"centroid-{axis}"] = total(place * rows["area"]) / voxels
    low = (first, extreme("bbox-0"), extreme("bbox-1"))
    high = (last + 1, extreme("bbox-2", largest=True), extreme("bbox-3", largest=True))
    for axis, end in enumerate((*low, *high)):
        columns[f"bbox-{axis}"] = end
    for name in ("predicted_iou", "stability_score"):
        known = ~np.isnan(rows[name])
        with np.errstate(invalid="ignore"):
            columns[name] = total(np.where(known, rows[name], 0)) / total(known)
    columns["touches_border"] = total(rows["touches_border"]) > 0
    columns["touches_end"] = (first == 0) | (last == len(volume.slices) - 1)
    return columns | _in_units(volume, columns)


def _in_units(volume: Volume, columns: Columns) -> Columns:
    if volume.pixel_size is None:
        return {}
    unit, lengths = volume.unit, volume.pixel_size
    size = columns["voxels"] * np.prod(lengths)
    found: Columns = {
        f"volume_{unit}3": size,
        f"extent_{unit}": columns["extent"] * lengths[0],
        f"equivalent_diameter_{unit}": np.cbrt(6 / np.pi * size),
    }
    for axis, length in enumerate(lengths):
        found[f"centroid_{unit}-{axis}"] = columns[f"centroid-{axis}"] * length
    return found
