"""Order and number of tasks, without a scheduler."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from napari_sam_amg.distributed import ordered
from napari_sam_amg.distributed.ordered import AHEAD, PER_WORKER, Ordered, Request
from napari_sam_amg.errors import SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Future:
    number: int
    status: str = "pending"
    error: Exception | None = None
    told: list[Callable[[Any], None]] = field(default_factory=list)

    def done(self) -> bool:
        return self.status != "pending"

    def result(self) -> int:
        if self.error is not None:
            raise self.error
        return self.number

    def add_done_callback(self, tell: Callable[[Any], None]) -> None:
        self.told.append(tell)

    def finish(self, error: Exception | None = None) -> None:
        self.error, self.status = error, "error" if error else "finished"
        for tell in self.told:
            tell(self)


@dataclass
class Client:
    """Finishes the last of the tasks that run, now and then when it is asked for its workers."""

    workers: tuple[str, ...] = ("a", "b")
    running: list[Future] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    most: int = 0
    asked: int = 0
    fails: int | None = None
    next: int = -1
    scheduler = None

    def nthreads(self) -> dict[str, int]:
        self.asked += 1
        if self.running and self.asked % 3 == 0:
            future = self.running.pop(self.next)
            future.finish(ValueError("no") if future.number == self.fails else None)
        return dict.fromkeys(self.workers, 4)

    def submit(self, number: int, *, pure: bool) -> Future:
        assert not pure
        future = Future(number)
        self.running.append(future)
        self.most = max(self.most, len(self.running))
        return future

    def cancel(self, futures: list[Future], *, force: bool) -> None:
        assert force
        self.cancelled += [one.number for one in futures]
        self.running = [one for one in self.running if one not in futures]

    def requests(self, groups: list[int], taken: list[int]) -> Iterator[Request]:
        for number, group in enumerate(groups):
            taken.append(number)
            yield Request(group, lambda number=number, **more: self.submit(number, **more))


def test_results_come_in_order_and_no_more_tasks_run_than_may() -> None:
    client, taken = Client(), []
    ahead: list[float] = []
    with Ordered(client, client.requests([0] * 3 + [1] * 40 + [3], taken)) as tasks:
        assert list(tasks.results(0, ahead.append)) == [0, 1, 2]
        assert len(taken) <= 3 + AHEAD * 2 + 1
        assert list(tasks.results(1)) == list(range(3, 43))
        assert list(tasks.results(2)) == []
        assert list(tasks.results(3)) == [43]
    assert client.most == 2 * PER_WORKER
    assert max(ahead) > 1
    assert client.cancelled == []


def test_the_rest_of_a_group_is_given_up_with_it() -> None:
    client, taken = Client(fails=1), []
    with Ordered(client, client.requests([0] * 30 + [1] * 2, taken)) as tasks:
        results = tasks.results(0)
        assert next(results) == 0
        with pytest.raises(ValueError, match="no"):
            next(results)
        assert set(client.cancelled) <= set(range(2, 30))
        assert list(tasks.results(1)) == [30, 31]
    assert {one.number for one in client.running} == set()


def test_what_is_left_is_cancelled_at_the_end() -> None:
    client = Client(next=0)
    with Ordered(client, client.requests([0, 1, 2, 3, 4], [])) as tasks:
        assert next(tasks.results(0)) == 0
        running = {one.number for one in client.running}
    assert running
    assert running <= set(client.cancelled)
    assert client.running == []


def test_groups_that_nobody_asked_for_are_passed_over() -> None:
    client = Client()
    with Ordered(client, client.requests([0, 1, 1, 5], [])) as tasks:
        assert list(tasks.results(5)) == [3]


def test_no_worker_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordered, "PATIENCE", 0.0)
    client = Client(workers=())
    with (
        Ordered(client, client.requests([0], [])) as tasks,
        pytest.raises(SchedulerError, match="no worker for 0 s"),
    ):
        list(tasks.results(0))


def test_a_scheduler_that_is_gone() -> None:
    client = Client()

    def gone() -> None:
        raise OSError("closed")

    client.nthreads = gone  # type: ignore[method-assign, assignment]
    with (
        Ordered(client, client.requests([0], [])) as tasks,
        pytest.raises(SchedulerError, match=r"does not answer any more \(closed\)"),
    ):
        list(tasks.results(0))
