"""Masks whose pixels are computed only when they are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_sam_amg.engine import at_once
from napari_sam_amg.masks import MaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.engine.upsampling import Box, Upsampler


@dataclass(frozen=True, eq=False)
class Part:
    """What the pixels of one mask are computed from.

    Attributes
    ----------
    logits : Tensor, float32
        Those low-resolution logits that `Upsampler.source` says for `window`.
    window : tuple of int
        The mask's tight window in pixels of the crop: left, top, right, bottom, the last
        two exclusive.
    upsampler : Upsampler
        To the crop's size.
    threshold : float
        Pixels above it are the mask's.
    """

    logits: torch.Tensor
    window: Box
    upsampler: Upsampler
    threshold: float

    def pixels(self) -> torch.Tensor:
        """Return the mask within its window, bool."""
        return self.upsampler.window(self.logits, self.window) > self.threshold


class UnpackedMasks(MaskStore):
    """Masks that are upsampled and packed when `take` is called, and not before.

    Most candidates fall to duplicates, which only boxes and scores decide. All else that a
    store can do packs all masks at first use.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    windows : ndarray, int64, Nx4
        Left, top, width, height in pixels of the image, tight.
    areas : ndarray, int64, N
        Pixels of each mask, at least 1.
    parts : sequence of Part
        N of them.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        windows: npt.NDArray[np.int64],
        areas: npt.NDArray[np.int64],
        parts: Sequence[Part],
    ) -> None:
        # Not MaskStore's own: it wants the pixels, which `__getattr__` finds.
        self.shape, self.windows, self.areas = shape, windows, areas
        self._parts = list(parts)
        self._boxes = self._spans = self.nesting = None

    @classmethod
    def together(cls, shape: tuple[int, int], several: Sequence[UnpackedMasks]) -> UnpackedMasks:
        """Return the masks of several stores of an image of `shape` in one, in order."""
        none = np.empty((0, 4), dtype=np.int64)
        return cls(
            shape,
            np.concatenate([none, *(store.windows for store in several)]),
            np.concatenate([none[:, 0], *(store.areas for store in several)]),
            [part for store in several for part in store._parts],
        )

    @cached_property
    def packed(self) -> MaskStore:
        """All masks with their pixels."""
        return self._taken(np.arange(len(self)))

    def __getattr__(self, name: str) -> object:
        """Find what only a store with pixels has."""
        if name in ("buffer", "_offsets"):
            return getattr(self.packed, name)
        raise AttributeError(name)

    def take(self, indices: npt.ArrayLike) -> MaskStore:
        """Return the masks at `indices` (0 to N - 1), in that order, with their pixels."""
        if self._spans is not None or self.nesting is not None or "packed" in self.__dict__:
            return super().take(indices)
        return self._taken(np.asarray(indices, dtype=np.int64).reshape(-1))

    def _taken(self, chosen: npt.NDArray[np.int64]) -> MaskStore:
        with torch.no_grad():
            buffer = _packed([self._parts[index] for index in chosen])
        return MaskStore(self.shape, self.windows[chosen], self.areas[chosen], buffer)


def _packed(parts: Sequence[Part]) -> npt.NDArray[np.uint8]:
    """Pack masks' windows one after the other, eight pixels a byte, as `MaskStore` has them."""
    if not parts:
        return np.empty(0, dtype=np.uint8)
    if at_once.pays(parts[0].logits.device):
        return at_once.packed(parts)
    return np.concatenate([np.packbits(part.pixels().numpy()) for part in parts])
