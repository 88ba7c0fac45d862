"""How far a run is, in the widget and in napari's activity dock."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QTimer

from napari_sam_amg.plugin.jobs import STAGES, Progress
from napari_sam_amg.plugin.spinner import draws_on_processor, hold_spinner, main_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.qt.threading import GeneratorWorker

    from napari_sam_amg.plugin.panel import Panel

_REDRAW, _REDRAW_ON_PROCESSOR = 100, 1000
"""Milliseconds between two changes of what is said of a run: each composes napari's window
anew, which takes time from the run where there is no graphics card."""


class Report:
    """Shows the news of a run at a steady pace, however often they come.

    Parameters
    ----------
    panel : Panel
        Its progress bar and status line are used.
    """

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._say: Callable[[str], object] = lambda text: None
        self._worker: GeneratorWorker[Any, Any, Any] | None = None
        self._news: Progress | None = None
        self._came = 0.0
        self._on_processor: bool | None = None
        self._timer = QTimer(panel.native)
        self._timer.timeout.connect(self.show)

    def begin(self, worker: GeneratorWorker[Any, Any, Any], say: Callable[[str], object]) -> None:
        """Follow a run that is about to start; `say` shows a sentence, unless it is unwanted."""
        self._worker, self._say, self._news = worker, say, None
        if self._on_processor is None:
            self._on_processor = draws_on_processor(main_window(self._panel.native))
        self._advance_activity(0, 0)
        self._advance(0, 0)
        self._panel.progress.visible = True
        # napari starts its animation with the thread, in an earlier slot of the same signal.
        worker.started.connect(self._started)

    def take(self, news: Progress) -> None:
        """Take in news; the first are shown at once, and the first that tell the end."""
        before = self._news
        self._news, self._came = news, time.monotonic()
        if before is None or (news.total and not before.total):
            self.show()

    @property
    def seconds(self) -> float:
        """How long the run has taken so far, or took."""
        return self._news.elapsed if self._news is not None else 0.0

    def end(self) -> None:
        """Follow the run no more."""
        self._worker = None
        if isalive(self._timer):  # type: ignore[no-untyped-call]
            self._timer.stop()
            self._panel.progress.visible = False

    def show(self) -> None:
        """Show the last news, and the time that has passed since."""
        news = self._news
        if news is None or self._worker is None:
            return
        self._advance_activity(news.done, news.total)
        if self._news is not news or self._worker is None:
            return  # napari's bar let other events in: there are later news, or last words
        if isalive(self._panel.native):  # type: ignore[no-untyped-call]
            self._advance(news.done, news.total)
            self._say(sentence(news, time.monotonic() - self._came))

    def _advance_activity(self, done: int, total: int) -> None:
        activity = getattr(self._worker, "pbar", None)
        if activity is None:
            return
        done, total = self._bounded(done, total)
        if activity.total != total:
            activity.total = total
        if activity.n != done:
            activity.update(done - activity.n)

    def _advance(self, done: int, total: int) -> None:
        bar = self._panel.progress
        done, total = self._bounded(done, total)
        bar.native.setUpdatesEnabled(False)  # else it draws at once, and then the words
        if bar.max != total:
            bar.max = total
        bar.value = done
        bar.native.setUpdatesEnabled(True)

    def _bounded(self, done: int, total: int) -> tuple[int, int]:
        """Give a bar an end: one without is an animation, too."""
        return (done, total) if total else (0, int(bool(self._on_processor)))

    def _started(self) -> None:
        if self._worker is None or not isalive(self._panel.native):  # type: ignore[no-untyped-call]
            return
        if self._on_processor:
            hold_spinner(main_window(self._panel.native))
        self._timer.start(_REDRAW_ON_PROCESSOR if self._on_processor else _REDRAW)


def sentence(news: Progress, late: float = 0.0) -> str:
    """Say how far a run is; `late` is how many seconds ago the news came."""
    parts = [STAGES[news.stage]]
    if news.stage == "download":
        size = f" of {news.total / 1e6:,.0f}" if news.total else ""
        parts.append(f"{news.done / 1e6:,.0f}{size} MB")
    elif news.total:
        parts.append(f"step {news.done} of {news.total}")
    parts.append(f"{news.elapsed + late:.0f} s")
    if not math.isnan(news.remaining):
        parts.append(f"{max(0.0, news.remaining - late):.0f} s left")
    text = ", ".join(parts)
    return f"{news.image}: {text}" if news.image else text[0].upper() + text[1:]
