"""From the command line's arguments to checked options."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from napari_sam_amg.cli.arguments import (
    OutputFormat,
    Segmentation,
    build_parser,
    flag_of,
    flagged_parameters,
    with_flags,
)
from napari_sam_amg.cli.config import apply_config
from napari_sam_amg.cli.existing import OBJECTS, PLACES, TABLE
from napari_sam_amg.cli.grids import read_point_grids
from napari_sam_amg.cli.link_arguments import Linking, to_linking
from napari_sam_amg.cli.values import (
    check_large,
    kinds_of,
    to_axes,
    to_max_pixels,
    to_number,
    to_pixel_size,
    to_range,
)
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.intensity import check_contrast
from napari_sam_amg.parameters import AmgParameters

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence


@dataclass(frozen=True)
class Options:
    """What the user asked for, checked as far as that goes without a model.

    Attributes
    ----------
    action : {"run", "list", "download"}
    inputs : tuple of str
        Files, folders or patterns.
    output : Path
        Folder of the results.
    model : str or None
        Name given with ``--model-type`` or ``--download``.
    checkpoint : Path or None
    device, precision : str
    contrast : (float, float) or None
    parameters : dict
        Those of `AmgParameters` that were given.
    output_format : OutputFormat
    segmentation : {"rle", "polygon"}
        How a COCO dataset holds masks.
    measure : bool
        Whether a table of measurements is written for each image.
    pixel_size : float or None
        Side of a pixel in micrometres, where the image's own is not to be used.
    skip_existing, quiet, recursive : bool
    pattern : str or None
        Which files of a folder are taken.
    max_pixels : int or None
        Images with larger planes are refused; None is the reader's own limit.
    axes : str or None
        Of stacks whose file has no names for them.
    channel : str or None
        Number or name of the channel that the model sees.
    z, t : int or slice or None
        Which planes of stacks are taken.
    brightness : {"stack", "plane"}
        What has one contrast where none is given.
    summary : bool
        Whether a table over all images is written.
    linking : Linking or None
        How masks of a stack are linked; None leaves them apart.
    scheduler : str or None
        Address or file of the scheduler whose workers find the masks; None finds them here.
    """

    action: Literal["run", "list", "download"]
    inputs: tuple[str, ...]
    output: Path
    model: str | None
    checkpoint: Path | None
    device: str
    precision: str
    contrast: tuple[float, float] | None
    parameters: dict[str, Any]
    output_format: OutputFormat
    segmentation: Segmentation
    measure: bool
    pixel_size: float | None
    skip_existing: bool
    quiet: bool
    recursive: bool
    pattern: str | None
    max_pixels: int | None
    axes: str | None
    channel: str | None
    z: int | slice | None
    t: int | slice | None
    brightness: Literal["stack", "plane"]
    summary: bool
    linking: Linking | None
    scheduler: str | None

    @property
    def tables(self) -> tuple[str, ...]:
        """How the names of the tables of each result end; that of measurements comes last."""
        linked = () if self.linking is None else (OBJECTS, PLACES)
        return (*linked, *((TABLE,) if self.measure else ()))


def parse(argv: Sequence[str]) -> Options:
    """Read and check the command line, without loading a model.

    Parameters
    ----------
    argv : sequence of str
        Arguments without the program's name.

    Returns
    -------
    Options

    Raises
    ------
    ParameterError
        If a flag is unknown (the nearest one is named) or a value is not allowed.
    ReadError
        If the file of settings cannot be used.
    SystemExit
        After ``--help`` and ``--version``.
    """
    parser = build_parser()
    found, rest = parser.parse_known_args([_tidy(argument) for argument in argv])
    if rest:
        raise ParameterError(_unknown(rest, parser))
    values = vars(found)
    _check_filled(values)
    action: Literal["run", "list", "download"] = "run"
    if values["list_models"]:
        action = "list"
    elif values["download"] is not None:
        action = "download"
    elif not values["input"] or not values["output"]:
        missing = " and ".join(f"--{n}" for n in ("input", "output") if not values[n])
        raise ParameterError(f"{missing} missing: say which images, and where results go")
    output_format = _format(values)
    check_large(values, output_format)
    settings = apply_config(values)
    return Options(
        action=action,
        inputs=tuple(values["input"] or ()),
        output=Path(values["output"] or "."),
        model=values["download"] or values["model_type"],
        checkpoint=None if values["checkpoint"] is None else Path(values["checkpoint"]),
        device=values["device"] or "auto",
        precision=values["precision"] or "exact",
        contrast=check_contrast(values["contrast"]) if values["contrast"] else None,
        parameters=_parameters(values, settings),
        output_format=output_format,
        segmentation="polygon" if values["polygons"] else "rle",
        measure=values["measure"],
        pixel_size=to_pixel_size(values, output_format),
        skip_existing=values["skip_existing"],
        quiet=values["quiet"],
        recursive=values["recursive"],
        pattern=values["glob"],
        max_pixels=to_max_pixels(values["max_pixels"]),
        axes=to_axes(values["axes"]),
        channel=values["channel"],
        z=to_range("--z", values["z"]),
        t=to_range("--t", values["t"]),
        # A contrast that is given leaves nothing to find.
        brightness="plane" if values["brightness"] == "plane" else "stack",
        summary=values["summary"],
        linking=to_linking(values, output_format),
        scheduler=values["scheduler"],
    )


def _check_filled(values: dict[str, Any]) -> None:
    """Refuse empty texts: a variable of a script that was not set must not mean a default."""
    for name, value in values.items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise ParameterError(f"{flag_of(name)} is empty: give a value or leave it out")


def _tidy(argument: str) -> str:
    """Make --a_b into --a-b, and -1e-3 into -0.001, which argparse knows as a number."""
    if argument.startswith("--"):
        flag, equals, value = argument.partition("=")
        return flag.replace("_", "-") + equals + value
    if argument.startswith("-"):
        try:
            number = Decimal(argument)
        except InvalidOperation:
            return argument
        if number.is_finite() and abs(number.adjusted()) < 400:
            return format(number, "f")
    return argument


def _unknown(rest: list[str], parser: argparse.ArgumentParser) -> str:
    flags = re.findall(r"--[a-z][a-z0-9-]*", parser.format_help())
    parts = []
    for argument in rest:
        flag = argument.partition("=")[0]
        if not flag.startswith("-"):
            continue
        near = difflib.get_close_matches(flag, flags, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else "see --help for all flags"
        parts.append(f"unknown flag {flag}: {advice}")
    return "; ".join(parts) or f"unexpected argument {rest[0]!r}: give images after --input"


def _format(values: dict[str, Any]) -> OutputFormat:
    given = values["format"]
    if values["convert_to_rle"] and given not in (None, "rle"):
        raise ParameterError(
            f"--convert-to-rle means --format rle, but --format {given} was given: leave one out"
        )
    output_format = "rle" if values["convert_to_rle"] else given or "png"
    if values["polygons"] and output_format != "coco":
        raise ParameterError(f"--polygons needs --format coco, found {output_format}")
    return cast("OutputFormat", output_format)


def _parameters(values: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    named = [name for name in flagged_parameters() if name in values]
    given = {name: to_number(values[name], kinds_of(name)) for name in named}
    if "single_mask" in values:
        given["multimask_output"] = not values["single_mask"]
    try:
        if "point_grids" in given:
            given["point_grids"] = read_point_grids(given["point_grids"])
        given = {**settings, **given}
        AmgParameters(**given)
    except ParameterError as error:
        raise ParameterError(with_flags(str(error))) from None
    return given
