"""Flags of linking, derived from `LinkParameters` and `TrackParameters`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.values import choices_of, kinds_of, to_number
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.linking.parameters import LinkParameters, TrackParameters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.parameters import ParameterSet

LINKING: dict[str, type[ParameterSet]] = {"link": LinkParameters, "track": TrackParameters}
"""What flags are made from, by how their names begin: ``--link-min-overlap``."""

_FORMATS = ("labels", "ome-zarr")


@dataclass(frozen=True)
class Linking:
    """How masks are linked along Z, and objects followed along T."""

    link: LinkParameters
    track: TrackParameters


def add_link_arguments(group: argparse._ArgumentGroup) -> None:
    """Add ``--link``, and a flag for each parameter."""
    group.add_argument(
        "--link",
        action="store_true",
        help="With --format labels or ome-zarr: link the masks of slices into objects in three "
        "dimensions where the image has the axis Z, and follow objects where it has T. Labels are "
        "then those of objects or tracks; tables of them are written besides.",
    )
    for kind, name, flag in _flags():
        field = LINKING[kind].model_fields[name]
        given: dict[str, Any] = {"dest": _dest(kind, name), "default": argparse.SUPPRESS}
        if kinds_of(name, LINKING[kind]) == {"boolean"}:
            given["action"] = argparse.BooleanOptionalAction
        else:
            choices = choices_of(name, LINKING[kind])
            given["metavar"] = "{" + ",".join(choices) + "}" if choices else "N"
        shown = str(field.default).lower()
        text = f"{field.description} (default: {shown})"
        group.add_argument(flag, help=text.replace("%", "%%"), **given)


def to_linking(values: dict[str, Any], output_format: str) -> Linking | None:
    """Return how to link; None if that was not asked for.

    Raises
    ------
    ParameterError
        If a value is not allowed, or is given without ``--link``.
    """
    given = {(kind, name): flag for kind, name, flag in _flags() if _dest(kind, name) in values}
    if not values["link"]:
        if given:
            raise ParameterError(f"{next(iter(given.values()))} needs --link")
        return None
    if output_format not in _FORMATS:
        raise ParameterError(
            f"--link needs --format labels or ome-zarr, found {output_format}: others hold "
            "masks of one plane"
        )
    chosen: dict[str, dict[str, Any]] = {kind: {} for kind in LINKING}
    for kind, name in given:
        chosen[kind][name] = to_number(values[_dest(kind, name)], kinds_of(name, LINKING[kind]))
    found = []
    for kind, model in LINKING.items():
        try:
            found.append(model(**chosen[kind]))
        except ParameterError as error:
            text = str(error)
            for name in model.model_fields:
                text = text.replace(f"{name}=", f"{_flag(kind, name)}=")
            raise ParameterError(text) from None
    link, track = found
    return Linking(link, track)  # type: ignore[arg-type]


def _flags() -> Iterator[tuple[str, str, str]]:
    for kind, model in LINKING.items():
        for name in model.model_fields:
            yield kind, name, _flag(kind, name)


def _flag(kind: str, name: str) -> str:
    return f"--{kind}-{name.replace('_', '-')}"


def _dest(kind: str, name: str) -> str:
    return f"{kind}_{name}"
