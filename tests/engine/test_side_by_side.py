"""Groups side by side: soonest done, in order, undisturbed, and the host's threads put back."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.decoder import Decoder
from napari_sam_amg.engine.encoder import encode
from napari_sam_amg.engine.guard import undisturbed
from napari_sam_amg.engine.side_by_side import answers, workers
from napari_sam_amg.parameters import AmgParameters

CPU = torch.device("cpu")


@pytest.fixture
def host_threads():
    """Let a test set torch's threads."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def _finished(groups: int, threads: int, count: int) -> float:
    """When the last group is done if `count` workers take one after the other."""
    free = [0.0] * count
    for _ in range(groups):
        first = free.index(min(free))
        free[first] += 1 / (threads // count)
    return max(free)


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("threads", range(1, 25))
def test_no_other_number_of_workers_is_done_sooner(groups, threads):
    chosen = workers(groups, threads)
    assert 1 <= chosen <= min(groups, threads)
    best = min(_finished(groups, threads, n) for n in range(1, min(groups, threads) + 1))
    assert _finished(groups, threads, chosen) == pytest.approx(best)


def test_two_cores_take_a_group_each():
    assert workers(4, 2) == 2


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_answers_come_in_order_and_threads_are_put_back(host_threads, threads):
    host_threads(threads)
    seen = []

    def work(task):
        seen.append((threading.get_ident(), torch.get_num_threads(), torch.is_grad_enabled()))
        return task, torch.ones(1).dtype

    with undisturbed(CPU, fast=False):
        found = list(answers(work, range(8), CPU, fast=False))
    assert found == [(task, torch.float32) for task in range(8)]
    assert torch.get_num_threads() == threads
    assert not any(grad for _, _, grad in seen)
    assert {count for _, count, _ in seen} == {1}
    if threads > 1:
        assert threading.get_ident() not in {thread for thread, _, _ in seen}
    # A thread of the host's that begins later gets the host's number, too.
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [threads]


def test_threads_of_the_host_that_begin_meanwhile_get_the_hosts_number(host_threads):
    host_threads(4)
    counts = []

    def work(task):
        thread = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return torch.get_num_threads()

    with undisturbed(CPU, fast=False):
        assert set(answers(work, range(8), CPU, fast=False)) == {1}
    assert counts == [4] * 8


def test_several_runs_at_once_keep_the_hosts_number(host_threads):
    host_threads(4)
    found = []

    def run():
        for _ in range(20):
            with undisturbed(CPU, fast=False):
                shares = set(answers(lambda _: torch.get_num_threads(), range(8), CPU, fast=False))
            found.append((shares, torch.get_num_threads()))

    runs = [threading.Thread(target=run) for _ in range(3)]
    for thread in runs:
        thread.start()
    for thread in runs:
        thread.join()
    assert found == [({1}, 4)] * 60
    assert torch.get_num_threads() == 4


def test_an_error_comes_in_its_turn_and_ends_the_rest(host_threads):
    host_threads(2)
    begun = []

    def work(task):
        begun.append(task)
        time.sleep(0.002)
        if task == 2:
            raise MemoryError(task)
        return task

    done = []
    with undisturbed(CPU, fast=False), pytest.raises(MemoryError):
        done.extend(answers(work, range(100), CPU, fast=False))
    assert done == [0, 1]
    assert len(begun) < 100
    assert not [t for t in threading.enumerate() if t.name.startswith("napari-sam-amg")]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("use_m2m", [False, True])
def test_the_number_of_threads_does_not_change_a_bit(
    small, sample_images, host_threads, fast, use_m2m
):
    points = np.random.default_rng(0).uniform(0, 128, (70, 2)).astype(np.float32)
    parameters = AmgParameters(use_m2m=use_m2m)
    host_threads(1)
    with undisturbed(CPU, fast=fast):
        features = encode(small, np.stack([sample_images[0][:128, :128]] * 3, -1), "stretch")
    found = []
    for threads in (1, 2, 4):
        host_threads(threads)
        with undisturbed(CPU, fast=fast):
            found.append(Decoder(small, features, parameters, fast=fast).decode(points))
    for other in found[1:]:
        assert torch.equal(found[0].logits, other.logits)
        assert torch.equal(found[0].predicted_iou, other.predicted_iou)


def test_a_host_in_another_thread_keeps_its_threads(small, sample_images, host_threads):
    host_threads(2)
    generator = AutomaticMaskGenerator(small, points_per_side=8)
    steps = generator.steps(sample_images[0][:100, :100])
    counts = [torch.get_num_threads() for _ in steps]
    assert counts == [2] * len(counts)
    assert len(counts) == 3
