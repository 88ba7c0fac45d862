"""Masks as spans, against full-size arrays."""

from __future__ import annotations

import numpy as np
import pytest

from _masks import random_stack
from _scale import scaled
from napari_sam_amg.masks import Masks, arrangement, labels, nms, pairs, ragged, spans
from napari_sam_amg.masks.store import MaskStore

SHAPES = [(1, 1), (1, 40), (40, 1), (17, 23), (64, 31)]


def _random(seed: int) -> tuple[np.ndarray, MaskStore, np.random.Generator]:
    rng = np.random.default_rng([31, seed])
    shape = SHAPES[seed % len(SHAPES)]
    stack = random_stack(rng, int(rng.integers(1, 12)), shape)
    return stack, Masks.from_arrays(stack).store, rng


@pytest.mark.parametrize("limit", [1, 7, 1 << 20])
@pytest.mark.parametrize("seed", range(scaled(100)))
def test_equal_full_size_arrays(seed, limit, monkeypatch):
    """Also when worked off in parts of few values."""
    monkeypatch.setattr(spans, "_SPANS_AT_ONCE", limit)
    monkeypatch.setattr(spans, "_PIXELS_AT_ONCE", limit)
    monkeypatch.setattr(arrangement, "_PIECES_AT_ONCE", limit)
    stack, store, rng = _random(seed)
    flat = stack.reshape(len(stack), -1)
    several = flat.sum(axis=0) > 1
    one, other = rng.integers(0, len(stack), (2, 20))
    np.testing.assert_array_equal(
        store.spans.common(one, other), (flat[one] & flat[other]).sum(axis=1)
    )
    image = np.where(several, 0, flat.any(axis=0)).reshape(store.shape)
    painted = labels.paint(store, np.zeros(len(stack), np.float32), "discard_overlaps")
    np.testing.assert_array_equal(painted.image > 0, image)
    np.testing.assert_array_equal(painted.shared, (flat & several).sum(axis=1))
    np.testing.assert_array_equal(painted.visible, (flat & ~several).sum(axis=1))


@pytest.mark.parametrize("seed", range(scaled(50)))
def test_a_part_of_a_store_brings_its_spans(seed):
    stack, store, rng = _random(seed)
    chosen = rng.integers(0, len(stack), 6)
    late = store.take(chosen).spans
    _ = store.spans
    early = store.take(chosen).spans
    for name in ("start", "stop", "offsets"):
        np.testing.assert_array_equal(getattr(early, name), getattr(late, name))
    np.testing.assert_array_equal(early.offsets[1:] > early.offsets[:-1], True)


def test_spans_end_with_their_row():
    store = Masks.from_arrays([np.ones((3, 4), bool)]).store
    assert store.spans.start.tolist() == [0, 4, 8]
    assert store.spans.stop.tolist() == [4, 8, 12]


def test_no_masks():
    store = MaskStore.from_windows((4, 5), [])
    painted = labels.paint(store, np.empty(0, np.float32), "smallest_on_top")
    assert not painted.image.any()
    assert painted.shared.tolist() == painted.visible.tolist() == []


@pytest.mark.parametrize(
    ("lengths", "most", "expected"),
    [
        ([], 5, []),
        ([2, 3, 4], 5, [(0, 2), (2, 3)]),
        ([9, 1, 1], 5, [(0, 1), (1, 3)]),
        ([0, 0, 5, 0, 6], 5, [(0, 4), (4, 5)]),
    ],
)
def test_portions(lengths, most, expected):
    assert list(ragged.portions(ragged.offsets(lengths), most)) == expected


@pytest.mark.parametrize("limit", [1, 10, 1 << 20])
def test_suppression_in_parts(limit, monkeypatch):
    rng = np.random.default_rng(5)
    corner = rng.integers(0, 30, (80, 2))
    boxes = np.hstack([corner, corner + rng.integers(0, 20, (80, 2))])
    scores = rng.random(80).astype(np.float32)
    expected = nms.suppress(boxes, scores, 0.3).tolist()
    monkeypatch.setattr(pairs, "_PAIRS_AT_ONCE", limit)
    assert nms.suppress(boxes, scores, 0.3).tolist() == expected
