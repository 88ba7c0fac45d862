"""Decisions row by row against one decision at the end."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from _scale import scaled
from napari_sam_amg.large.candidates import Candidates
from napari_sam_amg.large.selection import END, StreamedSelection
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters

THRESHOLDS = [
    {},
    {"box_nms_thresh": 0.2},
    {"box_nms_thresh": 0.0},
    {"box_nms_thresh": 1.0},
    {"min_area": 40, "max_area": 600},
    {"exclude_border": True, "box_nms_thresh": 0.4},
    {"min_mask_region_area": 20},
    {"min_mask_region_area": 150, "box_nms_thresh": 0.3, "crop_nms_thresh": 0.1},
    {"min_mask_region_area": 1000, "exclude_border": True, "min_area": 10},
]


def streamed(proposals, parameters):
    """Feed candidates row of tiles by row of tiles; check what is promised on the way."""
    selection = StreamedSelection(proposals.shape, parameters)
    tops = proposals.crop_boxes_all[:, 1]
    # Candidates of a tile are those that pass the thresholds of their scores.
    good = proposals.predicted_iou > parameters.pred_iou_thresh
    good &= proposals.stability_score >= np.float32(parameters.stability_score_thresh)
    rows = np.unique(tops).tolist()
    parts, held = [], []
    before = 0
    for top, following in itertools.pairwise([*rows, END]):
        here = np.flatnonzero(good & (tops[proposals.crop_index] == top))
        found = Candidates(proposals.store.take(here), proposals.table.take(here), here)
        masks, settled = selection.add(found, following)
        assert settled >= before
        assert (masks.tops >= before).all()
        assert (masks.tops < settled).all()
        before = settled
        parts.append(masks)
        held.append(len(selection._found._waiting))
    return Candidates.concatenate(parts), held


def assert_same(proposals, parameters, streamed_masks):
    thresholds = {
        name: getattr(parameters, name)
        for name in (
            "box_nms_thresh",
            "crop_nms_thresh",
            "min_mask_region_area",
            "min_area",
            "max_area",
            "exclude_border",
        )
    }
    _, expected = proposals.selected(**thresholds)
    assert sorted(expected.rows.tolist()) == sorted(streamed_masks.places.tolist())
    order = np.argsort(expected.rows), np.argsort(streamed_masks.places)
    for one, other in zip(*order, strict=True):
        assert expected.store.windows[one].tolist() == streamed_masks.store.windows[other].tolist()
        np.testing.assert_array_equal(
            expected.store.window(one), streamed_masks.store.window(other)
        )
    left, top = streamed_masks.store.windows[:, :2].T
    keys = list(zip(top.tolist(), left.tolist(), streamed_masks.places.tolist(), strict=True))
    assert keys == sorted(keys)


def random_proposals(rng, *, count, size, shape, parameters, ties):
    """Blobs with holes and islands, each within the tile that it is said to be found in."""
    height, width = shape
    step = max(1, size // 2)
    tiles = [
        (x, y, min(size, width - x), min(size, height - y))
        for y in range(0, height, step)
        for x in range(0, width, step)
    ]
    tile_of = np.sort(rng.integers(len(tiles), size=count))
    items = []
    for tile in tile_of:
        x, y, w, h = tiles[tile]
        bw, bh = rng.integers(1, w + 1), rng.integers(1, h + 1)
        left, top = x + rng.integers(w - bw + 1), y + rng.integers(h - bh + 1)
        pixels = rng.random((bh, bw)) < rng.choice([0.3, 0.9, 1.0])
        pixels[rng.integers(bh), rng.integers(bw)] = True
        items.append((int(left), int(top), pixels))
    store = MaskStore.from_windows(shape, items)
    scores = rng.random(count).astype(np.float32)
    scores = np.round(scores, 1) + np.float32(0.01) if ties else scores
    table = MaskTable.unknown(
        store, predicted_iou=scores, crop_boxes=np.array(tiles)[tile_of].reshape(-1, 4)
    )
    return Proposals(
        store,
        table,
        area_high=store.areas,
        area_low=store.areas,
        crop_index=tile_of,
        crop_boxes_all=tiles,
        parameters=parameters,
        seam=-1,  # nothing is cut off: that is done in the tiles
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
def test_random_masks_are_selected_as_by_one_run(thresholds, ties):
    rng = np.random.default_rng([len(str(thresholds)), ties])
    parameters = AmgParameters(pred_iou_thresh=0.0, stability_score_thresh=0.0, **thresholds)
    for _ in range(scaled(60)):
        proposals = random_proposals(
            rng,
            count=int(rng.integers(0, 300)),
            size=int(rng.integers(4, 40)),
            shape=tuple(rng.integers(1, 150, 2).tolist()),
            parameters=parameters,
            ties=ties,
        )
        masks, _ = streamed(proposals, parameters)
        assert_same(proposals, parameters, masks)


@pytest.mark.parametrize("size", [64, 100])
def test_masks_of_real_nuclei_are_selected_as_by_one_run(pretend, mosaic, size):
    generator = pretend(tile_size=size, tile_halo=size // 4, points_per_side=6)
    proposals = generator.propose(mosaic)
    assert len(proposals) > 120
    kept = set()
    for thresholds in THRESHOLDS:
        parameters = AmgParameters(**{**dict(generator.parameters), **thresholds})
        masks, held = streamed(proposals, parameters)
        assert_same(proposals, parameters, masks)
        kept.add(len(masks))
        if parameters.box_nms_thresh > 0:
            # What waits is a matter of the last rows of tiles, not of the image.
            assert max(held) < len(proposals) / 2
        assert held[-1] == 0
    assert len(kept) > 4


def test_a_chain_of_rivals_waits_until_its_best_is_decided():
    """The best one, at the bottom, is the last to come; all above wait for it."""
    shape = (100, 10)
    parameters = AmgParameters(box_nms_thresh=0.1)
    selection = StreamedSelection(shape, parameters)

    def one(top, score):
        store = MaskStore.from_windows(shape, [(0, top, np.ones((20, 10), dtype=bool))])
        return Candidates(store, MaskTable.unknown(store, predicted_iou=[score]), np.array([top]))

    for number, score in enumerate([0.1, 0.2, 0.3, 0.4]):
        masks, settled = selection.add(one(10 * number, score), 10 * number + 10)
        assert len(masks) == 0
        assert settled == 0
    masks, _ = selection.add(one(40, 0.5), END)
    assert masks.places.tolist() == [0, 20, 40]
