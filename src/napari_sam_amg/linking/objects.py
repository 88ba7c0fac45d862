"""The objects of one slice, volume or label image, as stretches of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError
from napari_sam_amg.masks.ragged import Indices, offsets, sums
from napari_sam_amg.masks.spans import Spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.masks.store import MaskStore

Shape3 = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Objects:
    """N objects of one grid of Z x H x W pixels; they may overlap.

    Attributes
    ----------
    shape : tuple of int
        Planes, rows and columns; one plane for objects of an image.
    spans : Spans
        Their pixels, counted over the grid plane by plane and row by row.
    ids : ndarray, int64, N
        What each is called where it comes from.
    """

    shape: Shape3
    spans: Spans
    ids: Indices

    @classmethod
    def of_store(cls, store: MaskStore) -> Objects:
        """Return masks of an image as objects 1 to N."""
        # Not those that the store keeps once found: of a long series they would fill memory.
        return cls((1, *store.shape), Spans.of(store), np.arange(1, len(store) + 1))

    @classmethod
    def of_stores(cls, stores: Sequence[MaskStore], labels: Sequence[Indices]) -> Objects:
        """Return what masks of consecutive slices make together.

        Parameters
        ----------
        stores : sequence of MaskStore
            At least one.
        labels : sequence of ndarray, int64
            Which object, from 1, each mask is of; all of 1 to N are there.
        """
        height, width = stores[0].shape
        starts, stops, owners = [], [], []
        for plane, (store, label) in enumerate(zip(stores, labels, strict=True)):
            spans = Spans.of(store)
            starts.append(spans.start + plane * height * width)
            stops.append(spans.stop + plane * height * width)
            owners.append(np.repeat(label, np.diff(spans.offsets)))
        owner = np.concatenate(owners)
        order = np.argsort(owner, kind="stable")
        count = int(owner.max(initial=0))
        spans = Spans(
            len(stores) * height * width,
            np.concatenate(starts)[order],
            np.concatenate(stops)[order],
            offsets(np.bincount(owner, minlength=count + 1)[1:]),
        )
        return cls((len(stores), height, width), spans, np.arange(1, count + 1))

    @classmethod
    def of_labels(cls, labels: npt.NDArray[np.integer]) -> Objects:
        """Return the objects of a label image or volume; 0 is background.

        Raises
        ------
        ImageError
            If it is no array of integers in two or three dimensions.
        """
        array = checked_labels(labels)
        grid = array.reshape(-1, *array.shape[-2:])
        before = np.zeros_like(grid)
        before[..., 1:] = grid[..., :-1]
        flat = grid.reshape(-1)
        change = grid != before
        change[..., 0] = True
        edges = np.flatnonzero(change.reshape(-1))
        ends = np.append(edges[1:], flat.size)
        value = flat[edges]
        kept = value > 0
        ids, index = np.unique(value[kept], return_inverse=True)
        order = np.argsort(index, kind="stable")
        spans = Spans(
            flat.size,
            edges[kept][order].astype(np.int64),
            ends[kept][order].astype(np.int64),
            offsets(np.bincount(index, minlength=len(ids))),
        )
        depth, height, width = grid.shape
        return cls((depth, height, width), spans, ids.astype(np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def owner(self) -> Indices:
        """Which object each span is of, int64 K."""
        return np.repeat(np.arange(len(self)), np.diff(self.spans.offsets))

    @cached_property
    def sizes(self) -> Indices:
        """Pixels of each object, int64 N."""
        return sums(self.spans.lengths, self.spans.offsets)

    @cached_property
    def _places(self) -> tuple[Indices, Indices, Indices]:
        """Plane, row and first column of each span."""
        row, column = np.divmod(self.spans.start, self.shape[2])
        plane, row = np.divmod(row, self.shape[1])
        return plane, row, column

    @cached_property
    def centroids(self) -> npt.NDArray[np.float64]:
        """Mean plane, row and column of each object's pixels, float64 Nx3."""
        plane, row, column = self._places
        length, bounds = self.spans.lengths, self.spans.offsets
        twice = (2 * plane * length, 2 * row * length, (2 * column + length - 1) * length)
        total = np.stack([sums(values, bounds) for values in twice], axis=1)
        middles: npt.NDArray[np.float64] = total / (2 * self.sizes[:, None])
        return middles

    @cached_property
    def boxes(self) -> Indices:
        """First plane, row, column, and those one past the last, int64 Nx6."""
        if not len(self):
            return np.empty((0, 6), dtype=np.int64)
        plane, row, column = self._places
        first = self.spans.offsets[:-1]
        low = [np.minimum.reduceat(values, first) for values in (plane, row, column)]
        last = (plane, row, column + self.spans.lengths - 1)
        high = [np.maximum.reduceat(values, first) + 1 for values in last]
        return np.stack([*low, *high], axis=1)

    @property
    def at_border(self) -> npt.NDArray[np.bool_]:
        """Whether each object has a pixel where the grid ends, bool N; a single plane ends not."""
        axes = slice(0 if self.shape[0] > 1 else 1, 3)
        low, high = self.boxes[:, :3], self.boxes[:, 3:]
        touching: npt.NDArray[np.bool_] = ((low == 0) | (high == self.shape))[:, axes].any(axis=1)
        return touching

    def laid_out(self, margin: Shape3, shift: Shape3) -> tuple[Indices, Indices]:
        """Return where spans start and stop, counted over a larger grid, moved within it.

        Parameters
        ----------
        margin : tuple of int
            Planes, rows and columns that the grid is larger by, on each side.
        shift : tuple of int
            By how much the objects are moved; no more than the margin.
        """
        if not any(margin):
            return self.spans.start, self.spans.stop
        _, height, width = (side + 2 * m for side, m in zip(self.shape, margin, strict=True))
        plane, row, column = (
            place + m + s for place, m, s in zip(self._places, margin, shift, strict=True)
        )
        start = (plane * height + row) * width + column
        return start, start + self.spans.lengths


def checked_labels(labels: npt.ArrayLike) -> npt.NDArray[np.integer]:
    """Return a label image (HxW) or volume (ZxHxW) as an array.

    Raises
    ------
    ImageError
        If it is no array of integers in two or three dimensions.
    """
    array = np.asarray(labels)
    if array.ndim not in (2, 3) or array.dtype.kind not in "bui":
        raise ImageError(
            f"labels of shape {array.shape} ({array.dtype}): give integers, height x width or "
            "slices x height x width for each time point"
        )
    return array.astype(np.uint8) if array.dtype.kind == "b" else array
