"""Values of flags, from text."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any, cast

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters, ParameterSet
from napari_sam_amg.sources.axes import check_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"(\d*):(\d*)(?::(\d*))?", re.ASCII)
_NEED_SIZE = ("labels", "ome-zarr", "large")

_NO_USE = {
    "scheduler": "a run that is ended goes on where it was, on one machine",
}


def to_range(flag: str, text: str | None) -> int | slice | None:
    """Return a range of planes such as ``3``, ``0:10`` or ``::2``.

    Raises
    ------
    ParameterError
        If it is none, or holds no plane whatever the image is.
    """
    if text is None:
        return None
    if text.isascii() and text.isdecimal():
        return int(text)
    match = _RANGE.fullmatch(text)
    parts = [int(part) if part else None for part in match.groups("")] if match else []
    empty = match and parts[0] is not None and parts[1] is not None and parts[0] >= parts[1]
    if not match or parts[2] == 0 or empty or parts[1] == 0:
        raise ParameterError(
            f"{flag} {text}: give the number of a plane, counted from 0, or a range such as 0:10, "
            "which ends before the second number"
        )
    return slice(*parts)


def to_axes(text: str | None) -> str | None:
    """Return the axes of a stack; ParameterError if they are none."""
    try:
        return None if text is None else check_axes(text)
    except ParameterError as error:
        raise ParameterError(f"--{error}") from None


def to_pixel_size(values: Mapping[str, Any], output_format: str) -> float | None:
    """Return the side of a pixel; ParameterError if it is none, or there is no use for it."""
    text = values["pixel_size"]
    if text is None:
        return None
    if not (values["measure"] or values["summary"] or output_format in _NEED_SIZE):
        raise ParameterError(
            "--pixel-size needs --measure, --summary, or --format labels, ome-zarr or large: "
            "nothing else holds it"
        )
    try:
        size = float(text)
    except ValueError:
        size = 0.0
    if not 0 < size < math.inf:
        raise ParameterError(f"--pixel-size {text}: give a length in micrometres above 0")
    return size


def check_large(values: Mapping[str, Any], output_format: str) -> None:
    """Refuse what cannot be had with ``--format large``, if that is the format.

    Raises
    ------
    ParameterError
        Naming the flag, and what to do instead.
    """
    for name, advice in _NO_USE.items():
        if output_format == "large" and values[name]:
            raise ParameterError(
                f"--{name} cannot be had with --format large, whose planes are never in memory "
                f"as a whole: leave it out; {advice}"
            )


def to_max_pixels(text: str | None) -> int | None:
    """Return the most pixels of a plane; ParameterError if it is no such number."""
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise ParameterError(f"--max-pixels {text}: give a whole number of at least 1")
    return number


def to_number(text: Any, kinds: set[str]) -> Any:
    """Convert a value as far as possible; what is left is for the parameters to refuse.

    Parameters
    ----------
    text
        What a flag was given; if it is no text, it is returned.
    kinds : set of str
        The JSON types that it may have.
    """
    if not isinstance(text, str):
        return text
    if "null" in kinds and text.lower() == "none":
        return None
    for kind, convert in (("integer", int), ("number", float)):
        if kind in kinds:
            try:
                return convert(text)
            except ValueError:
                return text
    return text


def kinds_of(name: str, model: type[ParameterSet] = AmgParameters) -> set[str]:
    """Return the JSON types that a parameter may have."""
    schema = _properties(model)[name]
    return {str(kind.get("type")) for kind in schema.get("anyOf", [schema])}


def choices_of(name: str, model: type[ParameterSet] = AmgParameters) -> list[str] | None:
    """Return the values that a parameter is chosen from; None if it is no choice."""
    choices: list[str] | None = _properties(model)[name].get("enum")
    return choices


@functools.cache
def _properties(model: type[ParameterSet]) -> dict[str, Any]:
    return cast("dict[str, Any]", model.model_json_schema()["properties"])
