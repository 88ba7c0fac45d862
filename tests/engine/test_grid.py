"""Crops and points equal those of sam2.utils.amg."""

from __future__ import annotations

import numpy as np
import pytest
from sam2.utils.amg import build_all_layer_point_grids, generate_crop_boxes

from _scale import scaled
from napari_sam_amg import AmgParameters
from napari_sam_amg.engine.grid import crops, layer_grids


@pytest.mark.parametrize(
    ("side", "layers", "factor"), [(32, 0, 1), (1, 3, 1), (7, 2, 2), (16, 4, 2), (5, 1, 3)]
)
def test_points_equal_sam2(side, layers, factor):
    parameters = AmgParameters(
        points_per_side=side, crop_n_layers=layers, crop_n_points_downscale_factor=factor
    )
    expected = build_all_layer_point_grids(side, layers, factor)
    found = layer_grids(parameters)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def _sizes() -> list[tuple[int, int]]:
    rng = np.random.default_rng(4)
    squares = [(n, n) for n in sorted(rng.permutation(np.arange(1, 301))[: scaled(300)])]
    return squares + [tuple(rng.integers(1, 2000, 2)) for _ in range(scaled(200))]


@pytest.mark.parametrize("layers", range(5))
@pytest.mark.parametrize("ratio", [0.0, 512 / 1500, 0.9])
def test_crops_equal_sam2_but_for_empty_ones(layers, ratio):
    parameters = AmgParameters(crop_n_layers=layers, crop_overlap_ratio=ratio)
    for height, width in _sizes():
        boxes, layer_of = generate_crop_boxes((int(height), int(width)), layers, ratio)
        expected = [
            (tuple(b), n)
            for b, n in zip(boxes, layer_of, strict=True)
            if b[2] > b[0] and b[3] > b[1]
        ]
        found, skipped = crops((int(height), int(width)), parameters)
        assert [(c.box, c.layer) for c in found] == expected
        assert skipped == len(boxes) - len(expected)
        assert all(min(c.size) > 0 for c in found)
