"""What a run has to do, found before a model is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.inputs import find_images
from napari_sam_amg.cli.outputs import check_targets, is_done
from napari_sam_amg.cli.plan import Image, Part, plan_images, remaining
from napari_sam_amg.cli.streams import say, warn
from napari_sam_amg.cli.summary import Summary
from napari_sam_amg.cli.writers import choose_writer
from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.segment import Segmenters
    from napari_sam_amg.cli.source import Sources
    from napari_sam_amg.cli.writers import Writer


@dataclass
class Work:
    """What is to be done, and with what.

    Attributes
    ----------
    found : Sources
    images : list of Image
        With the parts that have no result yet.
    writer : Writer
    kind : str
        What the parts are, as users call them: images or planes.
    summary : Summary or None
    segmenters : Segmenters or None
        What finds masks; None if there is nothing to do.
    """

    found: Sources
    images: list[Image]
    writer: Writer
    kind: str
    summary: Summary | None = None
    segmenters: Segmenters | None = None


def prepare(options: Options) -> Work:
    """Find out what is to be done.

    Raises
    ------
    ParameterError
        If there is nothing to work on, or a result would take the place of something else.
    """
    found = find_images(
        options.inputs,
        output=options.output,
        recursive=options.recursive,
        pattern=options.pattern,
    )
    parts_of_others: list[tuple[Path, Path]] = []
    images = plan_images(
        found.images, options, passed_over=lambda *pair: parts_of_others.append(pair)
    )
    where: dict[str, Any] = {
        "output": options.output,
        "output_format": options.output_format,
        "tables": options.tables,
    }
    check_targets([result for image in images for result in image.results], **where)
    if not options.quiet:
        _say_what_is_left_out(found, parts_of_others)
    writer = choose_writer(options)
    summary = Summary(options.output) if options.summary else None

    def done(image: Image, part: Part) -> bool:
        named = image.source.name, places_of(part)
        return is_done(part.result, **where, finished=writer.finished) and (
            summary is None or summary.has(*named)
        )

    count = sum(len(image.parts) for image in images)
    kind = "images" if count == len(images) else "planes"
    if options.skip_existing:
        images = remaining(images, done)
        skipped = count - sum(len(image.parts) for image in images)
        if skipped and not options.quiet:
            say(f"{skipped} of {count} {kind} have a result and are skipped")
    return Work(found, images, writer, kind, summary)


def make_output(options: Options) -> None:
    """Make the folder of the results; ParameterError if that cannot be done."""
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"--output {options.output}: the folder cannot be made ({error.strerror}); choose "
            "another"
        ) from error


def places_of(part: Part) -> list[dict[str, int]]:
    """Return where the planes of a part are, along the axes that have several planes."""
    found = [
        {axis.lower(): at for axis, at in plane.index.items() if plane.source.length(axis) > 1}
        for plane in part.planes
    ]
    return found or [{}]


def _say_what_is_left_out(found: Sources, parts_of_others: list[tuple[Path, Path]]) -> None:
    if found.ignored:
        names = ", ".join(path.name for path in found.ignored[:3])
        more = " ..." if len(found.ignored) > 3 else ""
        warn(f"Left out as no images: {names}{more} ({len(found.ignored)} in all)")
    for path, owner in parts_of_others[:3]:
        warn(f"Left out: {path.name} belongs to the image of {owner.name}")
