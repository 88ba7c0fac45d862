"""``--summary``: one table over all images and planes."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.cli.existing import SUMMARY
from napari_sam_amg.cli.found import channel_names, place_of
from napari_sam_amg.errors import ParameterError, ReadError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import numpy.typing as npt

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.large import FoundLarge

PLACE = ("name", "t", "z")
COLUMNS = (
    *PLACE,
    "masks",
    "area_total",
    "area_median",
    "area_total_um2",
    "area_median_um2",
    "fraction_covered",
)
"""What comes first in each row; columns of intensities follow, and ``error`` at the end."""

_INSIDE, _OUTSIDE, _ERROR = "intensity_mean_inside", "intensity_mean_outside", "error"
_MOST_BYTES = 1 << 28

Key = tuple[str, str, str]


class Summary:
    """Holds a row for each image and plane, those of earlier runs too, and writes them.

    Parameters
    ----------
    folder : Path
        Of the results.

    Raises
    ------
    ParameterError
        If what is in its place is no such table.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SUMMARY
        self._rows: dict[Key, dict[str, str]] = {}
        self._names: dict[str, int] = {}
        if os.path.exists(self._path):
            for row in _read(self._path):
                self._put((row["name"], row["t"], row["z"]), row)

    def add(self, found: Found | FoundLarge) -> None:
        """Take the masks of a plane."""
        key = _key(found.image.name, place_of(found.plane))
        # When it could not be opened, the image had no planes.
        if key[1:] != ("", ""):
            self._rows.pop((found.image.name, "", ""), None)
        self._put(
            key,
            {
                **dict(zip(PLACE, key, strict=True)),
                **{name: _text(value) for name, value in _values(found).items()},
                _ERROR: "",
            },
        )

    def fail(self, name: str, places: Iterable[dict[str, int]], why: str) -> None:
        """Take the reason why planes of an image have no result.

        Parameters
        ----------
        name : str
            Of the image.
        places : iterable of dict
            Of the planes, as `Found.place`.
        why : str
        """
        for place in places:
            key = _key(name, place)
            self._put(key, {**dict(zip(PLACE, key, strict=True)), _ERROR: " ".join(why.split())})

    def _put(self, key: Key, row: dict[str, str]) -> None:
        self._names.setdefault(key[0], len(self._names))
        self._rows[key] = row

    def has(self, name: str, places: Iterable[dict[str, int]]) -> bool:
        """Return whether all of these planes have a row without an error."""
        rows = [self._rows.get(_key(name, place)) for place in places]
        return all(row is not None and not row.get(_ERROR) for row in rows)

    def save(self) -> None:
        """Write the table; WriteError if that cannot be done, which leaves it as it was."""
        import pandas as pd

        from napari_sam_amg.formats import write_table

        others = {name: None for row in self._rows.values() for name in row}
        intensities = [name for name in others if name not in (*COLUMNS, _ERROR)]
        columns = [*COLUMNS, *intensities, _ERROR]
        # Images in the order in which they came first, and their planes in theirs.
        ordered = sorted(self._rows, key=lambda key: (self._names[key[0]], *map(_number, key[1:])))
        rows = [[self._rows[key].get(name, "") for name in columns] for key in ordered]
        write_table(pd.DataFrame(rows, columns=columns, dtype=object), self._path)


def _key(name: str, place: dict[str, int]) -> Key:
    return name, str(place.get("t", "")), str(place.get("z", ""))


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else -1


def _read(path: Path) -> list[dict[str, str]]:
    from napari_sam_amg.formats.reading import read_bytes

    try:
        text = read_bytes(path, max_bytes=_MOST_BYTES).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (ReadError, UnicodeDecodeError, csv.Error):
        lines = []
    if not lines or tuple(lines[0][: len(COLUMNS)]) != COLUMNS or lines[0][-1] != _ERROR:
        raise ParameterError(
            f"{path} would be replaced, but is no summary of an earlier run; choose another "
            "--output or move it away"
        )
    return [
        {name: value for name, value in zip(lines[0], line, strict=False) if value}
        | {name: line[n] for n, name in enumerate(PLACE)}
        for line in lines[1:]
        if len(line) == len(lines[0])
    ]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return repr(value)


def _values(found: Found | FoundLarge) -> dict[str, Any]:
    areas = found.areas
    total, median = int(areas.sum()), float(np.median(areas)) if len(areas) else float("nan")
    pixel = None if found.sides is None else found.sides[0] * found.sides[1]
    outside, within = _Totals(), _Totals()
    for number, inside, pixels in found.blocks():
        outside.add(number, pixels[~inside])
        within.add(number, pixels[inside])
    values: dict[str, Any] = {
        "masks": len(areas),
        "area_total": total,
        "area_median": median,
        "area_total_um2": None if pixel is None else total * pixel,
        "area_median_um2": None if pixel is None else median * pixel,
        "fraction_covered": within.pixels / (within.pixels + outside.pixels),
    }
    names = channel_names(found.plane)
    suffixes = ("",) if names is None else [f"-{name}" for name in names]
    for number, suffix in enumerate(suffixes):
        if not within.has(number):
            continue  # transparency
        values[_INSIDE + suffix] = within.mean(number)
        values[_OUTSIDE + suffix] = outside.mean(number)
    return values


class _Totals:
    """Means of channels over pixels that come in parts."""

    def __init__(self) -> None:
        self.pixels = 0
        self._sums: defaultdict[int, float] = defaultdict(float)
        self._counts: defaultdict[int, int] = defaultdict(int)

    def add(self, channel: int, values: npt.NDArray[Any]) -> None:
        """Take some pixels of a channel, of which the finite ones count."""
        self.pixels += len(values) if channel == 0 else 0
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        self._sums[channel] += float(values.sum(dtype=np.float64))
        self._counts[channel] += values.size

    def has(self, channel: int) -> bool:
        """Return whether there were pixels of a channel, finite or not."""
        return channel in self._counts

    def mean(self, channel: int) -> float:
        """Return the mean of a channel; NaN without a finite value."""
        count = self._counts[channel]
        return self._sums[channel] / count if count else float("nan")
