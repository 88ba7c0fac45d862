"""What a run found in one plane, for the writers and the summary."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from napari_sam_amg.image import without_alpha

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.sources import Plane


@dataclass(frozen=True)
class Planar:
    """The masks of a plane, without its pixels.

    Attributes
    ----------
    plane : Plane
    masks : Masks
    """

    plane: Plane
    masks: Masks

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the channels; None if there is only one."""
        return channel_names(self.plane)

    def read_channels(self) -> npt.NDArray[Any]:
        """Read all channels of the plane, HxW or HxWxC; transparency is none."""
        if self.plane.source.length("C") == 1:
            return without_alpha(self.plane.read())
        return self.plane.read_channels()


@dataclass(frozen=True)
class Found:
    """The masks of one plane.

    Attributes
    ----------
    image : Source
        The image that it belongs to.
    result : Source
        What its result is called: after the plane, or after the image if all planes go into
        one.
    plane : Plane
    masks : Masks
    pixels : ndarray or None
        What the model was given, HxW or HxWxC in the file's dtype; None has it read again where
        it is needed.
    sides : (float, float) or None
        Height and width of a pixel in micrometres.
    """

    image: Source
    result: Source
    plane: Plane
    masks: Masks
    pixels: npt.NDArray[Any] | None
    sides: tuple[float, float] | None

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the channels; None if there is only one."""
        return channel_names(self.plane)

    @cached_property
    def channels(self) -> npt.NDArray[Any]:
        """All channels of the plane, not only the one that the model saw; transparency is none."""
        if self.pixels is not None and self.plane.source.length("C") == 1:
            return without_alpha(self.pixels)
        return self.without_pixels().read_channels()

    def without_pixels(self) -> Planar:
        """Return what is left when a plane's pixels are let go; they can be read again."""
        return Planar(self.plane, self.masks)

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of each mask."""
        return self.masks.areas

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.bool_], npt.NDArray[Any]]]:
        """Yield each channel's number, where masks are (HxW) and its pixels (HxW)."""
        inside = self.masks.to_labels() > 0
        channels = self.channels.reshape(*inside.shape, -1)
        for number in range(channels.shape[2]):
            yield number, inside, channels[..., number]

    @cached_property
    def measured(self) -> pd.DataFrame:
        """Measurements of the masks in all channels."""
        return self.masks.measure(self.channels, channel_names=self.names, pixel_size=self.sides)

    @property
    def table(self) -> pd.DataFrame:
        """Measurements, and what else is known of the masks; where the plane is comes first."""
        found = beside(self.measured, self.masks.features)
        for place, (axis, at) in enumerate(self.place.items()):
            found.insert(place, axis, at)
        return found

    @property
    def place(self) -> dict[str, int]:
        """Where the plane is along the axes that the image has several planes along."""
        return place_of(self.plane)


def channel_names(plane: Plane) -> tuple[str, ...] | None:
    """Return the names of a plane's channels; None if there is only one."""
    names = plane.source.value_names
    alpha = names is not None and plane.source.length("C") == 1 and len(names) == 4
    return names[:3] if names is not None and alpha else names


def place_of(plane: Plane) -> dict[str, int]:
    """Return where a plane is along the axes that its image has several planes along."""
    return {axis.lower(): at for axis, at in plane.index.items() if plane.source.length(axis) > 1}


def beside(measured: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Return measurements, and what is not among them of what else is known of the masks."""
    return measured.join(features[[name for name in features if name not in measured]])
