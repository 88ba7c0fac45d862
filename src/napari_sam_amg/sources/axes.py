"""Axes by name: what is taken, and what is refused because it would be a guess."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg.errors import ImageError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Sequence

AXES = "TCZYXS"
"""Time, channel, depth, row, column, and the colours of a colour image."""

_ADVICE = (
    "say which axis is which, with one letter of T (time), C (channel) and Z (depth) for each "
    "before YX, such as --axes ZYX (axes='ZYX' in Python)"
)


def check_axes(axes: str) -> str:
    """Check axes that a user gives.

    Parameters
    ----------
    axes : str
        One letter for each axis of the file, in its order; small letters are taken too.

    Returns
    -------
    str
        In capital letters.

    Raises
    ------
    ParameterError
        If they are no different letters of TCZ followed by YX, or YXS for colour.
    """
    found = axes.upper()
    front = found.removesuffix("S").removesuffix("YX")
    if (
        not found.removesuffix("S").endswith("YX")
        or len(set(found)) < len(found)
        or not set(front) <= set("TCZ")
    ):
        raise ParameterError(
            f"axes={axes!r}: give different letters of T, C and Z, and YX at the end (YXS for "
            "colour), one for each axis of the file, such as TZYX"
        )
    return found


def resolve_axes(path: object, found: str, shape: Sequence[int], given: str | None) -> str:
    """Return the axes of an array, by what its file says or else the user.

    Parameters
    ----------
    path : path
        What errors call the file.
    found : str
        One letter for each axis by the file; those outside of `AXES` mean nothing here.
    shape : sequence of int
    given : str, optional
        By the user, checked; it prevails, but for files of a single plane.

    Raises
    ------
    ImageError
        If an axis of more than one plane has no name, or the user's do not fit.
    """
    unknown = [axis for axis, length in zip(found, shape, strict=True) if axis not in AXES]
    counts = {axis: length for axis, length in zip(found, shape, strict=True) if length > 1}
    plane = not set(counts) - set("YXS")
    if given is not None and not plane:
        # Which pages are colour, a file always knows.
        colour = "S" if found.endswith("S") and not given.endswith("S") else ""
        if len(given + colour) != len(found) or (given + colour).endswith("S") != (
            found.endswith("S")
        ):
            raise ImageError(
                f"{path} has the axes {found} with the shape {tuple(shape)}, which --axes {given} "
                "does not fit: give one letter for each"
            )
        return given + colour
    if unknown and not plane:
        raise ImageError(
            f"{path} holds planes whose axes have no name: found the shape {tuple(shape)}, of "
            f"which the axes {', '.join(unknown)} are unknown ({found}); {_ADVICE}"
        )
    return found


def suffix(axes: str, shape: Sequence[int], index: dict[str, int]) -> str:
    """Return what tells the results of the planes of an image apart, such as ``_t000_z003``.

    Only axes along which there are several planes are named.
    """
    lengths = dict(zip(axes, shape, strict=True))
    return "".join(
        f"_{axis.lower()}{place:03}" for axis, place in index.items() if lengths[axis] > 1
    )


def positions(
    path: object, axis: str, length: int, wanted: int | slice | None, flag: str
) -> Sequence[int]:
    """Return which positions along an axis are meant, as a range.

    Parameters
    ----------
    path : path
        What errors call the file.
    axis : str
    length : int
        Of the axis; 1 if it is not there.
    wanted : int or slice, optional
        As Python counts, from 0 and without the end; all by default.
    flag : str
        What errors call `wanted`.

    Raises
    ------
    ImageError
        If there is none.
    """
    if wanted is None:
        return range(length)
    if isinstance(wanted, int):
        wanted = slice(wanted, wanted + 1) if wanted >= 0 else slice(0, 0)
    found = range(length)[wanted]
    if not found:
        start = 0 if wanted.start is None else wanted.start
        stop = "" if wanted.stop is None else wanted.stop
        asked = str(start) if stop == start + 1 else f"{start}:{stop}"
        raise ImageError(
            f"{path} has {length} plane{'' if length == 1 else 's'} along {axis} (0 to "
            f"{length - 1}), but {flag} {asked} asks for none of them"
        )
    return found
