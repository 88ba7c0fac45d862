"""Groups of prompts side by side on a CPU, each in a thread of its own.

Torch shares out every single operation among the cores and waits for the slowest one. Whatever
else the computer does then stops all cores, and outside the main thread libgomp, once its
threads are more than the cores, puts them to sleep between operations: on two cores the same
run took 15 % longer in a worker than in the main thread, and half as long again beside a
window that was being drawn. Groups need nothing of each other, so they wait only once.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_sam_amg.engine.guard import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def workers(groups: int, threads: int) -> int:
    """Return how many groups to work on at once, so that all are done soonest.

    Each worker has an equal whole number of threads; what is left over is idle.

    Parameters
    ----------
    groups, threads : int
        At least 1.
    """

    def duration(count: int) -> float:
        rounds = -(-groups // count)
        return rounds / (threads // count)

    # Of equally long ones the most workers: they wait for each other the least.
    return min(range(1, min(groups, threads) + 1), key=lambda count: (duration(count), -count))


def answers(
    work: Callable[[Task], Answer],
    tasks: Sequence[Task],
    device: torch.device,
    *,
    fast: bool,
    parallel: bool = True,
) -> Iterator[Answer]:
    """Yield ``work(task)`` for each task in order; on a CPU several are worked on at once.

    Parameters
    ----------
    work : callable
        Called within `settings`; anything it raises is raised here in the task's turn,
        and tasks that have not begun by then are left out.
    tasks : sequence
    device : torch.device
        Where `work` computes.
    fast : bool
        As for `settings`.
    parallel : bool
        False works on one at a time, which takes the least memory.
    """
    count = 1
    if tasks and device.type == "cpu" and parallel:
        with _forming:  # a thread that is new takes the number that is noted then
            threads = torch.get_num_threads()
        count = workers(len(tasks), threads)
    if count == 1:
        yield from map(work, tasks)
        return

    def alone(task: Task) -> Answer:
        with settings(device, fast=fast):  # torch's modes are those of one thread
            return work(task)

    pool = _team(count)
    try:
        yield from pool.map(alone, tasks)
    finally:
        pool.shutdown(cancel_futures=True)


_forming = threading.Lock()


def _team(count: int) -> ThreadPoolExecutor:
    """Return threads that share out the number of threads that torch has in this one.

    Torch notes the last number that any thread was given for threads to come, which may be
    the host's: it is put right as soon as all have theirs.
    """
    ready, done = threading.Barrier(count + 1), threading.Barrier(count + 1)

    def begin(share: int) -> None:
        torch.get_num_threads()  # else the noted number is taken at the first operation
        ready.wait()  # all at once, so that it is put right soon
        torch.set_num_threads(share)

    with _forming:
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(
            count,
            thread_name_prefix="napari-sam-amg",
            initializer=begin,
            initargs=(max(1, threads // count),),
        )
        for _ in range(count):  # each waits, so that each is taken by another thread
            pool.submit(done.wait)
        ready.wait()
        done.wait()
        torch.set_num_threads(threads)
    return pool
