"""Pairs of boxes that overlap, found without comparing all with all."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import offsets, portions, ranges

_PAIRS_AT_ONCE = 1 << 20

_MOST_BANDS = 4
"""Bands of rows that boxes may be in on average."""


class Bands(NamedTuple):
    """Boxes laid out in bands of rows.

    ``first`` is the first band that each of N boxes meets. The others have a row for each
    band that a box meets, band by band and from left to right: ``box``, ``band``, and
    ``meeting``, with how many of the next ones, all of the same band, it shares columns.
    """

    first: npt.NDArray[np.int64]
    box: npt.NDArray[np.int64]
    band: npt.NDArray[np.int64]
    meeting: npt.NDArray[np.int64]


def banded(corners: npt.NDArray[np.float32]) -> Bands:
    """Lay boxes (float32, Nx4) out so that few need to be compared in large images."""
    if not len(corners):
        none = np.empty(0, dtype=np.int64)
        return Bands(none, none, none, none)
    left, top, right, bottom = (corners - corners.min(axis=0)[[0, 1, 0, 1]]).astype(np.float64).T
    height = max(1.0, float(np.median(bottom - top)))
    while True:
        first = (top // height).astype(np.int64)
        bands = (bottom // height).astype(np.int64) - first + 1
        if bands.sum() <= _MOST_BANDS * len(corners):
            break
        height *= 2  # some boxes are much higher than most
    band, _ = ranges(first, bands)
    boxes = np.repeat(np.arange(len(corners)), bands)
    width = right.max() + 1
    order = np.argsort(band * width + left[boxes], kind="stable")
    boxes, band = boxes[order], band[order]
    lefts = band * width + left[boxes]
    ends = np.searchsorted(lefts, band * width + right[boxes], side="left")
    counts = np.maximum(ends - np.arange(len(boxes)) - 1, 0)  # of a box without width
    return Bands(first, boxes, band, counts)


def overlapping(
    corners: npt.NDArray[np.float32], threshold: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return pairs of boxes that overlap by more than `threshold`, and by how much.

    Only boxes of one band whose columns meet are compared; others share no pixel. `corners`
    are boxes (float32, Nx4) as for `suppress`.
    """
    first, boxes, bands, counts = banded(corners)
    places, bounds = np.arange(len(counts)), offsets(counts)
    ones, others = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    overlaps = [np.empty(0)]
    for begin, end in portions(bounds, _PAIRS_AT_ONCE):
        here = counts[begin:end]
        one, other = np.repeat(places[begin:end], here), ranges(places[begin:end] + 1, here)[0]
        band, one, other = bands[one], boxes[one], boxes[other]
        # Rows first: they rule out most pairs.
        meet = corners[one, 1] < corners[other, 3]
        meet &= corners[other, 1] < corners[one, 3]
        # Those that meet in several bands count where the lower of their tops is.
        meet &= np.maximum(first[one], first[other]) == band
        one, other = one[meet], other[meet]
        overlap = _overlap(corners[one], corners[other])
        much = overlap > threshold
        ones.append(one[much])
        others.append(other[much])
        overlaps.append(overlap[much])
    return np.concatenate(ones), np.concatenate(others), np.concatenate(overlaps)


def _overlap(ones: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """Intersection over union, in pairs, in float32, as float64; NaN where both areas are 0."""
    inner = np.minimum(ones[:, 2:], others[:, 2:]) - np.maximum(ones[:, :2], others[:, :2])
    np.maximum(inner, np.float32(0), out=inner)
    shared = inner[:, 0] * inner[:, 1]
    one, other = ones[:, 2:] - ones[:, :2], others[:, 2:] - others[:, :2]
    union = one[:, 0] * one[:, 1] + other[:, 0] * other[:, 1] - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        # torchvision compares the float32 quotient with a double.
        overlap: npt.NDArray[Any] = (shared / union).astype(np.float64)
    return overlap
