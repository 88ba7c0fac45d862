"""What the user sees of a run: a bar on a terminal, lines in a pipe, or only errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam_amg.cli.streams import is_terminal, say, warn

if TYPE_CHECKING:
    from napari_sam_amg.cli.source import Source


class Report(Protocol):
    """Hears of everything that happens in a run."""

    def start(self, source: Source) -> None:
        """Hear that work on an image begins."""

    def step(self, done: int, total: int) -> None:
        """Hear how much of the image is done."""

    def finish(self, source: Source, text: str) -> None:
        """Hear that an image is finished, and what was found."""

    def note(self, text: str) -> None:
        """Hear something that the user should know."""

    def fail(self, source: Source, why: str) -> None:
        """Hear that an image failed."""

    def close(self) -> None:
        """Hear that nothing follows."""


class QuietReport:
    """Says nothing but failures."""

    def start(self, source: Source) -> None:
        """Say nothing."""

    def step(self, done: int, total: int) -> None:
        """Say nothing."""

    def finish(self, source: Source, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def fail(self, source: Source, why: str) -> None:
        """Say on standard error which image failed, and why."""
        warn(failure_line(source, why))

    def close(self) -> None:
        """Do nothing."""


class PlainReport(QuietReport):
    """Writes one line for each finished image to standard output.

    Parameters
    ----------
    count : int
        Number of images.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._number = 0

    def start(self, source: Source) -> None:
        """Count the image."""
        self._number += 1

    def finish(self, source: Source, text: str) -> None:
        """Say what was found in the image."""
        say(f"[{self._number}/{self._count}] {source.name}: {text}")

    def note(self, text: str) -> None:
        """Say it on standard error."""
        warn(text)


class BarReport(QuietReport):
    """Draws a progress bar on standard error.

    Parameters
    ----------
    count : int
        Number of images.
    """

    def __init__(self, count: int) -> None:
        from tqdm import tqdm

        self._done = 0
        # Images are the unit, but the bar moves with each step within one.
        self._bar: Any = tqdm(
            total=count,
            file=sys.stderr,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]",
        )

    def start(self, source: Source) -> None:
        """Show the image's name."""
        text = f"{self._done + 1}/{self._bar.total} {source.name}"
        self._bar.set_description_str(text[-60:])

    def step(self, done: int, total: int) -> None:
        """Move the bar."""
        self._move(self._done + done / max(1, total))

    def finish(self, source: Source, text: str) -> None:
        """Move the bar to the next image."""
        self._next()

    def note(self, text: str) -> None:
        """Say it above the bar."""
        # Not its own way to write, which does not care whether it can.
        with self._bar.external_write_mode(file=sys.stderr):
            warn(text)

    def fail(self, source: Source, why: str) -> None:
        """Say above the bar which image failed, and why."""
        self.note(failure_line(source, why))
        self._next()

    def close(self) -> None:
        """Leave the bar as it is, and end its line."""
        self._bar.close()

    def _next(self) -> None:
        self._done += 1
        self._move(self._done)

    def _move(self, position: float) -> None:
        # What other machines finished ahead of its turn is shown already.
        self._bar.update(max(0, position - self._bar.n))


def failure_line(source: Source, why: str) -> str:
    """Return the line that says that an image failed."""
    # A library may answer in many lines, and an error of ours begins with the name.
    text = " ".join(why.split())
    path = str(source.path)
    if source.place:
        return f"FAILED {path} ({source.place}): {text.removeprefix(path).lstrip(': ')}"
    return f"FAILED {text}" if text.startswith(path) else f"FAILED {path}: {text}"


def choose_report(count: int, *, quiet: bool) -> Report:
    """Return what suits: nothing, a bar on a terminal, lines elsewhere.

    Parameters
    ----------
    count : int
        Number of images.
    quiet : bool
        Whether the user asked for silence.
    """
    if quiet:
        return QuietReport()
    if is_terminal():
        return BarReport(count)
    return PlainReport(count)
