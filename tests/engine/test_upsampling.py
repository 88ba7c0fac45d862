"""Windows of upsampled logits equal ATen's interpolation bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_sam_amg.engine.upsampling import Upsampler

CPU = torch.device("cpu")


def _blob(size: tuple[int, int], centre: tuple[float, float], radius: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    distance = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2).sqrt()
    return radius - distance + 0.3 * torch.randn(size, generator=generator)


@pytest.mark.parametrize("size_in", [(128, 128), (64, 64), (256, 256), (16, 16)])
@pytest.mark.parametrize(
    "size_out", [(512, 512), (520, 696), (603, 1272), (257, 300), (128, 129), (33, 500), (1, 1)]
)
@pytest.mark.parametrize("floor", [-1.0, 0.0, 0.7])
def test_window_is_the_part_of_the_full_image(size_in, size_out, floor):
    upsampler = Upsampler(size_in, size_out, size_kept=size_out, device=CPU)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        centre = (rng.uniform(0, size_in[0]), rng.uniform(0, size_in[1]))
        logits = _blob(size_in, centre, rng.uniform(1, size_in[0] / 4), seed)
        full = F.interpolate(logits[None, None], size_out, mode="bilinear", align_corners=False)
        full = full[0, 0]
        found = upsampler.window(logits, floor)
        covered = torch.zeros(size_out, dtype=torch.bool)
        if found is not None:
            x0, y0, window = found
            part = (slice(y0, y0 + window.shape[0]), slice(x0, x0 + window.shape[1]))
            covered[part] = True
            assert torch.equal(window, full[part])
        assert not (full[~covered] > floor).any()


def test_window_is_about_the_size_of_the_object():
    logits = _blob((128, 128), (40, 90), 5, 0)
    upsampler = Upsampler((128, 128), (4096, 4096), size_kept=(4096, 4096), device=CPU)
    found = upsampler.window(logits, 0.0)
    assert found is not None
    assert found[2].numel() < (16 * 32) ** 2


def test_no_window_where_nothing_exceeds_the_floor():
    upsampler = Upsampler((8, 8), (64, 64), size_kept=(64, 64), device=CPU)
    assert upsampler.window(torch.full((8, 8), -3.0), -3.0) is None


def test_padding_is_cut_off():
    logits = torch.ones(32, 32)
    upsampler = Upsampler((32, 32), (100, 100), size_kept=(60, 100), device=CPU)
    found = upsampler.window(logits, 0.0)
    assert found is not None
    assert found[2].shape == (60, 100)
    only_padding = torch.full((32, 32), -1.0)
    only_padding[25:] = 1.0
    assert upsampler.window(only_padding, 0.0) is None
