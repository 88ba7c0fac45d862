"""Arrays of planes that are read one by one, when they are asked for."""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt


class ArrayLike(Protocol):
    """What NumPy, zarr, dask and `LazyPlanes` have in common."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""

    @property
    def dtype(self) -> Any:
        """Type of the values."""

    def __getitem__(self, index: Any) -> Any:
        """Return a part."""


class LazyPlanes:
    """An array whose last axes are read plane by plane.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    plane_axes : int
        How many of the last axes belong to a plane: 2, or 3 with colour.
    read : callable
        Returns the plane at a place along the axes in front.

    Attributes
    ----------
    shape, dtype, ndim
        As of a NumPy array.
    chunks : tuple of int
        One plane each.
    """

    def __init__(
        self,
        shape: Sequence[int],
        dtype: npt.DTypeLike,
        *,
        plane_axes: int,
        read: Callable[[tuple[int, ...]], npt.NDArray[Any]],
    ) -> None:
        self.shape = tuple(shape)
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.ndim = len(self.shape)
        self._front = self.ndim - plane_axes
        self.chunks = (1,) * self._front + self.shape[self._front :]
        self._read = read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read the planes of a part: whole numbers, slices and an ellipsis are taken."""
        places = self._expanded(index if isinstance(index, tuple) else (index,))
        front, rest = places[: self._front], tuple(places[self._front :])
        ranges = [
            range(length)[place] if isinstance(place, slice) else [_checked(place, length)]
            for place, length in zip(front, self.shape, strict=False)
        ]
        planes = [self._read(where)[rest] for where in itertools.product(*ranges)]
        if not planes:
            found = np.empty((0, *self.shape[self._front :]), self.dtype)[(slice(None), *rest)]
            planes_shape = found.shape[1:]
        else:
            found, planes_shape = np.stack(planes), planes[0].shape
        kept = [len(r) for r, place in zip(ranges, front, strict=True) if isinstance(place, slice)]
        return found.reshape(*kept, *planes_shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """Read everything."""
        found = self[...]
        return found if dtype is None else found.astype(dtype)

    def _expanded(self, index: tuple[Any, ...]) -> list[Any]:
        if Ellipsis in index:
            place = index.index(Ellipsis)
            missing = self.ndim - len(index) + 1
            index = (*index[:place], *[slice(None)] * missing, *index[place + 1 :])
        if len(index) > self.ndim:
            raise IndexError(f"{len(index)} indices for {self.ndim} axes")
        full = [*index, *[slice(None)] * (self.ndim - len(index))]
        return [place if isinstance(place, slice) else operator.index(place) for place in full]


def _checked(place: int, length: int) -> int:
    if not -length <= place < length:
        raise IndexError(f"index {place} for an axis of length {length}")
    return place % length


class ChannelStack:
    """One channel of an array: the planes that are to look alike, with the plane's axes last.

    Parameters
    ----------
    data : array
        With the axes `axes`; may be lazy.
    axes : str
        Its axes, of which Y and X, or Y, X and S, are the last.
    channel : int or slice, optional
        Along C.

    Attributes
    ----------
    shape, dtype, chunks
        As of the channel.
    plane_axes : int
        How many of the last axes belong to a plane.
    """

    def __init__(self, data: Any, axes: str, channel: int | slice | None = None) -> None:
        self._data = data
        self._channel = channel
        self._at = axes.find("C")
        kept = [n for n, axis in enumerate(axes) if axis != "C" or not isinstance(channel, int)]
        self.shape = tuple(int(data.shape[n]) for n in kept)
        self.dtype = np.dtype(data.dtype)
        self.plane_axes = 3 if axes.endswith("S") else 2
        sizes = getattr(data, "chunks", None) or (1,) * len(axes)
        self.chunks = tuple(sizes[n] for n in kept)

    def __getitem__(self, place: tuple[slice, ...]) -> npt.NDArray[Any]:
        """Read a part, given by slices along the first axes."""
        index: list[Any] = list(place)
        if self._at >= 0 and isinstance(self._channel, int):
            index += [slice(None)] * (self._at - len(index))
            index.insert(self._at, self._channel)
        part = np.asarray(self._data[tuple(index)])
        # Alpha is no brightness.
        return part[..., :3] if self.plane_axes == 3 else part
