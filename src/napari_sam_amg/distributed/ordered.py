"""Tasks in a bounded number at once, and their results in the order of the tasks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import RunError, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping
    from types import TracebackType

    from distributed import Client, Future

PER_WORKER = 2
"""Tasks for each worker at once: one that it works on, and one that waits."""

AHEAD = 8
"""For each worker, tasks whose results may be waited for or held until it is their turn."""

PATIENCE = 60.0
"""Seconds without any worker after which the run is given up."""


@dataclass
class Request:
    """One task.

    Attributes
    ----------
    group : int
        What it belongs to; groups follow each other in rising order.
    submit : callable
        Takes keywords of ``Client.submit``, and returns the future.
    share : float
        Which part of its group it is.
    """

    group: int
    submit: Callable[..., Future]
    share: float = 1.0


@dataclass
class _Entry:
    request: Request
    future: Future | None = None
    alone: bool = False

    @property
    def is_done(self) -> bool:
        return self.future is not None and self.future.done()


class Ordered:
    """Runs tasks on the workers of a scheduler; a context manager, which gives up what is left.

    A worker that is lost loses nothing: the scheduler gives its tasks to others. A task whose
    workers are lost again and again runs once more, alone, before it counts as failed, since
    it may have been another task of those workers that ended them.

    Parameters
    ----------
    client : Client
    requests : iterable of Request
        In order; asked for as they can be run.
    """

    def __init__(self, client: Client, requests: Iterable[Request]) -> None:
        self._client = client
        self._requests = iter(requests)
        self._entries: deque[_Entry] = deque()
        self._left = -1
        self._changed = threading.Event()
        self._without_worker: float | None = None

    def __enter__(self) -> Ordered:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._give_up(self._entries)

    def results(
        self, group: int, waiting: Callable[[float], None] = lambda ahead: None
    ) -> Generator[Any]:
        """Yield the results of a group in order; groups before it that are left are given up.

        Parameters
        ----------
        group : int
        waiting : callable
            Told now and then how many groups' worth of tasks is finished ahead of its turn.

        Raises
        ------
        RunError
            If a task ends whatever worker runs it.
        SchedulerError
            If the scheduler, or all of its workers, are gone.
        Exception
            What the task raised; the rest of the group is given up.
        """
        self._leave(group - 1)
        try:
            while True:
                self._fetch()
                if not self._entries or self._entries[0].request.group != group:
                    return
                yield self._first(waiting)
        finally:
            self._leave(group)

    def _first(self, waiting: Callable[[float], None]) -> Any:
        entry = self._entries[0]
        while True:
            self._changed.clear()
            self._fill()
            waiting(sum(one.request.share for one in self._entries if one.is_done))
            if entry.is_done:
                future, entry.future = entry.future, None
                if (settled := self._settled(entry, future)) is not None:
                    self._entries.popleft()
                    return settled[0]
                continue
            self._changed.wait(0.5)

    def _settled(self, entry: _Entry, future: Future | None) -> tuple[Any] | None:
        """Return the result of a finished task; None if it has to run again, alone."""
        from distributed import KilledWorker

        if future is None or future.status in ("cancelled", "lost"):
            raise SchedulerError(f"the scheduler at {self._address} has dropped the task")
        try:
            return (future.result(),)
        except KilledWorker as error:
            if entry.alone:
                raise RunError(
                    f"every worker that tried it has ended ({error.last_worker.address} was the "
                    "last): most often they lack memory; see their logs"
                ) from error
            entry.alone = True
            return None

    def _fetch(self) -> None:
        """Hold as many requests as may be under way, without those of groups that were left."""
        most = max(1, AHEAD * len(self._workers()))
        while len(self._entries) < most:
            request = next(self._requests, None)
            if request is None:
                return
            if request.group > self._left:
                self._entries.append(_Entry(request))

    def _fill(self) -> None:
        """Hand over tasks while there are too few for the workers."""
        self._fetch()
        workers = self._workers()
        if not workers:
            return
        running = [one for one in self._entries if one.future is not None and not one.is_done]
        for entry in self._entries:
            if entry.future is not None:
                continue
            limited = entry.alone or any(one.alone for one in running)
            if (limited and running) or len(running) >= PER_WORKER * len(workers):
                return
            # For no worker in particular: a task that is, even loosely, is never taken up again
            # after a moment without any worker (as of distributed 2026.8).
            entry.future = entry.request.submit(pure=False)
            entry.future.add_done_callback(self._wake)
            running.append(entry)

    def _wake(self, _: Future) -> None:
        self._changed.set()

    def _workers(self) -> Mapping[str, int]:
        try:
            workers: Mapping[str, int] = self._client.nthreads()
        except (OSError, RuntimeError) as error:
            raise SchedulerError(
                f"the scheduler at {self._address} does not answer any more ({error})"
            ) from error
        if workers:
            self._without_worker = None
            return workers
        now = time.monotonic()
        self._without_worker = self._without_worker or now
        if now - self._without_worker > PATIENCE:
            raise SchedulerError(
                f"the scheduler at {self._address} has had no worker for {PATIENCE:g} s"
            )
        return {}

    @property
    def _address(self) -> str:
        scheduler = self._client.scheduler
        return "?" if scheduler is None else str(scheduler.address)

    def _leave(self, group: int) -> None:
        """Give up what is left of a group and those before it."""
        self._left = max(self._left, group)
        given_up = [one for one in self._entries if one.request.group <= self._left]
        self._entries = deque(one for one in self._entries if one.request.group > self._left)
        self._give_up(given_up)

    def _give_up(self, entries: Iterable[_Entry]) -> None:
        futures = [one.future for one in entries if one.future is not None]
        if futures:
            # A scheduler that is gone runs nothing either.
            with contextlib.suppress(OSError, RuntimeError):
                self._client.cancel(futures, force=True)
