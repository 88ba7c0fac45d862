"""Intensities: contrast limits, and the linear mapping to 8 bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# The same scene as 8-bit, 16-bit or float differs by rounding noise, and a grey level that
# falls on a rounding boundary must not flip with it. For 8-bit scenes, whose limits are grey
# levels too, values other than ties stay at least 1/510 away from a boundary: half of that.
_TIE_TOLERANCE = 0.00094
_LARGEST_TOLERANCE = 0.1
_BLOCK = 1 << 22


@dataclass(frozen=True)
class Brightness:
    """By which rule images become 8-bit; see `napari_sam_amg.image.prepare_image`.

    Attributes
    ----------
    contrast, gamma, percentiles, map_uint8
        Its arguments.
    """

    contrast: tuple[float, float] | None
    gamma: float
    percentiles: tuple[float, float]
    map_uint8: bool


def check_contrast(contrast: object) -> tuple[float, float]:
    """Check a pair of contrast limits.

    Parameters
    ----------
    contrast : sequence of two numbers
        The values that become black and white.

    Returns
    -------
    (float, float)

    Raises
    ------
    ParameterError
        If it is not two finite numbers of which the first is smaller.
    """
    low, high = _pair(contrast, "contrast")
    if not low < high:
        raise ParameterError(
            f"contrast=({low:g}, {high:g}): the first value (black) must be below the "
            "second (white)"
        )
    return low, high


def check_percentiles(percentiles: object) -> tuple[float, float]:
    """Check a pair of percentiles.

    Parameters
    ----------
    percentiles : sequence of two numbers
        In percent, the smaller one first.

    Returns
    -------
    (float, float)

    Raises
    ------
    ParameterError
        If it is not two rising numbers between 0 and 100.
    """
    low, high = _pair(percentiles, "percentiles")
    if not 0.0 <= low < high <= 100.0:
        raise ParameterError(
            f"percentiles=({low:g}, {high:g}): give two numbers between 0 and 100, the "
            "smaller one first"
        )
    return low, high


def _pair(value: Any, name: str) -> tuple[float, float]:
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        low, high = (float(v) for v in value)
    except (TypeError, ValueError, OverflowError):
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)):
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise ParameterError(f"{name}={shown}: give two finite numbers, (low, high)")
    return low, high


def percentile_ranks(count: int, low: float, high: float) -> tuple[int, int]:
    """Return which of `count` sorted values, from 0, two percentiles mean: values themselves."""
    last = count - 1
    return math.floor(low / 100.0 * last), math.ceil(high / 100.0 * last)


def measure_contrast(
    values: NDArray[Any], low: float, high: float, notes: list[str]
) -> tuple[float, float]:
    """Find the contrast limits of an image by percentiles.

    Parameters
    ----------
    values : ndarray
        Finite integers or floats, in any shape.
    low, high : float
        Percentiles.
    notes : list of str
        Gets a sentence for the user where the percentiles coincide.

    Returns
    -------
    (float, float)
        Values of the image itself, never between two of them: interpolated limits would
        make grey levels depend on rounding noise. Equal if all values are.
    """
    last = values.size - 1
    ranks = percentile_ranks(values.size, low, high)
    ordered = np.partition(values, sorted({0, *ranks, last}), axis=None)
    black, white = float(ordered[ranks[0]]), float(ordered[ranks[1]])
    if black < white:
        return black, white
    black, white = float(ordered[0]), float(ordered[last])
    if black < white:
        notes.append(
            f"Nearly all values are the same, so contrast spans all of them, {black:g} to "
            f"{white:g}, instead of percentiles {low:g} to {high:g}."
        )
    else:
        notes.append(f"Every value is {black:g}: the model was given a black image.")
    return black, white


def check_gamma(gamma: object) -> float:
    """Return an exponent of brightness; ParameterError if it is not positive and finite."""
    if isinstance(gamma, bool) or not isinstance(gamma, int | float | np.number):
        raise ParameterError(f"gamma={gamma!r}: give a positive number; 1 changes nothing")
    value = float(gamma)
    if not (math.isfinite(value) and value > 0):
        raise ParameterError(f"gamma={value:g}: give a positive number; 1 changes nothing")
    return value


def map_to_grey(
    array: NDArray[Any], contrast: tuple[float, float], gamma: float = 1.0
) -> NDArray[np.uint8]:
    """Map an image to 8 bits, linearly or with a gamma, rounding halves up.

    Parameters
    ----------
    array : ndarray
        Integers or floats, in any shape; NaN and -infinity become 0, +infinity 255.
    contrast : (float, float)
        The values that become 0 and 255; if they are equal, everything becomes 0.
    gamma : float
        The share of the way from black to white is raised to it, as napari does.

    Returns
    -------
    ndarray of uint8
    """
    result = np.empty(array.shape, np.uint8)
    if contrast[0] == contrast[1]:
        result[...] = 0
        return result
    if array.dtype.kind in "ui" and array.dtype.itemsize <= 2:
        limits = np.iinfo(array.dtype)
        levels = np.arange(limits.min, limits.max + 1)
        table = _grey(levels.astype(np.float64), contrast, 0.0, gamma)
        index = array.astype(np.int32)
        index -= limits.min
        np.take(table, index, out=result, mode="clip")
        return result
    # Floats carry the rounding of how they were made. Half precision does not count: whole
    # grey levels are exact in it, and others are too coarse for any tolerance to help.
    floats = array.dtype.kind == "f" and array.dtype.itemsize >= 4
    noise = float(np.finfo(array.dtype).eps) if floats else 0.0
    for rows in _blocks(array.shape):
        with np.errstate(over="ignore"):
            values = array[rows].astype(np.float64)
        result[rows] = _grey(values, contrast, noise, gamma)
    return result


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Yield slices of rows, so that no float64 copy of a whole large image is made."""
    step = max(1, _BLOCK // math.prod(shape[1:]))
    for start in range(0, shape[0], step):
        yield slice(start, start + step)


def _grey(
    values: NDArray[np.float64], contrast: tuple[float, float], noise: float, gamma: float
) -> NDArray[np.uint8]:
    """Map values to grey levels; `values` is overwritten."""
    # Halved, so that the difference of the two largest floats is still a float.
    low, high = contrast[0] / 2.0, contrast[1] / 2.0
    width = high - low
    if width == 0.0:
        low, high = contrast
        width = high - low
    else:
        values /= 2.0
    error = 2.0 * noise * max(abs(low), abs(high)) / width * 255.0
    tolerance = max(_TIE_TOLERANCE, min(_LARGEST_TOLERANCE, error))
    np.nan_to_num(values, copy=False, nan=low, posinf=high, neginf=low)
    np.clip(values, low, high, out=values)
    values -= low
    values /= width
    if gamma != 1.0:
        values **= gamma
    values *= 255.0
    values += 0.5 + tolerance
    return np.floor(values, out=values).astype(np.uint8)
