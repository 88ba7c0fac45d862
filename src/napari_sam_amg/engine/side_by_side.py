"""Groups of prompts side by side on a CPU, each in a thread of its own.

Torch shares out every single operation among the cores and waits for the slowest one. Whatever
else the computer does then stops all cores, and outside the main thread libgomp, once its
threads are more than the cores, puts them to sleep between operations: on two cores the same
run took 15 % longer in a worker than in the main thread, and half as long again beside a
window that was being drawn. Groups need nothing of each other, so they wait only once.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_sam_amg.engine.guard import settings
from napari_sam_amg.models.host import limit_threads

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
    work: Callable[[Task], Answer], tasks: Sequence[Task], device: torch.device, *, fast: bool
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
    """
    threads = torch.get_num_threads()
    count = workers(len(tasks), threads) if tasks and device.type == "cpu" else 1
    if count == 1:
        yield from map(work, tasks)
        return

    def alone(task: Task) -> Answer:
        with settings(device, fast=fast):  # torch's modes are those of one thread
            limit_threads(threads // count)
            return work(task)

    pool = ThreadPoolExecutor(count, thread_name_prefix="napari-sam-amg")
    try:
        yield from pool.map(alone, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
