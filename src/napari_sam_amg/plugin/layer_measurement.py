"""What is measured of a Labels layer: its masks, or objects that reach over several planes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.linking.intensities import object_intensities
from napari_sam_amg.measurements import measure, measure_intensities
from napari_sam_amg.plugin.edited import labelled_masks

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.masks import Masks


@dataclass(frozen=True, eq=False)
class Measurement:
    """What is to be measured, taken from the viewer in its own thread.

    Attributes
    ----------
    labels : ndarray, int64, N
        The labels of the masks.
    masks : Masks
        N masks.
    channels : dict
        Planes, HxW, by the names of their layers; they may be lazy.
    pixel_size : (float, float) or None
        Height and width of a pixel in micrometres.
    """

    labels: npt.NDArray[np.int64]
    masks: Masks
    channels: dict[str, Any]
    pixel_size: tuple[float, float] | None

    def table(self) -> pd.DataFrame:
        """Return a row for each mask, ``index`` being its label."""
        planes = {name: np.asarray(plane) for name, plane in self.channels.items()}
        image = planes if len(planes) > 1 else next(iter(planes.values()), None)
        table = measure(self.masks.store, image, pixel_size=self.pixel_size)
        return table.drop(columns="label").assign(index=self.labels)


@dataclass(frozen=True, eq=False)
class LargeMeasurement:
    """What is to be measured of a result that lies in a folder, a few rows at a time.

    Attributes
    ----------
    result : LargeResult
    channels : dict
        Planes, HxW or HxWx3, by the names of their layers; they may be lazy.
    pixel_size : (float, float) or None
        Height and width of a pixel in micrometres.
    """

    result: LargeResult
    channels: dict[str, Any]
    pixel_size: tuple[float, float] | None

    def table(self) -> pd.DataFrame:
        """Return a row for each mask, ``index`` being its label."""
        image: Any = self.channels
        if len(image) < 2 and all(plane.ndim == 2 for plane in image.values()):
            image = next(iter(image.values()), None)  # its columns need no name
        table = self.result.measure(image, pixel_size=self.pixel_size)
        return table.rename(columns={"label": "index"})


@dataclass(frozen=True, eq=False)
class StackMeasurement:
    """What is to be measured of a Labels layer of several planes.

    Attributes
    ----------
    labels : array of integers, ...xHxW
        An object has the same label in each of its planes; it may be lazy.
    channels : dict
        Arrays of the same shape, by the names of their layers; they may be lazy.
    """

    labels: Any
    channels: dict[str, Any]

    def table(self) -> pd.DataFrame:
        """Return intensities of each object over all its planes, ``index`` being its label."""
        import pandas as pd

        parts, areas = [], []
        for place in np.ndindex(*self.labels.shape[:-2]):
            labels, masks = labelled_masks(np.asarray(self.labels[place]), None)
            planes = {name: np.asarray(data[place]) for name, data in self.channels.items()}
            image = planes if len(planes) > 1 else next(iter(planes.values()))
            parts.append(measure_intensities(masks.store, image).assign(label=labels))
            areas.append(masks.areas)
        planewise = pd.concat(parts, ignore_index=True)
        present, group = np.unique(planewise["label"].to_numpy(np.int64), return_inverse=True)
        order = np.argsort(group, kind="stable")
        planewise = planewise.assign(label=group + 1).iloc[order]
        whole = object_intensities(planewise, np.concatenate(areas)[order], len(present))
        return whole.drop(columns="label").assign(index=present)
