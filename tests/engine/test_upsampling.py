"""Windows, areas and boxes are those of ATen's interpolation, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from napari_sam_amg.engine import at_once
from napari_sam_amg.engine.cells import Cells
from napari_sam_amg.engine.cells_cpu import CellsOnCpu
from napari_sam_amg.engine.unpacked import Part, UnpackedMasks
from napari_sam_amg.engine.upsampling import Upsampler

CPU = torch.device("cpu")
SIZES_OUT = [(512, 512), (520, 696), (603, 1272), (128, 129), (33, 500), (50, 60), (1, 1)]


def _blob(size: tuple[int, int], centre: tuple[float, float], radius: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    distance = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2).sqrt()
    return radius - distance + 0.3 * torch.randn(size, generator=generator)


def _blobs(size: tuple[int, int], count: int = 6) -> torch.Tensor:
    rng = np.random.default_rng(size[0])
    return torch.stack(
        [
            _blob(size, tuple(rng.uniform(-2, s + 2) for s in size), rng.uniform(0, s / 3), seed)
            for seed, s in enumerate([size[0]] * count)
        ]
    )


def _full(logits: torch.Tensor, size_out: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(logits[:, None], size_out, mode="bilinear", align_corners=False)[:, 0]


def _measured(upsampler: Upsampler, logits: torch.Tensor, cutoffs):
    """Return areas and boxes, of which both ways of measuring give the same."""
    areas, boxes = Cells(upsampler).measure(logits, cutoffs)
    if not upsampler.small:
        others = CellsOnCpu(upsampler).measure(logits, cutoffs)
        assert others[0].tolist() == areas.tolist()
        there = areas[:, 1] > 0
        assert others[1][there.numpy()].tolist() == boxes[there].tolist()
        assert (others[1][~there.numpy(), 2:] < others[1][~there.numpy(), :2]).all()
    return areas, boxes


def _check(logits: torch.Tensor, size_out, size_kept, cutoffs) -> None:
    """Compare areas, boxes and windows of masks with those of the whole interpolation."""
    size_in = (logits.shape[-2], logits.shape[-1])
    upsampler = Upsampler(size_in, size_out, size_kept=size_kept, device=CPU)
    areas, boxes = _measured(upsampler, logits, cutoffs)
    full = _full(logits, size_out)[:, : size_kept[0], : size_kept[1]]
    for level, cutoff in enumerate(cutoffs):
        assert areas[:, level].tolist() == (full > cutoff).sum((1, 2)).tolist()
    for values, low, box in zip(full, logits, boxes.tolist(), strict=True):
        mask = values > cutoffs[1]
        rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
        if not len(rows):
            assert box[2] < box[0]
            assert box[3] < box[1]
            continue
        assert box == [int(v) for v in (columns[0], rows[0], columns[-1], rows[-1])]
        left, top, right, bottom = window = (box[0], box[1], box[2] + 1, box[3] + 1)
        found = upsampler.window(low[upsampler.source(window)], window)
        assert torch.equal(found, values[top:bottom, left:right])


@pytest.mark.parametrize("size_in", [(128, 128), (64, 64), (256, 256), (16, 16), (24, 40)])
@pytest.mark.parametrize("size_out", SIZES_OUT)
@pytest.mark.parametrize("cutoffs", [(-1.0, 0.0, 1.0), (0.2, 0.7, 1.2), (0.5, 0.5, 0.5)])
def test_masks_are_those_of_the_whole_interpolation(size_in, size_out, cutoffs):
    _check(_blobs(size_in), size_out, size_out, cutoffs)


@pytest.mark.parametrize("size_kept", [(60, 100), (1, 1), (99, 3), (100, 100)])
def test_padding_is_cut_off(size_kept):
    logits = torch.cat([_blobs((32, 32)), torch.ones(1, 32, 32), -torch.ones(1, 32, 32)])
    logits[-1, 25:] = 1.0  # within the padding alone
    _check(logits, (100, 100), size_kept, (-1.0, 0.0, 1.0))


CONSTANTS = [0.0, 1.0, -1.0, 0.3, 0.7, 1e-6, -1e-6, 1 + 1e-7, 0.99999994, 20.0, -20.0]


@pytest.mark.parametrize("size_out", [(50, 70), (64, 64), (65, 64), (96, 97), (160, 128)])
@pytest.mark.parametrize("cutoffs", [(-1.0, 0.0, 1.0), (0.3, 0.3, 0.3), (0.0, 1e-7, 2e-7)])
def test_logits_at_and_next_to_a_cutoff(size_out, cutoffs):
    # Weights that do not quite add up to 1 decide where all four corners are at a cutoff.
    rng = np.random.default_rng(0)
    same = torch.tensor([*CONSTANTS, 1e-38, 3e-45, 1e6, -1e6], dtype=torch.float32)[
        :, None, None
    ].expand(-1, 16, 16)
    near = rng.choice([*CONSTANTS, *cutoffs], (20, 16, 16)).astype(np.float32)
    steps = rng.integers(-2, 3, (20, 16, 16)).astype(np.int32)
    near = np.where(near == 0, near, (near.view(np.int32) + steps).view(np.float32))
    _check(torch.cat([same, torch.from_numpy(near)]), size_out, size_out, cutoffs)


def test_noise_and_not_a_number():
    logits = 2 * torch.randn(5, 48, 48, generator=torch.Generator().manual_seed(0))
    logits[0, 3:9, 5:30] = torch.nan
    upsampler = Upsampler((48, 48), (100, 131), size_kept=(100, 131), device=CPU)
    areas, _ = _measured(upsampler, logits, (-1.0, 0.0, 1.0))
    full = _full(logits, (100, 131))
    for level, cutoff in enumerate((-1.0, 0.0, 1.0)):
        assert areas[:, level].tolist() == (full > cutoff).sum((1, 2)).tolist()
    _check(logits[1:], (100, 131), (100, 131), (-1.0, 0.0, 1.0))


def test_no_masks_at_all():
    upsampler = Upsampler((8, 8), (64, 64), size_kept=(64, 64), device=CPU)
    areas, boxes = _measured(upsampler, torch.empty(0, 8, 8), (-1.0, 0.0, 1.0))
    assert areas.shape == (0, 3)
    assert boxes.shape == (0, 4)


def test_whole_images_of_more_pixels_than_float32_counts():
    upsampler = Upsampler((8, 8), (4097, 4099), size_kept=(4097, 4099), device=CPU)
    areas, boxes = _measured(upsampler, torch.full((1, 8, 8), 5.0), (-1.0, 0.0, 1.0))
    assert areas.tolist() == [[4097 * 4099] * 3]
    assert boxes.tolist() == [[0, 0, 4098, 4096]]


def test_only_the_logits_of_a_window_are_needed():
    upsampler = Upsampler((128, 128), (4096, 4096), size_kept=(4096, 4096), device=CPU)
    rows, columns = upsampler.source((1000, 2000, 1032, 2064))
    assert rows.stop - rows.start <= 5
    assert columns.stop - columns.start <= 4


@pytest.fixture
def unpacked():
    logits = _blobs((32, 32), 5)
    upsampler = Upsampler((32, 32), (90, 70), size_kept=(90, 70), device=CPU)
    areas, boxes = _measured(upsampler, logits, (-1.0, 0.0, 1.0))
    there = (areas[:, 1] > 0).nonzero()[:, 0].tolist()
    assert len(there) > 2
    windows = boxes[there].numpy()
    windows[:, 2:] += 1
    parts = [
        Part(logits[i][upsampler.source(tuple(w))], tuple(w), upsampler, 0.0)
        for i, w in zip(there, windows.tolist(), strict=True)
    ]
    windows[:, 2:] -= windows[:, :2]
    masks = UnpackedMasks((90, 70), windows, areas[there, 1].numpy(), parts)
    return masks, (_full(logits, (90, 70)) > 0)[there].numpy()


def test_masks_are_packed_when_they_are_taken(unpacked):
    masks, expected = unpacked
    taken = masks.take([2, 0])
    assert "packed" not in masks.__dict__
    for place, index in enumerate([2, 0]):
        np.testing.assert_array_equal(taken.full(place), expected[index])
    assert taken.areas.tolist() == expected[[2, 0]].sum((1, 2)).tolist()
    assert len(masks.take([])) == 0


def test_unpacked_masks_do_all_that_others_do(unpacked):
    masks, expected = unpacked
    for index, mask in enumerate(expected):
        np.testing.assert_array_equal(masks.full(index), mask)
    assert np.diff(masks.spans.passed[masks.spans.offsets]).tolist() == masks.areas.tolist()
    np.testing.assert_array_equal(masks.take([1]).full(0), expected[1])
    twice = UnpackedMasks.together((90, 70), [masks, masks])
    np.testing.assert_array_equal(twice.full(len(masks)), expected[0])


def _parts(upsampler: Upsampler, logits: torch.Tensor, threshold: float) -> list[Part]:
    areas, boxes = _measured(upsampler, logits, (threshold - 1, threshold, threshold + 1))
    there = (areas[:, 1] > 0).nonzero()[:, 0].tolist()
    windows = [(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in boxes[there].tolist()]
    cut = at_once.cut_out(logits, np.array(there), [upsampler.source(w) for w in windows])
    for index, window, own in zip(there, windows, cut, strict=True):
        assert torch.equal(own, logits[index][upsampler.source(window)])
    return [Part(own, w, upsampler, threshold) for own, w in zip(cut, windows, strict=True)]


@pytest.mark.parametrize("pixels_at_once", [1 << 21, 5000, 1])
def test_many_masks_at_once(monkeypatch, pixels_at_once) -> None:
    """As an accelerator does it: of several crops, in any order, in portions of any size."""
    monkeypatch.setattr(at_once, "_PIXELS_AT_ONCE", pixels_at_once)
    parts = []
    for size_in, size_out, threshold in [
        ((48, 48), (131, 200), 0.0),
        ((48, 48), (131, 200), 0.5),
        ((32, 48), (300, 97), 0.0),
        ((64, 64), (70, 61), -0.25),
    ]:
        upsampler = Upsampler(size_in, size_out, size_kept=size_out, device=CPU)
        parts += _parts(upsampler, _blobs(size_in, 7), threshold)
    assert len(parts) > 20
    assert len({p.window[2] - p.window[0] for p in parts}) > 10
    parts = [parts[i] for i in np.random.default_rng(0).permutation(len(parts))]
    expected = np.concatenate([np.packbits(part.pixels().numpy()) for part in parts])
    np.testing.assert_array_equal(at_once.packed(parts), expected)


@pytest.mark.parametrize("pixels_at_once", [1 << 20, 300])
def test_the_part_of_a_square_that_is_kept(monkeypatch, pixels_at_once) -> None:
    monkeypatch.setattr(at_once, "_PIXELS_AT_ONCE", pixels_at_once)
    upsampler = Upsampler((40, 40), (160, 160), size_kept=(111, 160), device=CPU)
    parts = _parts(upsampler, _blobs((40, 40), 9), 0.0)
    expected = (_full(_blobs((40, 40), 9), (160, 160))[:, :111] > 0).numpy()
    expected = [mask for mask in expected if mask.any()]
    assert len(parts) == len(expected) > 3
    found = at_once.packed(parts)
    for part, mask in zip(parts, expected, strict=True):
        left, top, right, bottom = part.window
        bits = np.packbits(mask[top:bottom, left:right])
        np.testing.assert_array_equal(found[: len(bits)], bits)
        found = found[len(bits) :]
    assert not len(found)


def test_memory_does_not_grow_with_the_number_of_masks(monkeypatch) -> None:
    """No more is laid out at once than is said, and never more than one mask beyond."""
    monkeypatch.setattr(at_once, "_PIXELS_AT_ONCE", 2000)
    laid, original = [], at_once._laid_out

    def watched(sizes, *others):
        laid.append((int(sizes.sum()), len(sizes)))
        return original(sizes, *others)

    monkeypatch.setattr(at_once, "_laid_out", watched)
    upsampler = Upsampler((48, 48), (200, 200), size_kept=(200, 200), device=CPU)
    at_once.packed(_parts(upsampler, _blobs((48, 48), 40), 0.0))
    assert len(laid) > 5
    assert all(total <= 2000 or count == 1 for total, count in laid)
    assert any(
        part.window[2] - part.window[0] > 60
        for part in _parts(upsampler, _blobs((48, 48), 40), 0.0)
    )


def test_nothing_is_cut_out_of_no_mask() -> None:
    assert at_once.cut_out(torch.zeros(0, 4, 4), np.empty(0, dtype=np.int64), []) == []
