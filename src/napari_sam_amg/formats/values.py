"""Numbers of files from anywhere, checked and as the masks hold them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ReadError

BEYOND_FLOAT32 = 1e39
"""What stands for infinity, which JSON does not have."""


def to_float32(value: Any, where: str) -> float:
    """Return a number from a file as float32 holds it; NaN for null.

    Raises
    ------
    ReadError
        If it is not a number.
    """
    if value is None:
        return math.nan
    if type(value) not in (int, float):
        raise ReadError(f"{where} is {value!r:.40}; expected a number")
    with np.errstate(over="ignore"):
        try:
            return float(np.float32(value))
        except OverflowError:
            return math.inf if value > 0 else -math.inf


def to_numbers(value: Any, length: int, where: str) -> list[float]:
    """Return a list of so many numbers from a file as float32 holds them."""
    if not isinstance(value, list) or len(value) != length:
        raise ReadError(f"{where} is not a list of {length} numbers")
    return [to_float32(item, where) for item in value]


def to_box(value: Any, where: str) -> list[int]:
    """Return four whole numbers from a file: left, top, width, height in pixels."""
    if not isinstance(value, list) or len(value) != 4:
        raise ReadError(f"{where} is not a list of 4 numbers")
    for item in value:
        if type(item) not in (int, float) or not abs(item) < 2**53 or item != int(item):
            raise ReadError(f"{where} holds {item!r:.40}; expected whole numbers of pixels")
    return [int(item) for item in value]


def to_column(values: Any, dtype: np.dtype[Any], where: str) -> npt.NDArray[Any]:
    """Return a list from a file as a column of bool, whole numbers or float.

    Raises
    ------
    ReadError
        If it is no list of such; in float, null is NaN and what float32 cannot hold infinite.
    """
    if not isinstance(values, list):
        raise ReadError(f"{where} is not a list")
    taken = {"b": (bool,), "i": (int,), "f": (int, float, type(None))}[dtype.kind]
    wrong = [value for value in values if type(value) not in taken]
    if wrong:
        raise ReadError(f"{where} holds {wrong[0]!r:.40}; expected {dtype}")
    if dtype.kind == "f":
        return np.array([_to_float(value) for value in values], dtype=dtype)
    try:
        return np.array(values, dtype=dtype)
    except OverflowError:
        raise ReadError(f"{where} holds a number that is beyond {dtype}") from None


def _to_float(value: float | None) -> float:
    if value is None:
        return math.nan
    return float(value) if abs(value) < BEYOND_FLOAT32 else math.copysign(math.inf, value)
