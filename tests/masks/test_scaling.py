"""Ten times as many masks take about ten times as long, not a hundred times."""

from __future__ import annotations

import time

import numpy as np
import pytest

from napari_sam_amg.masks import Masks, MaskStore, MaskTable

SIDE = 4096


def _discs(count: int):
    """Random discs of 5 to 30 pixels' radius; every tenth lies within the one before."""
    rng = np.random.default_rng(0)
    x = y = radius = 0
    for index in range(count):
        if index % 10 == 9:
            x, y, radius = x + radius // 2, y + radius // 2, max(2, radius // 2)
        else:
            radius = int(rng.integers(5, 31))
            x, y = (int(n) for n in rng.integers(0, SIDE - 2 * radius - 1, 2))
        across = np.arange(-radius, radius + 1)
        yield x, y, across[:, None] ** 2 + across**2 <= radius**2


def _busy(call) -> float:
    """Return the processor's seconds of the quicker of two calls: whatever else runs."""
    seconds = []
    for _ in range(2):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return min(seconds)


@pytest.mark.parametrize(
    "what", ["smallest_on_top", "best_score_on_top", "discard_overlaps", "features"]
)
def test_time_grows_with_the_number_of_masks(what):
    seconds = []
    for count in (1_000, 10_000):
        store = MaskStore.from_windows((SIDE, SIDE), _discs(count))
        table = MaskTable.unknown(store, predicted_iou=np.linspace(0, 1, count))

        def call(store=store, table=table):
            masks = Masks(store, table)
            return masks.features if what == "features" else masks.to_labels(what)

        seconds.append(_busy(call))
    few, many = seconds
    assert many < 20 * max(few, 0.01), seconds
