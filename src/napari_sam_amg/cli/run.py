"""The run: image after image, each result whole or not there."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.inputs import find_images
from napari_sam_amg.cli.models import check_model, load_generator
from napari_sam_amg.cli.outputs import check_targets, is_done
from napari_sam_amg.cli.report import choose_report, failure_line
from napari_sam_amg.cli.streams import say, warn
from napari_sam_amg.cli.writers import choose_writer
from napari_sam_amg.errors import ParameterError, SamAmgError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from napari_sam_amg.cli.inputs import Source, Sources
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.report import Report
    from napari_sam_amg.cli.writers import Writer
    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.masks import Masks

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
    found, generator, writer = _prepare(options)
    for line in _unreadable(found):
        warn(line)
    if generator is None:
        _say(options, "nothing to do: every image has a result")
        return len(found.unreadable)
    failures: list[tuple[Source, str]] = []
    try:
        _all(found.images, options, generator, writer, failures)
        with _uninterrupted():
            writer.close(complete=True)
        done = len(found.images) - len(failures)
        _say(options, f"done: {done} of {len(found.images)} images, results in {options.output}")
    except KeyboardInterrupt:
        with _uninterrupted():
            writer.close(complete=False)
        raise
    finally:
        failed = [failure_line(source, why) for source, why in failures]
        _sum_up(f"{len(failed)} of {len(found.images)} images failed", failed)
        _sum_up("could not be looked into", _unreadable(found))
    return len(failures) + len(found.unreadable)


def _unreadable(found: Sources) -> list[str]:
    return [f"FAILED {folder} {why}" for folder, why in found.unreadable]


def _sum_up(title: str, lines: list[str]) -> None:
    if lines:
        warn("\n  ".join([f"{title}:", *lines]))


def _all(
    sources: Sequence[Source],
    options: Options,
    generator: AutomaticMaskGenerator,
    writer: Writer,
    failures: list[tuple[Source, str]],
) -> None:
    report = choose_report(len(sources), quiet=options.quiet)
    try:
        for source in sources:
            report.start(source)
            try:
                text = _one(source, options, generator, writer, report)
            except Exception as error:
                log.debug("%s failed", source.path, exc_info=True)
                failures.append((source, _why(error)))
                writer.fail(source)
                report.fail(*failures[-1])
            else:
                report.finish(source, text)
    finally:
        report.close()


def _prepare(options: Options) -> tuple[Sources, AutomaticMaskGenerator | None, Writer]:
    """Return what is to be done, and with what; no generator if there is nothing to do."""
    check_model(options)
    found = find_images(
        options.inputs,
        output=options.output,
        recursive=options.recursive,
        pattern=options.pattern,
    )
    where: dict[str, Any] = {
        "output": options.output,
        "output_format": options.output_format,
        "measure": options.measure,
    }
    check_targets(found.images, **where)
    if found.ignored:
        names = ", ".join(path.name for path in found.ignored[:3])
        more = " ..." if len(found.ignored) > 3 else ""
        if not options.quiet:
            warn(f"Left out as no images: {names}{more} ({len(found.ignored)} in all)")
    writer = choose_writer(options)
    sources = tuple(
        source
        for source in found.images
        if not (options.skip_existing and is_done(source, **where, finished=writer.finished))
    )
    if len(sources) < len(found.images):
        skipped = len(found.images) - len(sources)
        _say(options, f"{skipped} of {len(found.images)} images have a result and are skipped")
    found = replace(found, images=sources)
    if not sources:
        return found, None, writer
    generator = load_generator(options)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ParameterError(
            f"--output {options.output}: the folder cannot be made ({error.strerror}); choose "
            "another"
        ) from error
    return found, generator, writer


def _one(
    source: Source,
    options: Options,
    generator: AutomaticMaskGenerator,
    writer: Writer,
    report: Report,
) -> str:
    from napari_sam_amg.formats import read_image

    began = time.perf_counter()
    limit = {} if options.max_pixels is None else {"max_pixels": options.max_pixels}
    image = read_image(source.path, **limit)
    masks: Masks | None = None
    for step in generator.steps(image, name=source.name):
        report.step(step.done, step.total)
        masks = step.result
    if masks is None:
        raise SamAmgError("the run ended without a result; please report this")
    for text in (masks.provenance or {}).get("input", {}).get("notes", ()):
        report.note(f"{source.name}: {text}")
    with _uninterrupted():
        writer.write(source, masks, image)
    plural = "" if len(masks) == 1 else "s"
    return f"{len(masks)} mask{plural}, {time.perf_counter() - began:.1f} s"


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


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done, so that a finished image is written."""
    # What started us may have asked that it be ignored (nohup); None: it is not Python's.
    ignored = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, None)
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []

    def hold(number: int, _frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    before = signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            raise KeyboardInterrupt
