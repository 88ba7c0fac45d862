"""Every parameter of linking and tracking, once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from napari_sam_amg.parameters import ParameterSet, parameter, plain

Filling = Literal["interpolate", "leave_open"]

_Int = Annotated[int, BeforeValidator(plain)]
_Float = Annotated[float, BeforeValidator(plain)]
_Bool = Annotated[bool, BeforeValidator(plain)]


class LinkParameters(ParameterSet):
    """How masks of consecutive slices become objects in three dimensions.

    Raises
    ------
    ParameterError
        If a name is unknown (the nearest one is suggested) or a value is not allowed.
    """

    min_overlap: _Float = parameter(
        0.1,
        "slices",
        "Smallest overlap",
        "Masks of two slices can only belong to one object if they overlap by at least this "
        "(intersection over union), across a gap of one slice by twice as much, of two by three "
        "times, and so on. Of all ways to link the masks one to one, the one with the "
        "best overlaps is taken. Raise it when different objects, one above the other, come out "
        "as one.",
        ge=0.0,
        le=1.0,
    )
    max_gap: _Int = parameter(
        2,
        "slices",
        "Largest gap",
        "How many slices in a row an object may be missing from and still be one object. 0 "
        "links neighbouring slices only.",
        ge=0,
        le=100,
    )
    min_neck: _Float = parameter(
        0.4,
        "slices",
        "Narrowest neck",
        "Cut an object where its area is less than this share of the largest areas above and "
        "below: there two touch, one above the other. Lower it for objects with a waist; 0 never "
        "cuts.",
        ge=0.0,
        le=1.0,
    )
    fill_gaps: Filling = parameter(
        "interpolate",
        "slices",
        "Fill gaps",
        "What an object gets in slices that it is missing from: a mask interpolated between "
        "those above and below (by their distance transforms), or nothing.",
    )
    min_extent: _Int = parameter(
        2,
        "slices",
        "Smallest extent",
        "Drop objects that reach over fewer slices than this, from the first to the last; a "
        "stack of fewer slices asks for no more than it has. 1 keeps all.",
        ge=1,
        le=100_000,
    )


class TrackParameters(ParameterSet):
    """How objects of consecutive time points become tracks.

    Raises
    ------
    ParameterError
        If a name is unknown (the nearest one is suggested) or a value is not allowed.
    """

    max_distance: _Float | None = parameter(
        None,
        "tracks",
        "Largest distance",
        "How far an object may move from one time point to the next, in pixels, apart from what "
        "all move by together (the drift). None: the median diameter of the objects.",
        gt=0.0,
        le=100_000.0,
    )
    min_overlap: _Float = parameter(
        0.0,
        "tracks",
        "Smallest overlap",
        "Objects of two time points can only be the same if they overlap by at least this "
        "(intersection over union, drift taken out). 0 asks for no overlap.",
        ge=0.0,
        le=1.0,
    )
    max_gap: _Int = parameter(
        2,
        "tracks",
        "Largest gap",
        "How many time points in a row an object may be missing from and still be followed.",
        ge=0,
        le=100,
    )
    min_length: _Int = parameter(
        2,
        "tracks",
        "Smallest length",
        "Drop tracks that reach over fewer time points than this, from the first to the last, "
        "unless they came from a division or end in one; a series of fewer time points asks for "
        "no more than it has. 1 keeps all.",
        ge=1,
        le=100_000,
    )
    divisions: _Bool = parameter(
        True,
        "tracks",
        "Divisions",
        "Let objects divide: where two objects of similar size lie about the place of one, its "
        "track ends and two begin.",
    )
    drift: _Bool = parameter(
        True,
        "tracks",
        "Take out drift",
        "Estimate how the whole field moves from one time point to the next, and allow for it.",
    )
