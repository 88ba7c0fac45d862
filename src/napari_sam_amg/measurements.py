"""Shape and intensity of masks, by scikit-image's names and definitions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

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

COLUMNS = ("label", "area", "centroid-0", "centroid-1", *SHAPES[2:])
"""What a table of measurements begins with."""

INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max", "intensity_std")
"""What is measured of each channel of an image within a mask."""

_PIXELS_AT_ONCE = 1 << 22


COLOURS = ("red", "green", "blue")
"""What follows an image's name where its colours are channels."""


def measure(
    store: MaskStore,
    image: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    *,
    channel_names: Sequence[str] | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    unit: str = "um",
) -> pd.DataFrame:
    """Measure the masks of a store; all else is as for `Masks.measure`."""
    import pandas as pd

    channels = _channels(image, channel_names, store.shape)
    columns: dict[str, npt.NDArray[Any]] = {
        "label": np.arange(1, len(store) + 1, dtype=np.int64),
        **_shapes(store, (1.0, 1.0), SHAPES),
    }
    if pixel_size is not None:
        columns |= _in_units(store, columns, _checked_size(pixel_size), unit)
    return pd.DataFrame(columns | _intensities(store, channels))


def measure_intensities(
    store: MaskStore,
    image: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    *,
    channel_names: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Measure the intensities of each mask alone; arguments and columns as for `measure`."""
    import pandas as pd

    channels = _channels(image, channel_names, store.shape)
    return pd.DataFrame({"label": np.arange(1, len(store) + 1)} | _intensities(store, channels))


def _channels(
    image: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None,
    names: Sequence[str] | None,
    shape: tuple[int, int],
) -> dict[str, npt.NDArray[Any]]:
    """Return the channels, HxW, by what is put after the names of their columns."""
    if isinstance(image, Mapping):
        if names is not None:
            raise ParameterError("channel_names: the image has names already; leave them out")
        return {f"-{name}": _checked(plane, shape, (2,)) for name, plane in image.items()}
    planes: list[npt.NDArray[Any]] = []
    if image is not None:
        pixels = _checked(image, shape, (2, 3)).reshape(*shape, -1)
        planes = [pixels[..., number] for number in range(pixels.shape[2])]
    if names is None:
        one = len(planes) == 1
        return {"" if one else f"-{number}": plane for number, plane in enumerate(planes)}
    if len(set(names)) != len(planes) or len(names) != len(planes):
        raise ParameterError(
            f"channel_names={list(names)!r}: give {len(planes)} different names, one for each "
            "channel"
        )
    return {f"-{name}": plane for name, plane in zip(names, planes, strict=True)}


def _checked(
    image: npt.ArrayLike, shape: tuple[int, int], axes: tuple[int, ...]
) -> npt.NDArray[Any]:
    pixels = np.asarray(image)
    if pixels.ndim not in axes or pixels.shape[:2] != shape or pixels.dtype.kind not in "buif":
        colour = " or height x width x channels" if 3 in axes else ""
        raise ImageError(
            f"the image has the shape {pixels.shape} ({pixels.dtype}), the masks are of one of "
            f"{shape[0]} x {shape[1]} pixels: give numbers, height x width{colour}"
        )
    # Of these, sums and differences would overflow.
    wider = {"bool": np.uint8, "float16": np.float32}.get(pixels.dtype.name)
    return pixels if wider is None else pixels.astype(wider)


def _checked_size(size: float | tuple[float, float]) -> tuple[float, float]:
    try:
        height, width = np.broadcast_to(np.asarray(size, dtype=float), 2).tolist()
    except (TypeError, ValueError):
        height = width = 0.0
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
    """Let scikit-image tabulate shapes; places are those in the image."""
    from skimage.measure import regionprops_table

    parts = []
    for sheet in _sheets(store):
        table = regionprops_table(  # type: ignore[no-untyped-call]
            sheet.labels, properties=names, spacing=spacing
        )
        for axis in range(2):
            if f"centroid-{axis}" in table:
                table[f"centroid-{axis}"] = table[f"centroid-{axis}"] + sheet.shifts[:, axis]
        parts.append((sheet.rows, table))
    return _in_order(parts, len(store))


def _intensities(
    store: MaskStore, channels: dict[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Let scikit-image tabulate intensities.

    Channel by channel: of several together, NumPy adds float32 up one by one, which is off by
    percents in large masks.
    """
    from skimage.measure import regionprops_table

    parts = []
    for sheet in _sheets(store) if channels else ():
        found: dict[tuple[str, str], npt.NDArray[Any]] = {}
        for suffix, plane in channels.items():
            # The standard deviation of infinite values is not a number, of which NumPy warns.
            with np.errstate(invalid="ignore"):
                table = regionprops_table(  # type: ignore[no-untyped-call]
                    sheet.labels, sheet.pixels(store, plane), properties=INTENSITIES
                )
            found |= {(name, suffix): table[name] for name in INTENSITIES}
        names = [(name, suffix) for name in INTENSITIES for suffix in channels]
        parts.append((sheet.rows, {name + suffix: found[name, suffix] for name, suffix in names}))
    return _in_order(parts, len(store)) if parts else {}


def _in_order(
    parts: list[tuple[npt.NDArray[np.int64], dict[str, npt.NDArray[Any]]]], count: int
) -> dict[str, npt.NDArray[Any]]:
    """Put the tables of sheets together, in the order of masks."""
    order = np.argsort(np.concatenate([rows for rows, _ in parts]), kind="stable")[:count]
    return {
        name: np.concatenate([table[name] for _, table in parts])[order] for name in parts[0][1]
    }


class _Sheet(NamedTuple):
    """Masks laid out one below the other, so that none covers another.

    ``rows`` are n masks, ``labels`` they as labels 1 to n, ``starts`` the rows of the sheet
    where they begin, and ``shifts`` (nx2: rows, columns) what places on the sheet lack to
    those in the image.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    shifts: npt.NDArray[np.int64]

    def pixels(self, store: MaskStore, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return an image's pixels at the same places."""
        found = np.zeros(self.labels.shape, plane.dtype)
        if not len(store):
            return found
        for (left, top, width, height), start in zip(
            store.windows[self.rows].tolist(), self.starts.tolist(), strict=True
        ):
            inside = plane[top : top + height, left : left + width]
            found[start : start + height, :width] = inside
        return found


def _sheets(store: MaskStore) -> Iterator[_Sheet]:
    if not len(store):
        # One mask stands in, so that the columns are known.
        none = np.zeros(1, dtype=np.int64)
        yield _Sheet(none, np.ones((1, 1), dtype=np.int32), none, np.zeros((1, 2), np.int64))
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
        for number, (row, start) in enumerate(zip(rows.tolist(), starts.tolist(), strict=True), 1):
            window = store.window(row)
            height, width = window.shape
            labels[start : start + height, :width][window] = number
        yield _Sheet(rows, labels, starts, np.stack([tops[rows] - starts, lefts[rows]], axis=1))
