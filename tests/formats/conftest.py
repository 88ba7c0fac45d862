"""Random masks that overlap, nest, touch borders, and carry every kind of score."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg.masks import Masks

SCORES = np.array(
    [0.0, -0.0, 1.0, 0.1, 1 / 3, 1.0000001, -2.5, 1e-45, 3.4028235e38, np.nan, np.inf, -np.inf],
    dtype=np.float32,
)


def _random_pixels(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    pixels = np.zeros(shape, dtype=bool)
    kind = rng.integers(7)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    if kind == 0:
        pixels[:] = True
    elif kind == 1:
        pixels[:] = rng.random(shape) < rng.random()
    elif kind == 2:
        pixels[y : y + int(rng.integers(1, 9)), x : x + int(rng.integers(1, 9))] = True
    elif kind == 3:
        rows, columns = np.ogrid[:height, :width]
        distance = np.hypot(rows - y, columns - x)
        pixels[:] = (distance < rng.uniform(1, 9)) & (distance >= rng.uniform(0, 4))
    elif kind == 4:
        pixels[:, x] = True
    elif kind == 5:
        pixels[:] = np.add.outer(np.arange(height), np.arange(width)) % 2 == 0
    pixels[y, x] = True
    return pixels


def make_masks(rng: np.random.Generator, **keywords) -> Masks:
    """Return 0 to 7 random masks of an image of at most 24 x 40 pixels."""
    shape = keywords.pop("shape", (int(rng.integers(1, 25)), int(rng.integers(1, 41))))
    count = keywords.pop("count", int(rng.integers(8)))
    points = (rng.random((count, 2)) * 100).astype(np.float32)
    points[rng.random(count) < 0.2] = np.nan
    provenance = {
        "source": 'img-\u00e9\u65e5\U0001f600 "quoted"\n=1+1',
        "date": f"20{rng.integers(10, 99)}-01-02T03:04:05+00:00",
        "parameters": {"points_per_side": 32, "point_grids": [[[0.1, 1 / 3]]], "max_area": None},
        "nested": [True, False, None, 1e-300, -1, 2**60],
    }
    return Masks.from_arrays(
        [_random_pixels(rng, shape) for _ in range(count)],
        shape=shape,
        predicted_iou=rng.choice(SCORES, count),
        stability_score=np.where(
            rng.random(count) < 0.5, rng.choice(SCORES, count), rng.random(count)
        ),
        points=points,
        crop_boxes=rng.integers(0, 2**40, (count, 4)),
        overlap=str(rng.choice(["smallest_on_top", "largest_on_top", "discard_overlaps"])),
        output_mode=str(rng.choice(["binary_mask", "coco_rle"])),
        provenance=provenance | keywords.pop("provenance", {}),
        **keywords,
    )


def check_equal(found: Masks, wanted: Masks) -> None:
    """Assert that nothing at all was lost or changed."""
    assert found.shape == wanted.shape
    assert len(found) == len(wanted)
    for index in range(len(wanted)):
        np.testing.assert_array_equal(found[index], wanted[index])
    for name in ("predicted_iou", "stability_score", "points"):
        # By bits: -0.0 is not 0.0, and float32 must not pass through fewer digits.
        left, right = (np.nan_to_num(getattr(m, name), nan=7.5) for m in (found, wanted))
        assert left.dtype == np.float32
        assert left.tobytes() == right.tobytes(), name
    np.testing.assert_array_equal(found.crop_boxes, wanted.crop_boxes)
    assert found.features.equals(wanted.features)
    assert found.provenance == wanted.provenance
    assert (found.overlap, found.output_mode) == (wanted.overlap, wanted.output_mode)


@pytest.fixture
def rng(request) -> np.random.Generator:
    """A generator seeded by the name of the test."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture
def random_masks():
    """Give `make_masks`."""
    return make_masks


@pytest.fixture
def assert_equal():
    """Give `check_equal`."""
    return check_equal
