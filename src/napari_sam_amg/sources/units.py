"""Lengths in micrometres and times in seconds, from what files say."""

from __future__ import annotations

import math
from typing import Any

_MICROMETRES = {
    "m": 1e6, "meter": 1e6, "metre": 1e6,
    "cm": 1e4, "centimeter": 1e4, "centimetre": 1e4,
    "mm": 1e3, "millimeter": 1e3, "millimetre": 1e3,
    "um": 1.0, "\N{MICRO SIGN}m": 1.0, "\N{GREEK SMALL LETTER MU}m": 1.0,
    "micrometer": 1.0, "micrometre": 1.0, "micron": 1.0, "microns": 1.0,
    "nm": 1e-3, "nanometer": 1e-3, "nanometre": 1e-3,
    "pm": 1e-6, "picometer": 1e-6, "picometre": 1e-6,
    "\N{ANGSTROM SIGN}": 1e-4, "\N{LATIN CAPITAL LETTER A WITH RING ABOVE}": 1e-4,
    "angstrom": 1e-4,
    "in": 25400.0, "inch": 25400.0,
}  # fmt: skip
_SECONDS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
    "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "us": 1e-6, "\N{MICRO SIGN}s": 1e-6, "microsecond": 1e-6,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0,
}  # fmt: skip


def to_micrometres(value: Any, unit: Any) -> float | None:
    """Return a length in micrometres; None if it or its unit means nothing."""
    return _scaled(value, unit, _MICROMETRES)


def to_seconds(value: Any, unit: Any) -> float | None:
    """Return a time in seconds; None if it or its unit means nothing."""
    return _scaled(value, unit, _SECONDS)


def _scaled(value: Any, unit: Any, factors: dict[str, float]) -> float | None:
    factor = factors.get(unit.strip()) if isinstance(unit, str) else None
    if factor is None and isinstance(unit, str):
        factor = factors.get(unit.strip().lower())
    if factor is None or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # To fifteen digits: 500 nm are 0.5 um, whatever binary fractions say.
    found = float(f"{value * factor:.15g}")
    return found if 0 < found < math.inf else None
