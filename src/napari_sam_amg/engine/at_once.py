"""Parts of many masks on an accelerator at once, instead of a dozen calls for each.

There a call takes longer than what it does to one mask: a few dozen serve a million pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from napari_sam_amg.engine.arriving import sent
from napari_sam_amg.masks.ragged import offsets, portions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.engine.unpacked import Part

_PIXELS_AT_ONCE = 1 << 20
"""Whose places and weights are held at once, some 170 bytes each."""


def pays(device: torch.device) -> bool:
    """Whether it is faster than one mask after the other."""
    return device.type != "cpu"


def cut_out(
    logits: torch.Tensor,
    masks: npt.NDArray[np.int64],
    sources: Sequence[tuple[slice, slice]],
) -> list[torch.Tensor]:
    """Copy a window of each of some masks.

    Parameters
    ----------
    logits : Tensor, float32, Kxhxw
    masks : ndarray, int64, n
        0 to K - 1.
    sources : sequence of two slices
        Rows and columns of each.

    Returns
    -------
    list of Tensor
        Views of arrays that hold a few megabytes, or one window.
    """
    sizes = [(y.stop - y.start) * (x.stop - x.start) for y, x in sources]
    return [
        piece
        for first, last in portions(offsets(sizes), _PIXELS_AT_ONCE)
        for piece in _cut_out(logits, masks[first:last], sources[first:last])
    ]


def _cut_out(
    logits: torch.Tensor, masks: npt.NDArray[np.int64], sources: Sequence[tuple[slice, slice]]
) -> list[torch.Tensor]:
    ends = [(y.start, y.stop, x.start, x.stop) for y, x in sources]
    top, bottom, left, right = np.array(ends, dtype=np.int64).T
    sizes = (bottom - top) * (right - left)
    height, width = logits.shape[1:]
    corner = (masks * height + top) * width + left
    within, (first, across) = _laid_out(sizes, [corner, right - left], logits.device)
    row = within.div(across, rounding_mode="floor")
    found = logits.reshape(-1)[first + row * width + (within - row * across)]
    shapes = zip((bottom - top).tolist(), (right - left).tolist(), strict=True)
    pieces = torch.split(found, sizes.tolist())
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def packed(parts: Sequence[Part]) -> npt.NDArray[np.uint8]:
    """Upsample masks within their windows and pack them, as `MaskStore` has them.

    Each pixel is that of `Part.pixels`; packed where they are, so that little is transferred.
    """
    alike: dict[tuple[int, float], list[int]] = {}
    for index, part in enumerate(parts):
        alike.setdefault((id(part.upsampler), part.threshold), []).append(index)
    found: list[npt.NDArray[np.uint8]] = [np.empty(0, dtype=np.uint8)] * len(parts)
    for members in alike.values():
        some = [parts[index] for index in members]
        sizes = np.array([_bytes(part) for part in some])
        portion = portions(offsets(8 * sizes), _PIXELS_AT_ONCE)
        bits = torch.cat([_bits(some[first:last]) for first, last in portion]).cpu().numpy()
        for index, piece in zip(members, np.split(bits, np.cumsum(sizes)[:-1]), strict=True):
            found[index] = piece
    return np.concatenate(found)


def _bytes(part: Part) -> int:
    left, top, right, bottom = part.window
    return -(-(right - left) * (bottom - top) // 8)


def _bits(parts: Sequence[Part]) -> torch.Tensor:
    """Pack the pixels of masks of one upsampler and threshold, uint8."""
    if len(parts) == 1:  # the only one that may be large; alone it needs a fifth of the memory
        pixels = parts[0].pixels().flatten()
        return _as_bytes(torch.cat([pixels, pixels.new_zeros(-len(pixels) % 8)]))
    upsampler, threshold = parts[0].upsampler, parts[0].threshold
    logits = torch.cat([part.logits.flatten() for part in parts])
    left, top, right, bottom = np.array([part.window for part in parts], dtype=np.int64).T
    corners = [upsampler.source(part.window) for part in parts]
    across = np.array([part.logits.shape[1] for part in parts], dtype=np.int64)
    # Of the logit that is row 0, column 0 of the whole mask, if it were there.
    origin = offsets([part.logits.numel() for part in parts])[:-1]
    origin = origin - np.array(
        [y.start * n + x.start for (y, x), n in zip(corners, across, strict=True)]
    )
    pixels = (right - left) * (bottom - top)
    columns = [pixels, right - left, left, top, origin, across]
    within, (count, width, left_of, top_of, first, stride) = _laid_out(
        -(-pixels // 8) * 8, columns, logits.device
    )
    there = within < count
    within = torch.minimum(within, count - 1)
    row = within.div(width, rounding_mode="floor")
    y, x = row + top_of, within - row * width + left_of
    low, high = upsampler.x.low[x], upsampler.x.high[x]
    weights = upsampler.x.weight_low[x], upsampler.x.weight_high[x]
    upper, lower = (
        upsampler.blend(logits[line + low], logits[line + high], *weights)
        for line in (first + side[y] * stride for side in (upsampler.y.low, upsampler.y.high))
    )
    values = upsampler.blend(upper, lower, upsampler.y.weight_low[y], upsampler.y.weight_high[y])
    return _as_bytes((values > threshold) & there)


def _as_bytes(bits: torch.Tensor) -> torch.Tensor:
    """Pack bits (bool, 8 P), as `numpy.packbits` does: uint8, P."""
    places = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)
    eight = bits.view(-1, 8).to(torch.uint8) * sent(places, bits.device)
    return eight.sum(1, dtype=torch.uint8)


def _laid_out(
    sizes: npt.NDArray[np.int64], columns: Sequence[npt.NDArray[np.int64]], device: torch.device
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Lay stretches of some sizes end to end.

    Returns
    -------
    within : Tensor, int64, P
        Each one's number within its stretch.
    columns : tuple of Tensor, int64, P
        The values of its stretch.
    """
    table = sent(torch.from_numpy(np.stack([offsets(sizes)[:-1], *columns])), device)
    total = int(sizes.sum())
    each = torch.repeat_interleave(
        torch.arange(len(sizes), device=device),
        sent(torch.from_numpy(sizes), device),
        output_size=total,
    )
    start, *values = table[:, each].unbind()
    return torch.arange(total, device=device) - start, tuple(values)
