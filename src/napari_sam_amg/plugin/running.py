"""Runs in a worker thread, as the window shows them: buttons, progress, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.qt.threading import create_worker
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication

from napari_sam_amg.errors import RunError, SamAmgError
from napari_sam_amg.plugin.jobs import Control, Found, Job, Progress, fault
from napari_sam_amg.plugin.large_run import run_large
from napari_sam_amg.plugin.reporting import Report
from napari_sam_amg.plugin.stack_run import relink, run_stack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.qt.threading import GeneratorWorker

    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.masks import Proposals
    from napari_sam_amg.plugin.large_run import LargeJob
    from napari_sam_amg.plugin.panel import Panel
    from napari_sam_amg.plugin.session import Session
    from napari_sam_amg.plugin.stack_run import LinkedStack, StackJob


class Runner:
    """Starts and ends runs, one at a time.

    Parameters
    ----------
    panel : Panel
        Its buttons, progress bar and status line follow the run.
    session : Session
        Keeps the model from run to run.
    found : callable
        Called in the window's thread with the job and what was found, after each image.

    Attributes
    ----------
    worker : GeneratorWorker or None
        None while nothing runs.
    """

    def __init__(
        self, panel: Panel, session: Session, found: Callable[[Job, Proposals], None]
    ) -> None:
        self._panel = panel
        self._session = session
        self._found = found
        self._control = Control()
        self._report = Report(panel)
        self.worker: GeneratorWorker[Any, Any, Any] | None = None
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._quitting)

    def start(
        self, jobs: Sequence[Job], failed: Sequence[str] = ()
    ) -> GeneratorWorker[Any, Any, Any]:
        """Run one or more jobs, one after another.

        Parameters
        ----------
        jobs : sequence of Job
        failed : sequence of str
            What is said at the end of images of which no job could be made.

        Returns
        -------
        GeneratorWorker
            Already started. Of one job it returns the `Proposals`, or None if it was
            cancelled; of several it yields a `Found` after each besides `Progress`.

        Raises
        ------
        RunError
            If a run is on already.
        """
        one = len(jobs) == 1 and not failed
        if one:
            return self.begin(
                lambda control: self._session.run(jobs[0], control),
                f"Masks of {jobs[0].plane.name}",
                lambda result: self._deliver(jobs[0], lambda: self._found(jobs[0], result)),
            )
        return self.begin(
            lambda control: self._session.run_all(jobs, control, failed),
            f"Masks of {len(jobs)} images",
            lambda count: self._say(f"Done: {count} images, {self._report.seconds:.0f} s."),
        )

    def start_stack(
        self, stack: StackJob, show: Callable[[LinkedStack], object]
    ) -> GeneratorWorker[Any, Any, Any]:
        """Run all planes of a stack and link what is found; `show` is called with the result.

        Raises
        ------
        RunError
            If a run is on already.
        """
        return self.begin(
            lambda control: run_stack(self._session, stack, control),
            f"Stack {stack.first.plane.name}",
            lambda result: self._deliver(stack.first, lambda: show(result)),
        )

    def start_linking(
        self, stack: LinkedStack, show: Callable[[LinkedStack], object]
    ) -> GeneratorWorker[Any, Any, Any]:
        """Link the masks of a stack that was run; otherwise as `start_stack`."""
        return self.begin(
            lambda control: relink(stack.job, stack.masks, control),
            f"Linking {stack.job.first.plane.name}",
            lambda result: self._deliver(stack.job.first, lambda: show(result)),
        )

    def start_large(
        self, large: LargeJob, show: Callable[[LargeJob, LargeResult, float], object]
    ) -> GeneratorWorker[Any, Any, Any]:
        """Run over a plane into a folder; otherwise as `start_stack`."""
        return self.begin(
            lambda control: run_large(self._session, large, control),
            f"Masks of {large.job.plane.name}",
            lambda result: self._deliver(large.job, lambda: show(large, result, self.seconds)),
            kept=f" What is finished is kept in {large.folder}: press Run into folder to go on.",
        )

    def begin(
        self,
        run: Callable[[Control], Generator[Progress | Found, None, Any]],
        title: str,
        done: Callable[[Any], object],
        kept: str = "",
    ) -> GeneratorWorker[Any, Any, Any]:
        """Start a generator in a worker thread.

        Parameters
        ----------
        run : callable
            Makes the generator; it returns None if it was cancelled.
        title : str
            For napari's activity dock.
        done : callable
            Called in the window's thread with what the generator returned, unless it was
            cancelled; what is said then besides is `kept`.

        Raises
        ------
        RunError
            If a run is on already.
        """
        if self.worker is not None:
            raise RunError("a run is on already: cancel it first, or wait for its end")
        self._control = control = Control()

        def steps() -> Generator[Progress | Found, None, Any]:  # napari asks for such a function
            return (yield from run(control))

        worker = create_worker(steps, _start_thread=False, _progress={"total": 0, "desc": title})
        self.worker = worker
        # napari's own ways to end a worker, such as closing its window, only set a flag.
        control.abandoned = lambda: bool(worker.abort_requested)
        worker.yielded.connect(self._yielded)
        worker.returned.connect(lambda result: self._returned(done, result, kept))
        worker.errored.connect(lambda error: self._last_words(str(error)))
        worker.aborted.connect(lambda: self._last_words(f"Cancelled.{kept}"))
        worker.finished.connect(self._ended)
        self._show(running=True)
        self._report.begin(worker, lambda text: None if control.stopping else self._say(text))
        worker.start()
        return worker

    def cancel(self, *, keep: bool) -> None:
        """End the run that is on, if any; with `keep`, show what it has found so far."""
        if self.worker is None:
            return
        self._control.cancel(keep=keep)
        self._say("Stopping ...")
        self._panel.cancel_button.enabled = self._panel.keep_button.enabled = False

    @property
    def seconds(self) -> float:
        """How long the last run has taken."""
        return self._report.seconds

    @property
    def _gone(self) -> bool:
        """Whether the window was closed: nothing of it can be shown any more."""
        return not isalive(self._panel.native)  # type: ignore[no-untyped-call]

    def _quitting(self) -> None:
        self._control.cancel(keep=False)

    def _last_words(self, text: str) -> None:
        """Show how a run ended; no news of it come after that."""
        self._report.end()
        self._say(text)

    def _say(self, text: str) -> None:
        if self._gone:
            return
        self._panel.say(text)

    def _show(self, *, running: bool) -> None:
        if self._gone:
            return
        panel = self._panel
        panel.run_button.enabled = panel.all_button.enabled = not running
        panel.cancel_button.enabled = panel.keep_button.enabled = running

    def _yielded(self, news: Progress | Found) -> None:
        if self._gone:
            self._control.cancel(keep=False)
            return
        if isinstance(news, Found):
            self._deliver(news.job, lambda: self._found(news.job, news.proposals))
            return
        self._report.take(news)

    def _returned(self, done: Callable[[Any], object], result: Any, kept: str) -> None:
        self._report.end()
        if self._gone:
            return
        if result is None:
            self._say(f"Cancelled.{kept}")
        else:
            done(result)

    def _deliver(self, job: Job, show: Callable[[], object]) -> None:
        try:
            show()
        except SamAmgError as error:
            self._say(str(error))
            raise
        except Exception as error:
            failed = fault("show", job, error)
            self._say(str(failed))
            raise failed from error

    def _ended(self) -> None:
        self.worker = None
        self._report.end()
        self._show(running=False)
