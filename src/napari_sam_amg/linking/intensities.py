"""Intensities of objects that reach over several slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.measurements import INTENSITIES, measure_intensities

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from napari_sam_amg.linking.volume import Volume

MEAN, LEAST, MOST, DEVIATION = INTENSITIES


def slice_intensities(
    volume: Volume, image: Any, channel_names: Sequence[str] | None = None
) -> pd.DataFrame:
    """Measure each object in each slice; see `Volume.measure_slices`."""
    import pandas as pd

    length = len(image)
    if length != len(volume.slices):
        raise ImageError(
            f"the image has {length} slices, the volume {len(volume.slices)}: give one plane for "
            "each"
        )
    parts = []
    for number, (masks, labels) in enumerate(zip(volume.slices, volume.labels, strict=True)):
        table = measure_intensities(masks.store, image[number], channel_names=channel_names)
        table["label"] = labels
        table.insert(1, "slice", number)
        parts.append(table)
    found = pd.concat(parts, ignore_index=True)
    return found.sort_values("label", kind="stable", ignore_index=True)


def object_intensities(slices: pd.DataFrame, areas: Any, count: int) -> pd.DataFrame:
    """Put what was measured in slices together; see `Volume.measure`.

    Parameters
    ----------
    slices : DataFrame
        As `slice_intensities` returns it.
    areas : array, one for each row
        Pixels of the objects in the slices.
    count : int
        How many objects there are.
    """
    import pandas as pd

    group = slices["label"].to_numpy() - 1
    first = np.flatnonzero(np.diff(group, prepend=-1))
    weights = np.asarray(areas, dtype=np.float64)
    total = np.bincount(group, weights, count)
    columns: dict[str, Any] = {"label": np.arange(1, count + 1)}
    for name in map(str, slices):
        values = slices[name].to_numpy(dtype=np.float64)
        kind, _, channel = name.partition("-")
        suffix = f"-{channel}" if channel else ""
        if kind == MEAN:
            columns[name] = np.bincount(group, weights * values, count) / total
        elif kind == LEAST:
            columns[name] = np.minimum.reduceat(values, first) if count else values[:0]
        elif kind == MOST:
            columns[name] = np.maximum.reduceat(values, first) if count else values[:0]
        elif kind == DEVIATION:
            # Within slices and between them: of values that are far from 0, nothing is lost.
            means = slices[MEAN + suffix].to_numpy(dtype=np.float64)
            apart = means - columns[MEAN + suffix][group]
            spread = np.bincount(group, weights * (values**2 + apart**2), count) / total
            columns[name] = np.sqrt(spread)
    return pd.DataFrame(columns)
