"""Which candidates cover a pixel, against a search of full masks; nesting depth; joining."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from _masks import Scene, random_stack
from napari_sam_amg.masks import Masks
from napari_sam_amg.masks.covering import covering
from napari_sam_amg.masks.nesting import depths
from napari_sam_amg.parameters import AmgParameters


def _masks(stack: np.ndarray, scores: np.ndarray | None = None) -> Masks:
    if scores is None:
        return Masks.from_arrays(stack)
    return Masks.from_arrays(stack, predicted_iou=scores, stability_score=np.ones(len(stack)))


@pytest.mark.parametrize("seed", range(6))
def test_covering_equals_a_search_of_full_masks(seed):
    rng = np.random.default_rng(seed)
    stack = random_stack(rng, 25, (40, 50))
    scores = rng.random(len(stack)).astype(np.float32)
    scores[rng.integers(0, len(stack), 2)] = np.nan
    masks = _masks(stack, scores)
    for _ in range(30):
        x, y = int(rng.integers(50)), int(rng.integers(40))
        found = covering(masks, x, y)
        there = [i for i in range(len(stack)) if stack[i, y, x]]
        assert set(found) <= set(there)
        ranks = np.nan_to_num(scores[found], nan=-1)
        assert (np.diff(ranks) <= 0).all()
        # What was left out says the same as a better one that was not.
        for left in set(there) - set(found.tolist()):
            assert any(_alike(stack[left], stack[kept]) for kept in found)
        for first, second in itertools.pairwise(found):
            assert not _alike(stack[first], stack[second])
    assert len(covering(masks, 50, 0)) == 0
    assert len(covering(masks, -1, 0)) == 0


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    boxes = []
    for mask in (a, b):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = np.zeros(mask.shape, bool)
        box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        boxes.append(box)
    iou = (boxes[0] & boxes[1]).sum() / (boxes[0] | boxes[1]).sum()
    areas = sorted([a.sum(), b.sum()])
    return bool(iou >= 0.9 and areas[0] >= 0.9 * areas[1])


@pytest.mark.parametrize("seed", range(4))
def test_depths_follow_the_parents(seed):
    rng = np.random.default_rng(seed)
    stack = random_stack(rng, 12, (60, 60))
    inner = [mask & (rng.random(mask.shape) < 0.7) for mask in stack]
    deeper = [mask & (rng.random(mask.shape) < 0.6) for mask in inner]
    full = np.stack([m for m in (*stack, *inner, *deeper) if m.any()])
    masks = _masks(full)
    parents = masks.features["parent"].to_numpy()

    def depth(label: int) -> int:
        parent = int(parents[label - 1])
        return 0 if parent == 0 else 1 + depth(parent)

    found = depths(masks.store)
    assert found.tolist() == [depth(label) for label in range(1, len(full) + 1)]
    assert found.max() >= 2


def test_masks_followed_by_others():
    rng = np.random.default_rng(1)
    one, two = random_stack(rng, 4, (30, 20)), random_stack(rng, 3, (30, 20))
    both = _masks(one).followed_by(_masks(two))
    assert len(both) == len(one) + len(two)
    for found, expected in zip(both, (*one, *two), strict=True):
        np.testing.assert_array_equal(found, expected)


def random_scene(rng) -> Scene:
    parameters = AmgParameters(points_per_side=5, crop_n_layers=int(rng.integers(0, 2)))
    return Scene(rng, tuple(rng.integers(30, 90, 2).tolist()), parameters)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_removed_is_counted_at_the_step_that_removes_it(seed):
    rng = np.random.default_rng(seed)
    proposals = random_scene(rng).proposals()
    steps = {
        "pred_iou_thresh": 0.5,
        "stability_score_thresh": 0.5,
        "box_nms_thresh": 0.6,
        "crop_nms_thresh": 0.6,
        "min_area": 20,
        "max_area": 900,
        "exclude_border": True,
    }
    masks, selection = proposals.selected(**steps)
    assert sum(selection.removed.values()) + len(selection.rows) == len(proposals)
    assert len(masks) == len(selection.rows)
    p = AmgParameters(**steps)
    low = int((~(proposals.predicted_iou > p.pred_iou_thresh)).sum())
    assert selection.removed["pred_iou_thresh"] == low
    for number, row in enumerate(selection.rows):
        np.testing.assert_array_equal(masks[number], proposals.store.full(int(row)))
