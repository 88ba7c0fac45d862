"""Percentiles over chunks, compared with a sorted copy of everything."""

from __future__ import annotations

import math

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam_amg.errors import Cancelled, ImageError
from napari_sam_amg.stack_contrast import stack_contrast

DTYPES = ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"]
SHAPES = {(7, 33, 20): 2, (3, 4, 11, 9): 2, (5, 12, 10, 3): 3, (40, 50): 2}
PERCENTILES = [(0.1, 99.9), (0, 100), (50, 60), (1, 99.99)]


def _oracle(stack: np.ndarray, low: float, high: float) -> tuple[float, float]:
    values = stack.astype(np.float64).ravel()
    values = np.sort(values[np.isfinite(values)])
    last = len(values) - 1
    black = values[math.floor(low / 100 * last)]
    white = values[math.ceil(high / 100 * last)]
    return (black, white) if black < white else (values[0], values[-1])


def _stack(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(shape) < 0.3
    if kind == "f":
        stack = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3)).astype(dtype)
        stack.ravel()[:3] = np.nan, np.inf, -np.inf
        stack.ravel()[3:5] = 0.0, -0.0
        return stack
    limits = np.iinfo(dtype)
    top = min(limits.max, 1 << 23)  # larger ones only to the precision of float32
    return rng.integers(max(limits.min, -top), top, size=shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("percentiles", PERCENTILES)
def test_equals_a_sort_of_everything(dtype, shape, percentiles):
    stack = _stack(dtype, shape, seed=sum(shape))
    chunks = tuple(max(1, n // 2) for n in shape)
    lazy = [da.from_array(stack, chunks=chunks)]
    if dtype != "f2":
        lazy.append(zarr.array(stack, chunks=chunks))
    expected = np.asarray(_oracle(stack, *percentiles), dtype=np.float32)
    for array in (stack, *lazy):
        found = stack_contrast(array, percentiles, plane_axes=SHAPES[shape])
        np.testing.assert_array_equal(np.asarray(found, dtype=np.float32), expected)


@pytest.mark.parametrize("value", [0.0, -3.5, 7])
def test_one_value_gives_equal_limits(value):
    assert stack_contrast(np.full((4, 5, 6), value), (0.1, 99.9)) == (value, value)


def test_no_finite_value_is_refused():
    with pytest.raises(ImageError, match="no finite value"):
        stack_contrast(np.full((2, 3, 4), np.nan), (0.1, 99.9))


def test_can_be_ended_between_chunks():
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones((1, 8, 8), np.uint16)

    stack = da.map_blocks(block, chunks=((1,) * 6, 8, 8), dtype=np.uint16, meta=np.empty((0,) * 3))
    read.clear()
    with pytest.raises(Cancelled):
        stack_contrast(stack, (0, 100), should_stop=lambda: len(read) >= 3)
    assert len(read) == 3


@pytest.mark.parametrize(("dtype", "times"), [("u1", 1), ("u2", 1), ("f4", 2), ("i4", 2)])
def test_no_chunk_is_read_more_often_than_said(dtype, times):
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.full((2, 8, 8), 3, dtype)

    stack = da.map_blocks(block, chunks=((2,) * 5, 8, 8), dtype=dtype, meta=np.empty((0,) * 3))
    read.clear()
    stack_contrast(stack, (0.1, 99.9))
    assert sorted(read) == sorted([(i, 0, 0) for i in range(5)] * times)
