"""Suppression of duplicates, against a plain loop in float32."""

from __future__ import annotations

import numpy as np
import pytest

from _masks import box_iou, without_near_duplicates
from _scale import scaled
from napari_sam_amg.masks import nms
from napari_sam_amg.masks.nms import Overlaps, near_duplicates, suppress


def by_loop(boxes, scores, threshold):
    left = np.argsort(-scores, kind="stable").tolist()
    boxes = boxes.astype(np.float32)
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [i for i in left if not box_iou(boxes[best], boxes[i]) > threshold]
    return kept


@pytest.mark.parametrize("seed", range(scaled(300)))
def test_equals_a_loop(seed):
    rng = np.random.default_rng([11, seed])
    count = int(rng.integers(0, 60))
    side = int(rng.choice([12, 60, 5000]))  # many bands of rows, or few
    corner = rng.integers(0, side, (count, 2))
    extents = rng.integers(0, 12, (count, 2)) * rng.choice([1, 1, 1, side // 12], (count, 1))
    boxes = np.hstack([corner, corner + extents])
    scores = (rng.integers(0, 8, count) / 8).astype(np.float32)
    threshold = float(rng.choice([0.0, 0.25, 0.5, 0.7, 1.0]))
    kept = suppress(boxes, scores, threshold)
    assert kept.dtype == np.int64
    assert kept.tolist() == by_loop(boxes, scores, threshold)
    rows = rng.permutation(count)[: count // 2]  # some of them, in any order
    kept = Overlaps(boxes).suppress(rows, scores[rows], threshold)
    assert kept.tolist() == by_loop(boxes[rows], scores[rows], threshold)


@pytest.mark.parametrize(("limit", "pairs"), [("_MOST_MEETING", 2), ("_MOST_PAIRS", 1)])
def test_of_very_many_boxes_the_best_are_compared(limit, pairs, monkeypatch):
    """The first two boxes share columns with the third, and only one of them overlaps it."""
    boxes = np.array([[0, 0, 9, 9], [11, 20, 19, 29], [5, 5, 15, 9]])
    scores = np.array([0.9, 0.5, 0.7], dtype=np.float32)
    monkeypatch.setattr(nms, limit, pairs)
    assert nms.Overlaps.of(boxes, scores).knows(np.arange(3))
    monkeypatch.setattr(nms, limit, 0)
    few = nms.Overlaps.of(boxes, scores)
    assert [few.knows(np.array([row])) for row in range(3)] == [True, False, False]
    assert not few.knows(np.array([0, 2]))


@pytest.mark.parametrize("seed", range(scaled(100)))
def test_those_that_were_compared_are_the_best(seed, monkeypatch):
    rng = np.random.default_rng([12, seed])
    corner = rng.integers(0, 60, (80, 2))
    boxes = np.hstack([corner, corner + rng.integers(1, 12, (80, 2))])
    scores = rng.random(80).astype(np.float32)
    monkeypatch.setattr(nms, "_MOST_PAIRS", 40)
    overlaps = nms.Overlaps.of(boxes, scores)
    assert 0 < len(overlaps) <= 40
    known = np.array([overlaps.knows(np.array([row])) for row in range(80)])
    assert scores[known].min() > scores[~known].max()
    rows = rng.permutation(np.flatnonzero(known))
    kept = overlaps.suppress(rows, scores[rows], 0.2)
    assert kept.tolist() == by_loop(boxes[rows], scores[rows], 0.2)


@pytest.mark.parametrize(
    ("boxes", "scores", "threshold", "kept"),
    [
        ([[0, 0, 4, 4], [0, 0, 4, 2]], [0.5, 0.9], 0.5, [1, 0]),  # exactly at the threshold
        ([[0, 0, 4, 4], [0, 0, 4, 2]], [0.5, 0.9], 0.49, [1]),
        ([[0, 0, 4, 4], [0, 0, 4, 4]], [0.5, 0.5], 0.7, [0]),  # a tie: the first stays
        ([[3, 3, 3, 3], [3, 3, 3, 3]], [0.5, 0.9], 0.0, [1, 0]),  # one pixel has no area
        ([], [], 0.7, []),
    ],
)
def test_by_hand(boxes, scores, threshold, kept):
    boxes = np.array(boxes, dtype=np.int64).reshape(-1, 4)
    assert suppress(boxes, np.array(scores, dtype=np.float32), threshold).tolist() == kept


@pytest.mark.parametrize("seed", range(scaled(100)))
def test_equals_torchvision(seed):
    import torch
    from torchvision.ops import batched_nms

    rng = np.random.default_rng([12, seed])
    count = int(rng.integers(1, 400)) if seed % 3 else int(rng.integers(990, 1400))
    corner = rng.integers(0, 900, (count, 2))
    boxes = np.hstack([corner, corner + rng.integers(0, 400, (count, 2))])
    scores = rng.choice(rng.random(max(1, count // 2)), count).astype(np.float32)
    threshold = float(rng.choice([0.1, 1 / 3, 0.5, 0.7]))
    theirs = batched_nms(
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(scores),
        torch.zeros(count),
        iou_threshold=threshold,
    )
    assert suppress(boxes, scores, threshold).tolist() == theirs.tolist()


@pytest.mark.parametrize("seed", range(scaled(300)))
def test_near_duplicates(seed):
    """As by a loop, and the same before as after any thresholds of the scores."""
    rng = np.random.default_rng([12, seed])
    count = int(rng.integers(0, 80))
    corner = rng.integers(0, 6, (count, 2))
    boxes = np.hstack([corner, corner + rng.integers(20, 25, (count, 2))])
    areas = rng.integers(200, 300, count)
    scores = (rng.integers(0, 6, (2, count)) / 8).astype(np.float32)
    scores[1, rng.random(count) < 0.1] = np.nan
    ranked = np.nan_to_num(scores, nan=-1.0)
    kept = np.flatnonzero(~near_duplicates(boxes, areas, *scores, 0.8))
    assert kept.tolist() == without_near_duplicates(boxes, areas, *ranked)
    good = (scores[0] > rng.integers(0, 6) / 8) & (ranked[1] >= rng.integers(0, 6) / 8)
    rows = np.flatnonzero(good)
    alone = rows[~near_duplicates(boxes[rows], areas[rows], *scores[:, rows], 0.8)]
    assert alone.tolist() == kept[good[kept]].tolist()
