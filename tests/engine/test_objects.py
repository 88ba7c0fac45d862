"""Prompts where the model's object head sees objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.encoder import Features, encode, model_input
from napari_sam_amg.engine.objects import centre_cells, object_points
from napari_sam_amg.errors import ParameterError

FAINT, SURE = -6.0, 6.0


def _logits(shape, peaks, discs):
    """Bumps of the centre logits at peaks (row, column, height), discs of the foreground."""
    rows, columns = np.indices(shape)
    centre, foreground = np.full(shape, FAINT), np.full(shape, FAINT)
    for row, column, height in peaks:
        away = (rows - row) ** 2 + (columns - column) ** 2
        centre = np.maximum(centre, height - 0.5 * away)
    for row, column, radius in discs:
        foreground[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = SURE
    return foreground.astype(np.float32), centre.astype(np.float32)


@pytest.mark.parametrize(
    ("peaks", "discs", "threshold", "expected"),
    {
        "none": ([], [], 0.25, []),
        "one": ([(10, 12, 4)], [(10, 12, 4)], 0.25, [(10, 12)]),
        "in a corner": ([(0, 0, 4)], [(0, 0, 3)], 0.25, [(0, 0)]),
        "touching": ([(10, 8, 4), (10, 14, 2)], [(10, 11, 7)], 0.25, [(10, 8), (10, 14)]),
        "too faint, but covered": ([(10, 12, -3)], [(10, 12, 4)], 0.25, [(10, 12)]),
        "faint beside a sure one": (
            [(10, 8, 4), (10, 14, -3)], [(10, 11, 7)], 0.25, [(10, 8)],
        ),
        "the same with a lower threshold": (
            [(10, 8, 4), (10, 14, -3)], [(10, 11, 7)], 0.02, [(10, 8), (10, 14)],
        ),
        "a peak on the background": ([(10, 12, 4)], [], 0.25, []),
        "without a peak, at the innermost cell": (
            [(3, 3, 4)], [(3, 3, 2), (20, 20, 5)], 0.25, [(3, 3), (20, 20)],
        ),
        "cut off by the edge": ([], [(16, 31, 6)], 0.25, None),
    }.values(),
)  # fmt: skip
def test_one_cell_for_each_object(peaks, discs, threshold, expected):
    foreground, centre = _logits((32, 32), peaks, discs)
    marked = np.argwhere(centre_cells(foreground, centre, threshold))
    if expected is None:  # the cell that is farthest from the background and from the edge
        padded = np.pad(foreground > 0, 1)
        depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
        assert len(marked) == 1
        assert depth[tuple(marked[0])] == depth.max()
    else:
        assert [tuple(cell) for cell in marked.tolist()] == expected


def test_equally_likely_cells_are_one_peak():
    foreground, centre = _logits((16, 16), [], [(8, 8, 5)])
    centre[7:9, 7:10] = 3.0
    assert np.argwhere(centre_cells(foreground, centre, 0.25)).tolist() == [[7, 7]]


@pytest.mark.parametrize("seed", range(6))
def test_peaks_are_those_of_a_maximum_filter(seed):
    rng = np.random.default_rng(seed)
    centre = ndimage.gaussian_filter(rng.normal(size=(48, 40)), 2).astype(np.float32) * 40
    foreground = np.full(centre.shape, SURE, np.float32)
    probability = 1 / (1 + np.exp(-centre.astype(np.float64)))
    expected = (ndimage.maximum_filter(centre, size=3) == centre) & (probability > 0.4)
    assert expected.sum() > 5
    assert np.array_equal(centre_cells(foreground, centre, 0.4), expected)


def test_points_are_in_pixels_of_the_crop_without_what_lies_beyond():
    foreground, centre = _logits((32, 32), [(4, 8, 4), (20, 30, 4)], [(4, 8, 3), (20, 30, 3)])
    objects = torch.from_numpy(np.stack([foreground, centre]))
    features = Features(torch.zeros(1), [], (64, 320), objects)
    points = object_points(features, (64, 300), 0.25)  # the frame is 20 pixels wider
    assert points.dtype == np.float32
    assert points.tolist() == [[85.0, 9.0]]  # of 32 cells 10 pixels wide and 2 high


@pytest.fixture(scope="module")
def scene(sample_images):
    return np.stack([sample_images[0][:300, :420]] * 3, axis=-1)


def test_the_head_reads_the_finest_level_of_the_neck(nano, scene):
    with torch.inference_mode():
        features = encode(nano, scene, "stretch")
        tensor, _ = model_input(scene, nano.image_size, "stretch")
        finest = nano.image_encoder(tensor)["backbone_fpn"][0]
        assert torch.equal(features.objects, nano.object_head(finest)[0])
        without = nano.forward_image(tensor)["backbone_fpn"]
    assert all(torch.equal(a, b) for a, b in zip(features.high_res, without[:2], strict=True))
    assert not nano.image_encoder._forward_hooks


def test_tiles_find_each_object_once(nano, scene):
    generator = AutomaticMaskGenerator(
        nano, prompts="objects", tile_size=160, tile_halo=30, pred_iou_thresh=0.3,
        stability_score_thresh=0.0, multimask_output=False,
    )  # fmt: skip
    proposals = generator.propose(scene)
    points = proposals.points
    boxes = {tuple(box) for box in proposals.table.crop_boxes.tolist()}
    assert len(boxes) > 2
    assert len(np.unique(points, axis=0)) == len(points)
    tiling = generator.tiling(scene.shape[:2])
    cores = [crop.core for crop, _ in tiling.prompts((0, 0, scene.shape[1], scene.shape[0]))]
    covered = np.zeros(scene.shape[:2], int)
    for x0, y0, x1, y1 in cores:
        covered[y0:y1, x0:x1] += 1
    assert (covered == 1).all()
    # Both tiles ask for what lies within a cell of their seam; one answer is left.
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert away[np.triu_indices(len(points), 1)].min() > 2
    assert generator.segment(scene).provenance["prompts"] >= len(points)


@pytest.mark.parametrize("across", [False, True])
def test_an_object_on_a_seam_is_asked_for_wherever_it_lies(nano, across):
    """A place is known to a cell of 2.7 pixels: it must not be the other tile's for both."""
    generator = AutomaticMaskGenerator(nano, prompts="objects", tile_size=340, tile_halo=40)
    shape = (340, 560)
    seam = 280
    tiling = generator.tiling(shape)
    (cores,) = [[c.core for c, _ in tiling.prompts((0, 0, shape[1], shape[0]))]]
    assert [core[0] for core in cores] == [0, seam]
    y, x = np.mgrid[: shape[0], : shape[1]]
    rng, image, centres = np.random.default_rng(0), np.full(shape, 20.0), []
    for row, shift in enumerate(np.linspace(-4, 4, 9)):
        centres.append((18 + 38 * row + rng.uniform(-2, 2), seam + shift))
        inside = np.hypot(y - centres[-1][0], x - centres[-1][1])
        image += 150 / (1 + np.exp((inside - 9) * 1.5))
    image = image.astype(np.uint8)
    if across:
        image, centres = np.ascontiguousarray(image.T), [(b, a) for a, b in centres]
    labels = generator.segment(image).to_labels()
    found = [labels[round(a), round(b)] for a, b in centres]
    assert min(found) > 0
    assert len(set(found)) == len(centres)


def test_the_large_way_finds_the_same(nano, scene):
    generator = AutomaticMaskGenerator(
        nano, prompts="objects", tile_size=160, multimask_output=False
    )
    tiles = [tile for row in generator.tile_rows(scene.shape[:2]) for tile in row]
    assert len(tiles) > 2
    rgb = generator.preview(scene)
    found = [generator.find_in_tile(rgb[tile.slices], tile) for tile in tiles]
    together = np.concatenate([proposals.points for proposals in found])
    kept = generator.segment(scene)
    assert len(kept) > 0
    assert {tuple(p) for p in kept.points.tolist()} <= {tuple(p) for p in together.tolist()}


def test_progress_ends_where_it_said_it_would(nano, scene):
    generator = AutomaticMaskGenerator(
        nano, prompts="objects", tile_size=160, points_per_batch=8, multimask_output=False
    )
    steps = list(generator.steps(scene))
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].done == steps[-1].total
    assert steps[-1].result is not None
    assert all(step.done < step.total for step in steps[:-1])
    assert {step.stage for step in steps} == {"encode", "decode", "select"}


@pytest.mark.parametrize("tile_size", [None, 160])
def test_a_region_is_asked_for_what_lies_in_it(nano, scene, tile_size):
    region = np.zeros(scene.shape[:2], bool)
    region[:, 100:] = True
    generator = AutomaticMaskGenerator(
        nano, prompts="objects", tile_size=tile_size, multimask_output=False
    )
    points = np.floor(generator.propose(scene, region=region).points).astype(int)
    assert len(points) > 0
    assert region[points[:, 1], points[:, 0]].all()


def test_an_image_of_nothing_has_no_objects(nano):
    generator = AutomaticMaskGenerator(nano, prompts="objects")
    masks = generator.segment(np.zeros((64, 64), np.uint8))
    assert len(masks) == 0
    assert masks.to_labels().max() == 0


def test_a_model_without_a_head_says_so(small):
    with pytest.raises(ParameterError, match=r"prompts='objects'.*SAM2Base.*prompts='grid'"):
        AutomaticMaskGenerator(small, prompts="objects")
    with pytest.raises(ParameterError, match=r"prompts='objects'.*sam2\.1_hiera_tiny"):
        AutomaticMaskGenerator("sam2.1_hiera_tiny", prompts="objects")
    with pytest.raises(ParameterError, match="both say where to ask"):
        AutomaticMaskGenerator(small, prompts="objects", point_grids=[[(0.5, 0.5)]])
    generator = AutomaticMaskGenerator(small)
    with pytest.raises(ParameterError, match="prompts='objects'"):
        generator.configured(prompts="objects")


def test_points_of_ones_own_are_a_grid_for_the_recommended_model():
    generator = AutomaticMaskGenerator("nuclei-nano", device="cpu")
    assert generator.parameters.prompts == "objects"
    assert generator.configured(points_per_side=8).parameters.prompts == "grid"
    assert generator.configured(prompts="grid").parameters.points_per_side is not None
    assert generator.configured(object_diameter=30.0).parameters.prompts == "objects"


def test_the_cache_counts_the_head(nano, scene):
    features = encode(nano, scene, "stretch")
    assert features.nbytes - replace(features, objects=None).nbytes == features.objects.nbytes
