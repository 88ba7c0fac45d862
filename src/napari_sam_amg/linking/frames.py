"""The time points that are tracked, whatever they are given as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError
from napari_sam_amg.linking.objects import Objects, checked_labels
from napari_sam_amg.linking.volume import Volume
from napari_sam_amg.masks import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_sam_amg.masks.ragged import Indices

Frame = Masks | Volume | npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Frames:
    """T time points of one kind and shape.

    Attributes
    ----------
    items : sequence
        Masks, volumes, or label images or volumes; those may be read when they are asked for.
    shape : tuple of int
        (Slices,) height and width of each in pixels.
    """

    items: Sequence[Any]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, frames: Iterable[Any]) -> Frames:
        """Check what is given; of a series of labels (TxHxW, TxZxHxW), the shape alone.

        Raises
        ------
        ImageError
            If there is no time point, or they differ in kind or shape.
        """
        shape = getattr(frames, "shape", None)
        if shape is not None:
            if len(shape) not in (3, 4) or not shape[0]:
                raise ImageError(
                    f"labels of shape {tuple(shape)}: give time x height x width or time x slices "
                    "x height x width, of at least one time point"
                )
            return cls(frames, tuple(shape[1:]))  # type: ignore[arg-type]
        items = list(frames)
        if not items:
            raise ImageError("there are no time points to track; give at least one")
        kinds = [_kind(item, number) for number, item in enumerate(items)]
        for number, kind in enumerate(kinds):
            if kind != kinds[0]:
                raise ImageError(
                    f"time point {number} is {_words(kind)}, time point 0 is {_words(kinds[0])}: "
                    "give time points of one kind and shape"
                )
        return cls(items, kinds[0][1])

    def __len__(self) -> int:
        return len(self.items)

    @property
    def axes(self) -> int:
        """Axes in space: 2 or 3."""
        return len(self.shape)

    def objects(self, number: int) -> Objects:
        """Return the objects of a time point."""
        item = self.items[number]
        if isinstance(item, Masks):
            return Objects.of_store(item.store)
        return item.objects() if isinstance(item, Volume) else Objects.of_labels(item)

    def sizes(self, number: int) -> Indices:
        """Return the pixels of each object of a time point, int64 N."""
        item = self.items[number]
        if isinstance(item, Masks):
            return item.areas
        if isinstance(item, Volume):
            owner = np.concatenate(item.labels) - 1
            areas = np.concatenate([masks.areas for masks in item.slices])
            return np.bincount(owner, weights=areas, minlength=len(item)).astype(np.int64)
        return _counted(item)[1]

    def names(self, number: int) -> Indices:
        """Return what the objects of a time point are called there, int64 N."""
        item = self.items[number]
        if isinstance(item, Masks | Volume):
            return np.arange(1, len(item) + 1, dtype=np.int64)
        return _counted(item)[0]

    def scores(self, number: int) -> npt.NDArray[np.float64]:
        """Return the predicted IoU of each object of a time point; NaN of labels."""
        item = self.items[number]
        if isinstance(item, Masks):
            return item.predicted_iou.astype(np.float64)
        if isinstance(item, Volume):
            return np.asarray(item.features["predicted_iou"], dtype=np.float64)
        return np.full(len(self.sizes(number)), np.nan)

    def labels(self, number: int) -> npt.NDArray[np.integer]:
        """Return a time point as labels; masks and volumes under their overlap rule."""
        item = self.items[number]
        if isinstance(item, Masks | Volume):
            return item.to_labels()
        return checked_labels(item)


def _counted(item: Any) -> tuple[Indices, Indices]:
    """Return the labels above 0, and how many pixels have each."""
    labels = checked_labels(item)
    names, counts = np.unique(labels[labels > 0], return_counts=True)
    return names.astype(np.int64), counts.astype(np.int64)


def _kind(item: object, number: int) -> tuple[str, tuple[int, ...]]:
    if isinstance(item, Masks | Volume):
        return type(item).__name__, item.shape
    shape = getattr(item, "shape", None)
    if shape is None or len(shape) not in (2, 3):
        raise ImageError(
            f"time point {number} is {type(item).__name__}"
            f"{'' if shape is None else f' of shape {tuple(shape)}'}: give Masks, a Volume, or "
            "labels (height x width or slices x height x width)"
        )
    return "labels", tuple(shape)


def _words(kind: tuple[str, tuple[int, ...]]) -> str:
    return f"{kind[0]} of {' x '.join(map(str, kind[1]))} pixels"
