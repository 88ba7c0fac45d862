"""Percentiles of arrays that need not fit into memory."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import Cancelled, ImageError
from napari_sam_amg.intensity import percentile_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_sam_amg.models import InputProfile
    from napari_sam_amg.sources import ImageSource

_HALF = 1 << 16


def stack_contrast(
    stack: Any,
    percentiles: tuple[float, float],
    *,
    plane_axes: int = 2,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """Find contrast limits by percentiles of all finite values of a stack.

    Integers of 8 and 16 bits are read once, other types twice, chunk by chunk: first the
    upper and then the lower 16 bits of their float32 value are counted, so that the values
    of the wanted ranks come out exactly (a radix selection).

    Parameters
    ----------
    stack : array
        NumPy, dask, zarr or the like; booleans, integers or floats.
    percentiles : (float, float)
        In percent, the smaller one first; the ranks are those of `measure_contrast`.
    plane_axes : int
        How many of the last axes belong to one plane: more than that is not held at once,
        except where a chunk of the array is larger.
    should_stop : callable
        Asked between chunks.

    Returns
    -------
    (float, float)
        Values of the stack; float64 and large integers to the precision of float32. Where
        the percentiles coincide, the smallest and largest value; equal if all are.

    Raises
    ------
    Cancelled
        If `should_stop` said so.
    ImageError
        If the stack holds no finite value.
    """

    def chunks() -> Iterator[NDArray[Any]]:
        for place in _places(stack, plane_axes):
            if should_stop():
                raise Cancelled("the run was ended while the stack was read")
            yield np.asarray(stack[place])

    small = np.dtype(stack.dtype).kind in "uib" and np.dtype(stack.dtype).itemsize <= 2
    counts = np.zeros(_HALF, dtype=np.int64)
    for chunk in chunks():
        keys = _keys16(chunk) if small else _keys32(chunk) >> 16
        counts += np.bincount(keys, minlength=_HALF)
    total = int(counts.sum())
    if not total:
        raise ImageError("the stack holds no finite value: there is nothing to see in it")
    ranks = [*percentile_ranks(total, *percentiles), 0, total - 1]
    ends = np.cumsum(counts)
    upper = [int(np.searchsorted(ends, rank, side="right")) for rank in ranks]
    if small:
        first = int(np.iinfo(stack.dtype).min) if np.dtype(stack.dtype).kind != "b" else 0
        return _limits([float(key + first) for key in upper])
    lower = {key: np.zeros(_HALF, dtype=np.int64) for key in upper}
    for chunk in chunks():
        keys = _keys32(chunk)
        for key, fine in lower.items():
            fine += np.bincount(keys[keys >> 16 == key] & (_HALF - 1), minlength=_HALF)
    values = []
    for rank, key in zip(ranks, upper, strict=True):
        before = int(ends[key] - counts[key])
        within = int(np.searchsorted(np.cumsum(lower[key]), rank - before, side="right"))
        values.append(_value((key << 16) | within))
    return _limits(values)


def shared_contrast(
    stack: Any,
    profile: InputProfile,
    *,
    plane_axes: int = 2,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float] | None:
    """Find the contrast with which a model is to see all planes of a stack.

    Parameters
    ----------
    stack, plane_axes, should_stop
        As for `stack_contrast`.
    profile : InputProfile
        Of the model; says by which percentiles.

    Returns
    -------
    (float, float) or None
        The first smaller than the second; None if the model sees such values as they are.
    """
    kind = np.dtype(stack.dtype)
    if kind.kind == "b" or (kind == np.uint8 and not profile.map_uint8):
        return None
    low, high = stack_contrast(
        stack, profile.percentiles, plane_axes=plane_axes, should_stop=should_stop
    )
    return low, high if low < high else low + 1.0


def source_contrast(
    source: ImageSource, channel: int | slice | None, profile: InputProfile
) -> tuple[float, float] | None:
    """Find the contrast of all planes of an image, as `shared_contrast`.

    Parameters
    ----------
    source : ImageSource
    channel : int or slice or None
        What is read along C: see `Plane`.
    profile : InputProfile
        Of the model.
    """
    from napari_sam_amg.sources.lazy import ChannelStack

    stack = ChannelStack(source.data, source.axes, channel)
    return shared_contrast(stack, profile, plane_axes=stack.plane_axes)


def _limits(values: list[float]) -> tuple[float, float]:
    black, white, smallest, largest = values
    return (black, white) if black < white else (smallest, largest)


def _places(stack: Any, plane_axes: int) -> Iterator[tuple[slice, ...]]:
    """Yield where chunks lie along the axes in front of a plane's."""
    leading = stack.shape[: max(0, len(stack.shape) - plane_axes)]
    sizes = getattr(stack, "chunks", None) or (1,) * len(leading)
    along = []
    for length, size in zip(leading, sizes, strict=False):
        lengths = size if isinstance(size, tuple) else (size,) * math.ceil(length / size)
        ends = np.minimum(np.cumsum(lengths), length).tolist()
        along.append([slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)])
    yield from itertools.product(*along)


def _keys16(chunk: NDArray[Any]) -> NDArray[np.int64]:
    """Give small integers numbers from 0 on, in their order."""
    if chunk.dtype.kind == "b":
        chunk = chunk.astype(np.uint8)
    return chunk.reshape(-1).astype(np.int64) - int(np.iinfo(chunk.dtype).min)


def _keys32(chunk: NDArray[Any]) -> NDArray[np.int64]:
    """Give finite values numbers in their order: the bits of a float32."""
    with np.errstate(over="ignore"):
        values = chunk.reshape(-1).astype(np.float32)
    values = values[np.isfinite(values)] + np.float32(0)  # no negative zero
    bits = values.view(np.uint32).astype(np.int64)
    return np.where(bits >> 31, (1 << 32) - 1 - bits, bits | (1 << 31))


def _value(key: int) -> float:
    bits = key & ~(1 << 31) if key >> 31 else (1 << 32) - 1 - key
    return float(np.array(bits, dtype=np.uint32).view(np.float32))
