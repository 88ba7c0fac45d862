"""Tiles: a partition of the image, the same scale everywhere, and no seams in the result."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from _masks import without_near_duplicates
from _scale import scaled
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.encoder import model_input
from napari_sam_amg.engine.region import Region
from napari_sam_amg.engine.tiling import Tiling
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters


def _tiling(shape, image_size=512, **parameters):
    return Tiling.of(shape, AmgParameters(**parameters), image_size)


@pytest.mark.parametrize(
    ("shape", "given", "tiled"),
    [
        ((900, 900), {}, False),
        ((256, 256), {"tile_size": 256}, False),
        ((256, 257), {"tile_size": 256}, True),
        ((900, 900), {"tile_size": 256, "crop_n_layers": 1}, False),
        ((20, 20), {"scale": 1.0}, True),  # at the scale, though there is one tile only
    ],
)
def test_when_an_image_is_tiled(shape, given, tiled):
    assert (_tiling(shape, **given) is not None) == tiled


def test_tiles_cover_the_image_and_no_point_lies_in_two():
    rng = np.random.default_rng(3)
    for _ in range(scaled(400)):
        size = int(rng.integers(16, 200))
        halo = int(rng.integers(0, (size - 1) // 2 + 1))
        height, width = (int(n) for n in rng.integers(1, 900, 2))
        area = (5, 7, 5 + width, 7 + height)
        tiling = _tiling(
            (height, width),
            scale=512 / size,
            tile_size=size,
            tile_halo=halo,
            points_per_side=int(rng.integers(1, 12)),
        )
        seen = np.zeros((height, width), dtype=int)
        points = []
        for crop, here in tiling.prompts(area):
            x0, y0, x1, y1 = crop.box
            assert (x1 - x0, y1 - y0) == (min(size, width), min(size, height))
            assert crop.frame == (size, size)
            seen[y0 - 7 : y1 - 7, x0 - 5 : x1 - 5] += 1
            # A point is at least a halo away from a tile's edge that is no edge of the image.
            for axis, (low, high) in enumerate(((x0, x1), (y0, y1))):
                if low > area[axis]:
                    assert (here[:, axis] >= low + halo).all()
                if high < area[axis + 2]:
                    assert (here[:, axis] <= high - halo).all()
            points.append(here)
        assert seen.min() >= 1
        laid = np.concatenate(points)
        assert len(np.unique(laid, axis=0)) == len(laid)
        across, down = (
            int(np.ceil(side * tiling.parameters.points_per_side / size))
            for side in (width, height)
        )
        assert len(laid) == across * down
        assert (laid > [5, 7]).all()
        assert (laid < [5 + width, 7 + height]).all()


def test_own_points_lie_in_the_image_as_a_whole_and_none_is_lost():
    own = [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5), (0.3, 0.9), (1.0, 0.0)]
    tiling = _tiling((300, 500), tile_size=100, tile_halo=10, point_grids=[own])
    laid = np.concatenate([points for _, points in tiling.prompts((0, 0, 500, 300))])
    expected = np.array(own) * [500, 300]
    assert sorted(map(tuple, laid.tolist())) == sorted(map(tuple, expected.tolist()))


def test_own_points_of_a_region_are_shares_of_its_box():
    mask = np.zeros((1000, 1000), dtype=bool)
    mask[700:800, 600:900] = True
    region = Region.of(mask, least=256)
    own = [(0.25, 0.25), (0.5, 0.75)]
    p = AmgParameters(scale=2.0, tile_size=256, tile_halo=30, point_grids=[own])
    crops, points, _ = region.prompts(p, Tiling.of((356, 428), p, 512))
    laid = np.concatenate([c.box[:2] + here for c, here in zip(crops, points, strict=True)])
    assert sorted(map(tuple, laid.tolist())) == [(675.0, 725.0), (750.0, 775.0)]


def test_a_small_image_is_not_lost_in_a_large_frame():
    """Memory goes with the image, however large the objects are said to be."""
    for side, frame in ((100, 2048), (4000, 8000)):
        assert _tiling((side, side), scale=0.01, points_per_side=1).frame == frame
    assert _tiling((100, 100), scale=1.0).frame == 512


def test_what_fills_a_frame_mirrors_the_image():
    rgb = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    tensor, frame = model_input(rgb, 8, "stretch", (8, 8))
    whole = np.pad(rgb, ((0, 5), (0, 3), (0, 0)), mode="symmetric")
    assert frame == (8, 8)
    assert torch.equal(tensor, model_input(whole, 8, "stretch")[0])


def _proposals(boxes, scores, tiles, tile_of_box, seam):
    store = MaskStore.from_windows(
        (100, 200),
        [(x, y, np.ones((height, width), dtype=bool)) for x, y, width, height in boxes],
    )
    table = MaskTable.unknown(store, predicted_iou=scores, crop_boxes=np.array(tiles)[tile_of_box])
    return Proposals(
        store,
        table,
        area_high=store.areas,
        area_low=store.areas,
        crop_index=tile_of_box,
        crop_boxes_all=tiles,
        parameters=AmgParameters(pred_iou_thresh=0.1),
        seam=seam,
    )


TILES = [(0, 0, 110, 100), (90, 0, 110, 100)]


@pytest.mark.parametrize("prepared", [False, True])
def test_an_object_at_a_seam_comes_out_whole_and_once(prepared):
    boxes = [
        (80, 40, 30, 20),  # cut off by the right edge of the first tile
        (95, 40, 30, 20),  # the same object, whole, in the second
        (96, 40, 30, 20),  # again, with a lower score
        (0, 0, 20, 20),  # at an edge of the image
        (60, 80, 20, 20),  # at another
    ]
    proposals = _proposals(boxes, [0.9, 0.7, 0.6, 0.8, 0.5], TILES, [0, 1, 1, 0, 0], seam=2)
    if prepared:
        proposals.prepare()
    _, selection = proposals.selected()
    assert sorted(selection.rows.tolist()) == [1, 3, 4]
    assert selection.removed["crop edge"] == 1
    assert "crop_nms_thresh" not in selection.removed


def test_of_duplicates_in_two_tiles_the_better_one_stays():
    boxes = [(95, 40, 10, 10), (95, 40, 10, 10)]
    for scores, kept in (([0.9, 0.7], 0), ([0.7, 0.9], 1)):
        found = _proposals(boxes, scores, TILES, [0, 1], seam=2).selected()[1]
        assert found.rows.tolist() == [kept]


SIZES = {"tile_size": 128, "tile_halo": 40, "points_per_side": 8}
KEEP_MOST = {"pred_iou_thresh": 0.05, "stability_score_thresh": 0.05}


@pytest.fixture(scope="module")
def image(sample_images):
    return sample_images[0][40:240, 250:550]


@pytest.fixture(scope="module")
def generator(small):
    return AutomaticMaskGenerator(small, **SIZES, **KEEP_MOST)


def test_a_tile_sees_what_a_run_on_it_alone_sees(generator, image, small):
    """Candidates of a tile are those of its pixels as an image, at the same points.

    Without those that its edges cut off, and without near-duplicates.
    """
    proposals = generator.propose(image)
    tiling = Tiling.of(image.shape[:2], generator.parameters, small.image_size)
    tiles = list(tiling.prompts((0, 0, image.shape[1], image.shape[0])))
    assert len(tiles) == len(proposals.crop_boxes_all) == proposals.provenance["tiles"]["count"]
    assert len(tiles) > 5
    removed = 0
    for number, (crop, points) in enumerate(tiles):
        x0, y0, x1, y1 = crop.box
        shares = (points - [x0, y0]) / [x1 - x0, y1 - y0]
        alone = AutomaticMaskGenerator(
            small, point_grids=[shares.tolist()], contrast=None, **KEEP_MOST
        ).propose(image[y0:y1, x0:x1])
        ends, near = [x1 - x0, y1 - y0], proposals.seam
        height, width = image.shape[:2]
        boxes = alone.store.boxes
        cut = (boxes[:, :2] <= near) & (boxes[:, :2] + [x0, y0] > near)
        cut |= (ends - boxes[:, 2:] <= near) & ([width, height] - boxes[:, 2:] - [x0, y0] > near)
        whole = np.flatnonzero(~cut.any(axis=1))
        scores = alone.predicted_iou, alone.stability_score
        stay = whole[
            without_near_duplicates(
                *(column[whole].tolist() for column in (boxes, alone.areas, *scores))
            )
        ]
        removed += len(alone) - len(stay)
        rows = np.flatnonzero(proposals.crop_index == number)
        assert len(rows) == len(stay)
        np.testing.assert_array_equal(
            proposals.store.windows[rows] - [x0, y0, 0, 0], alone.store.windows[stay]
        )
        np.testing.assert_allclose(
            proposals.predicted_iou[rows], alone.predicted_iou[stay], atol=1e-5
        )
    assert removed > 30


def test_select_equals_a_fresh_run(generator, image):
    proposals = generator.propose(image)
    for chosen in ({}, {"pred_iou_thresh": 0.4}, {"box_nms_thresh": 0.3, "min_area": 60}):
        fresh = generator.configured(**{**dict(generator.parameters), **chosen}).segment(image)
        found = proposals.select(**chosen)
        assert len(found) == len(fresh)
        np.testing.assert_array_equal(found.store.windows, fresh.store.windows)
        np.testing.assert_array_equal(found.predicted_iou, fresh.predicted_iou)


def test_a_region_is_tiled_like_an_image(generator, image):
    region = np.zeros(image.shape[:2], dtype=bool)
    region[20:190, 30:280] = True
    region[100:120] = False
    found = generator.propose(image, region=region)
    assert found.provenance["tiles"]["count"] > 1
    x, y = np.floor(found.points).astype(int).T
    assert region[y, x].all()
    assert found.shape == image.shape[:2]


def test_a_region_that_no_point_hits_gets_one(generator, image):
    region = np.zeros(image.shape[:2], dtype=bool)
    region[101, 203] = True
    found = generator.propose(image, region=region)
    assert len(np.unique(found.points, axis=0)) <= 1
    assert found.provenance["tiles"]["count"] == 1


def test_memory_of_a_run_goes_with_the_tile(small, monkeypatch):
    """No array of the model's is as large as the image."""
    seen = []
    encode = AutomaticMaskGenerator._encode
    monkeypatch.setattr(
        AutomaticMaskGenerator,
        "_encode",
        lambda self, crop, *a: (seen.append(crop[0].shape[:2]), encode(self, crop, *a))[1],
    )
    image = np.zeros((70, 1500), dtype=np.uint8)
    image[20:40, 700:720] = 200
    generator = AutomaticMaskGenerator(small, **{**SIZES, "points_per_side": 1}, **KEEP_MOST)
    generator.propose(image)
    assert set(seen) == {(70, 128)}
