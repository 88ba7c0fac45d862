"""The run: image after image, each result whole or not there."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from napari_sam_amg.cli.interruption import uninterrupted
from napari_sam_amg.cli.models import check_model, load_generator
from napari_sam_amg.cli.prepare import Work, make_output, places_of, prepare
from napari_sam_amg.cli.report import choose_report, failure_line
from napari_sam_amg.cli.segment import Segmenter
from napari_sam_amg.cli.streams import say, warn
from napari_sam_amg.errors import SamAmgError, WriteError
from napari_sam_amg.masks.doubt import doubt_of_planes
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.segment import Segmenters
    from napari_sam_amg.cli.source import Source, Sources

log = logging.getLogger(__name__)


def run_images(options: Options) -> int:
    """Find the masks of all images, and write them.

    Parameters
    ----------
    options : Options

    Returns
    -------
    int
        How many images failed, or folders could not be read.

    Raises
    ------
    SamAmgError
        If the run could not start; nothing is written then.
    KeyboardInterrupt
        On Ctrl-C; results of finished images are whole.
    """
    with contextlib.ExitStack() as machines:
        return _run_images(options, machines)


def _run_images(options: Options, machines: contextlib.ExitStack) -> int:
    check_model(options)
    work = prepare(options)
    if work.images:
        work.segmenters = machines.enter_context(_segmenters(options, work.images))
        make_output(options)
    for line in _unreadable(work.found):
        warn(line)
    if work.segmenters is None:
        _say(options, "nothing to do: every image has a result")
        return len(work.found.unreadable)
    failures: list[tuple[Source, str]] = []
    parts = sum(len(image.parts) for image in work.images)
    try:
        _all(work, work.segmenters, options, failures)
        with uninterrupted():
            work.writer.close(complete=True)
        done = parts - len(failures)
        _say(options, f"done: {done} of {parts} {work.kind}, results in {options.output}")
    except KeyboardInterrupt:
        with uninterrupted():
            work.writer.close(complete=False)
        raise
    finally:
        failed = [failure_line(source, why) for source, why in failures]
        _sum_up(f"{len(failed)} of {parts} {work.kind} failed", failed)
        _sum_up("could not be looked into", _unreadable(work.found))
    return len(failures) + len(work.found.unreadable)


@contextlib.contextmanager
def _segmenters(options: Options, images: list[Image]) -> Iterator[Segmenters]:
    if options.scheduler is not None:
        from napari_sam_amg.cli.remote import remote_segmenters

        with remote_segmenters(options, images) as segmenters:
            yield segmenters
    else:
        generator = load_generator(options)
        kind = Segmenter
        if options.output_format == "large":
            from napari_sam_amg.cli.large import LargeSegmenter as kind
        yield lambda image, report: kind(image, options, generator, report)


def _unreadable(found: Sources) -> list[str]:
    return [f"FAILED {folder} {why}" for folder, why in found.unreadable]


def _sum_up(title: str, lines: list[str]) -> None:
    if lines:
        warn("\n  ".join([f"{title}:", *lines]))


def _all(
    work: Work,
    segmenters: Segmenters,
    options: Options,
    failures: list[tuple[Source, str]],
) -> None:
    report = choose_report(sum(len(image.parts) for image in work.images), quiet=options.quiet)
    try:
        for image in work.images:
            segmenter = segmenters(image, report)
            with image.opened or contextlib.nullcontext():
                for part in image.parts:
                    report.start(part.result)
                    try:
                        text, doubts = _one(image, part, segmenter, work)
                    except Exception as error:
                        log.debug("%s failed", image.source.path, exc_info=True)
                        failures.append((part.result, _why(error)))
                        _fail(image, part, failures[-1][1], work)
                        report.fail(*failures[-1])
                    else:
                        report.finish(part.result, text)
                        if doubts:
                            report.note(f"{part.result.name}: {doubts}")
    finally:
        report.close()


def _one(image: Image, part: Part, segmenter: Segmenter, work: Work) -> tuple[str, str]:
    """Return what was found, and what to doubt of it."""
    began, count = time.perf_counter(), 0
    doubts = []
    work.writer.begin(image, part)
    for found in segmenter.found(part):
        count += len(found.masks)
        doubts.append(found.masks.doubt)
        work.writer.add(found)
        if work.summary is not None:
            work.summary.add(found)
    with uninterrupted():
        if work.summary is not None:
            # Before the result: whoever is killed in between has a row too many, which the
            # next run replaces, and not a result without one.
            work.summary.save()
        work.writer.write()
    planes = f"{len(part.planes)} planes, " if len(part.planes) > 1 else ""
    text = f"{planes}{counted(count, 'mask')}, {time.perf_counter() - began:.1f} s"
    return text, doubt_of_planes(doubts)


def _fail(image: Image, part: Part, why: str, work: Work) -> None:
    work.writer.fail(part.result)
    if work.summary is None:
        return
    work.summary.fail(image.source.name, places_of(part), why)
    try:
        work.summary.save()
    except WriteError as error:
        log.warning("%s", error)


def _why(error: Exception) -> str:
    if isinstance(error, SamAmgError):
        return str(error)
    if isinstance(error, MemoryError):
        return "not enough memory; make the image smaller or lower --points-per-batch"
    if isinstance(error, OSError):
        return f"{error.strerror or error}"
    return f"unexpected {type(error).__name__} ({error}); please report this"


def _say(options: Options, line: str) -> None:
    if not options.quiet:
        say(line)
