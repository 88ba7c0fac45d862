"""How pixels become what the model is given: whose contrast, and which colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_sam_amg.image import prepare_image
from napari_sam_amg.stack_contrast import shared_contrast

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from napari_sam_amg.models.profiles import InputProfile

Brightness = Literal["plane", "stack", "layer"]
Contrast = tuple[float, float]

MOST_TO_READ = 1 << 26
"""Pixels of a plane on disk that are read at once to look at it."""


@dataclass(frozen=True)
class Stacked:
    """Lazy planes as the colours of one image; a missing one is black.

    Attributes
    ----------
    parts : tuple of (array HxW or None)
    """

    parts: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image, HxWxC."""
        height, width = next(part.shape for part in self.parts if part is not None)
        return height, width, len(self.parts)

    @property
    def dtype(self) -> np.dtype[Any]:
        """One that holds the values of all parts."""
        return np.result_type(*(part.dtype for part in self.parts if part is not None))

    def __getitem__(self, place: tuple[slice, slice]) -> Stacked:
        return Stacked(tuple(None if part is None else part[place] for part in self.parts))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        height, width, count = self.shape
        image = np.zeros((height, width, count), dtype=dtype or self.dtype)
        for number, part in enumerate(self.parts):
            if part is not None:
                image[..., number] = np.asarray(part)
        return image


@dataclass(frozen=True)
class Channel:
    """Where the brightness of a channel, or of a whole image, comes from.

    Attributes
    ----------
    name : str
    stack : array
        All planes that are to look alike.
    plane_axes : int
        How many of its last axes belong to a plane.
    contrast_limits, gamma
        As the layer shows it.
    measured : dict
        What `shared_contrast` found already, by what it depends on of the profile.
    """

    name: str
    stack: Any
    plane_axes: int
    contrast_limits: Contrast
    gamma: float
    measured: dict[tuple[Contrast, bool], Contrast | None] = field(
        default_factory=dict, compare=False
    )


@dataclass(frozen=True)
class Look:
    """How the model sees an image.

    Attributes
    ----------
    brightness : {"plane", "stack", "layer"}
        What becomes black and white: percentiles of the plane or of the whole stack, as
        the model was trained; or the layer's contrast limits and gamma.
    channels : tuple of (Channel or None)
        One for an image that is seen as it is. Several are mapped each on its own and
        become red, green and blue; None is black.
    """

    brightness: Brightness
    channels: tuple[Channel | None, ...]

    def provenance(self) -> dict[str, Any]:
        """Return what a result says of it (JSON)."""
        names = [None if channel is None else channel.name for channel in self.channels]
        return {"brightness": self.brightness, **({"channels": names} if len(names) > 1 else {})}

    def prepared(
        self,
        image: npt.NDArray[Any],
        profile: InputProfile,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> tuple[npt.NDArray[Any], Contrast | None, float]:
        """Return an image, and the contrast and gamma with which the engine is to see it.

        Parameters
        ----------
        image : ndarray, HxW or HxWxC
            C is the number of channels, if they are several.
        profile : InputProfile
            Of the model.
        should_stop : callable
            Asked while a stack is read.
        """
        if len(self.channels) == 1:
            return image, *self._mapping(self.channels[0], profile, should_stop)
        rgb = np.zeros((*image.shape[:2], 3), dtype=np.uint8)
        for number, channel in enumerate(self.channels):
            if channel is None:
                continue
            contrast, gamma = self._mapping(channel, profile, should_stop)
            grey = rgb_of(image[..., number], profile, contrast, gamma, channel.name)
            rgb[..., number] = grey[..., 0]
        return rgb, (0.0, 255.0), 1.0  # they go to the model as they are

    def _mapping(
        self, channel: Channel | None, profile: InputProfile, should_stop: Callable[[], bool]
    ) -> tuple[Contrast | None, float]:
        if channel is None or self.brightness == "plane":
            return None, 1.0
        if self.brightness == "layer":
            return channel.contrast_limits, channel.gamma
        key = (profile.percentiles, profile.map_uint8)
        if key not in channel.measured:
            # Of large planes rows of chunks are read at once; smaller ones, which may have to be
            # computed as a whole for any part, as a whole.
            height, width = channel.stack.shape[-channel.plane_axes :][:2]
            chunked = getattr(channel.stack, "chunks", None) is not None
            by_rows = chunked and height * width > MOST_TO_READ
            axes = channel.plane_axes - by_rows
            channel.measured[key] = shared_contrast(
                channel.stack, profile, plane_axes=axes, should_stop=should_stop
            )
        return channel.measured[key], 1.0


def rgb_of(
    image: npt.NDArray[Any],
    profile: InputProfile,
    contrast: Contrast | None,
    gamma: float,
    name: str,
) -> npt.NDArray[np.uint8]:
    """Return the 8-bit RGB of an image as a model of this profile gets it."""
    return prepare_image(
        image,
        contrast=contrast,
        gamma=gamma,
        percentiles=profile.percentiles,
        map_uint8=profile.map_uint8,
        name=name,
    ).rgb
