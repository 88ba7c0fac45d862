"""Shape and intensity of masks, by scikit-image's names and definitions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from napari_sam_amg.masks.store import MaskStore

LENGTHS = (
    "axis_major_length",
    "axis_minor_length",
    "equivalent_diameter_area",
    "feret_diameter_max",
    "perimeter",
)
"""What is measured in pixels, and in a unit of length where the size of a pixel is known."""

SHAPES = ("area", "centroid", *LENGTHS, "eccentricity", "extent", "orientation", "solidity")
"""What is measured of a mask alone."""

INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
"""What is measured of each channel of an image within a mask."""

_PIXELS_AT_ONCE = 1 << 22


def measure(
    store: MaskStore,
    image: npt.ArrayLike | None = None,
    *,
    channel_names: Sequence[str] | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    unit: str = "um",
) -> pd.DataFrame:
    """Measure masks, each with all its pixels, also those that it shares with others.

    Parameters
    ----------
    store : MaskStore
        N masks.
    image : array, HxW or HxWxC, optional
        What intensities are taken from, in its own values; None measures shapes only.
    channel_names : sequence of str, optional
        Of C channels; by default their numbers from 0.
    pixel_size : float or (float, float), optional
        Side of a pixel, or its height and width; adds columns in `unit`.
    unit : str
        What `pixel_size` is in.

    Returns
    -------
    DataFrame, N rows
        ``label``, then what ``skimage.measure.regionprops_table`` gives by the same names for
        each mask as an object of its own: shapes in pixels, ``centroid-0`` and ``-1`` being row
        and column; then ``area_um2``, ``centroid_um-0``, ``perimeter_um`` and the like; then
        intensities, of several channels ``intensity_mean-0`` and so on. The perimeter in units
        is NaN where pixels are not square: it is not defined there.

    Raises
    ------
    ImageError
        If the image has another shape than that of the masks.
    ParameterError
        If channels and their names differ in number, or a size is not above 0.
    """
    import pandas as pd

    channels = _checked_image(image, store.shape)
    names = _suffixes(channels, channel_names)
    columns: dict[str, npt.NDArray[Any]] = {
        "label": np.arange(1, len(store) + 1, dtype=np.int64),
        **_shapes(store, (1.0, 1.0), SHAPES),
    }
    if pixel_size is not None:
        columns |= _in_units(store, columns, _checked_size(pixel_size), unit)
    if channels is not None:
        table = _tables(store, INTENSITIES, channels)
        for name in INTENSITIES:
            for number, suffix in enumerate(names):
                columns[name + suffix] = table[f"{name}-{number}"]
    return pd.DataFrame(columns)


def _checked_image(image: npt.ArrayLike | None, shape: tuple[int, int]) -> npt.NDArray[Any] | None:
    """Return an image as HxWxC."""
    if image is None:
        return None
    pixels = np.asarray(image)
    if pixels.ndim not in (2, 3) or pixels.shape[:2] != shape or pixels.dtype.kind not in "buif":
        raise ImageError(
            f"the image has the shape {pixels.shape} ({pixels.dtype}), the masks are of one of "
            f"{shape[0]} x {shape[1]} pixels: give numbers, height x width or height x width x "
            "channels"
        )
    if pixels.dtype.kind == "b":
        pixels = pixels.astype(np.uint8)
    return pixels.reshape(*shape, -1)


def _suffixes(channels: npt.NDArray[Any] | None, names: Sequence[str] | None) -> list[str]:
    count = 0 if channels is None else channels.shape[2]
    if names is None:
        return [""] if count == 1 else [f"-{number}" for number in range(count)]
    if len(set(names)) != count or len(names) != count:
        raise ParameterError(
            f"channel_names={list(names)!r}: give {count} different names, one for each channel"
        )
    return [f"-{name}" for name in names]


def _checked_size(size: float | tuple[float, float]) -> tuple[float, float]:
    height, width = np.broadcast_to(np.asarray(size, dtype=float), 2).tolist()
    if not (0 < height < math.inf and 0 < width < math.inf):
        raise ParameterError(f"pixel_size={size!r}: give one or two lengths above 0")
    return height, width


def _in_units(
    store: MaskStore, pixels: dict[str, npt.NDArray[Any]], size: tuple[float, float], unit: str
) -> dict[str, npt.NDArray[Any]]:
    """Return lengths, areas and places in units of length."""
    height, width = size
    found = {f"area_{unit}2": pixels["area"] * (height * width)}
    for axis, length in enumerate(size):
        found[f"centroid_{unit}-{axis}"] = pixels[f"centroid-{axis}"] * length
    if height == width:
        return found | {f"{name}_{unit}": pixels[name] * height for name in LENGTHS}
    slanted = tuple(name for name in LENGTHS if name != "perimeter")
    table = _shapes(store, size, slanted)
    table["perimeter"] = np.full(len(store), np.nan)
    return found | {f"{name}_{unit}": table[name] for name in LENGTHS}


def _shapes(
    store: MaskStore, spacing: tuple[float, float], names: tuple[str, ...]
) -> dict[str, npt.NDArray[Any]]:
    table = _tables(store, names, spacing=spacing)
    return {name: column for name, column in table.items() if name != "label"}


def _tables(
    store: MaskStore,
    names: tuple[str, ...],
    image: npt.NDArray[Any] | None = None,
    spacing: tuple[float, float] = (1.0, 1.0),
) -> dict[str, npt.NDArray[Any]]:
    """Let scikit-image tabulate masks; places are those in the image."""
    from skimage.measure import regionprops_table

    parts = []
    # Without masks one stands in, so that the columns are known.
    for rows, labels, pixels, shifts in _sheets(store, image):
        table = regionprops_table(  # type: ignore[no-untyped-call]
            labels, intensity_image=pixels, properties=names, spacing=spacing
        )
        for axis in range(2):
            if f"centroid-{axis}" in table:
                table[f"centroid-{axis}"] = table[f"centroid-{axis}"] + shifts[:, axis]
        parts.append((rows, table))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")
    found = {
        name: np.concatenate([table[name] for _, table in parts])[order] for name in parts[0][1]
    }
    return found if len(store) else {name: column[:0] for name, column in found.items()}


def _sheets(
    store: MaskStore, image: npt.NDArray[Any] | None
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], Any, npt.NDArray[np.int64]]]:
    """Lay masks out one below the other, so that none covers another.

    Yields
    ------
    ndarray, int64, n
        Rows of masks.
    ndarray, int32, hxw
        They as labels 1 to n.
    ndarray, hxwxC, or None
        The image's pixels at the same places.
    ndarray, int64, nx2
        What places on the sheet lack to those in the image: rows, columns.
    """
    if not len(store):
        pixels = None if image is None else np.zeros((1, 1, image.shape[2]), dtype=image.dtype)
        one = np.ones((1, 1), dtype=np.int32)
        yield np.zeros(1, dtype=np.int64), one, pixels, np.zeros((1, 2), dtype=np.int64)
        return
    lefts, tops, widths, heights = store.windows.T
    by_width = np.argsort(widths, kind="stable")
    while len(by_width):
        # A sheet is as wide as its widest mask, the last one.
        below = np.cumsum(heights[by_width])
        count = max(1, int((below * widths[by_width] <= _PIXELS_AT_ONCE).sum()))
        rows, by_width = by_width[:count], by_width[count:]
        starts = below[:count] - heights[rows]
        labels = np.zeros((int(below[count - 1]), int(widths[rows[-1]])), dtype=np.int32)
        pixels = None if image is None else np.zeros((*labels.shape, image.shape[2]), image.dtype)
        for number, (row, start) in enumerate(zip(rows.tolist(), starts.tolist(), strict=True), 1):
            window = store.window(row)
            height, width = window.shape
            place = slice(start, start + height), slice(0, width)
            labels[place][window] = number
            if image is not None and pixels is not None:
                top, left = int(tops[row]), int(lefts[row])
                pixels[place] = image[top : top + height, left : left + width]
        yield rows, labels, pixels, np.stack([tops[rows] - starts, lefts[rows]], axis=1)
