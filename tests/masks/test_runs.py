"""Run lengths from windows, against sam2 and pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from sam2.utils.amg import mask_to_rle_pytorch

from _masks import random_mask
from _scale import scaled
from napari_sam_amg.masks import MaskStore, run_lengths


def ours(mask):
    store = MaskStore.from_windows(mask.shape, [(0, 0, mask)])
    left, top = store.windows[0, :2].tolist()
    return run_lengths(store.window(0), left=left, top=top, shape=mask.shape)


@pytest.mark.parametrize("block", range(scaled(40)))
def test_equals_sam2_and_pycocotools(block):
    rng = np.random.default_rng([4, block])
    for _ in range(250):
        shape = tuple(rng.integers(1, rng.choice([3, 12, 60]), 2).tolist())
        mask = random_mask(rng, shape)
        counts = ours(mask)
        assert counts == mask_to_rle_pytorch(torch.from_numpy(mask)[None])[0]["counts"]
        packed = coco_mask.frPyObjects({"size": list(shape), "counts": counts}, *shape)
        assert packed == coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))


@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (["1"], [0, 1]),
        (["10", "10"], [0, 2, 2]),
        (["01", "01"], [2, 2]),
        (["11", "11"], [0, 4]),
        (["010", "100"], [1, 2, 3]),
        (["000", "011", "000"], [4, 1, 2, 1, 1]),
        (["100", "011", "000"], [0, 1, 3, 1, 2, 1, 1]),
    ],
)
def test_by_hand(rows, counts):
    mask = np.array([[c == "1" for c in row] for row in rows])
    assert ours(mask) == counts
    assert all(type(count) is int for count in ours(mask))
