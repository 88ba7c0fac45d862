"""Reliability rows 1 and 2: what goes in, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from _scale import scaled
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.image import prepare_image

SHAPES = [
    (),
    (5,),
    (0,),
    (0, 5),
    (5, 0),
    (1, 1),
    (1, 7),
    (7, 1),
    (5, 7),
    (6, 8, 1),
    (0, 8, 3),
    (5, 7, 2),
    (5, 7, 3),
    (5, 7, 4),
    (3, 5, 7),
    (5, 7, 5),
    (2, 5, 7, 3),
    (2, 2, 5, 7, 3),
]
DTYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    ">u2",
    "int32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "longdouble",
    "complex64",
    "object",
    "<U3",
    "datetime64[s]",
]
CONTAINERS = ["numpy", "flipped", "readonly", "fortran", "memmap", "dask", "zarr", "levels"]
CONTENTS = ["clean", "nan", "inf", "all_nan", "constant", "hot"]
MATRIX = list(itertools.product(SHAPES, DTYPES, CONTAINERS, CONTENTS))


def is_image(shape: tuple[int, ...]) -> bool:
    return 0 not in shape and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)))


def fill(shape: tuple[int, ...], dtype: np.dtype, content: str) -> np.ndarray:
    generator = np.random.default_rng(math.prod(shape) + len(shape))
    values = generator.integers(0, 100, shape)
    array = values > 50 if dtype.kind == "b" else values.astype(dtype)
    if content == "constant":
        array = np.full(shape, array.flat[0] if array.size else 0, dtype)
    elif content == "hot" and array.size:
        array = np.zeros(shape, dtype)
        array.flat[array.size // 2] = 1
    elif dtype.kind == "f" and array.size:
        if content == "nan":
            array.flat[0] = np.nan
        elif content == "inf":
            array.flat[0], array.flat[-1] = -np.inf, np.inf
        elif content == "all_nan":
            array[...] = np.nan
    return np.asarray(array, dtype)


def contain(array: np.ndarray, container: str, folder: Path) -> object | None:
    """Return the array in a container, or None where that cannot be."""
    if container == "numpy":
        return array
    if container == "flipped":
        return np.flip(np.flip(array).copy()) if array.ndim else None
    if container == "readonly":
        array = array.copy()
        array.flags.writeable = False
        return array
    if container == "fortran":
        return np.asfortranarray(array)
    if container == "memmap":
        if not array.size or array.dtype.kind == "O" or not array.shape:
            return None
        mapped = np.memmap(folder / "mapped", array.dtype, "w+", shape=array.shape)
        mapped[...] = array
        return mapped
    if container == "dask":
        import dask.array

        return dask.array.from_array(array, chunks=-1) if array.ndim else None
    if container == "zarr":
        import zarr

        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8 or not array.size:
            return None
        stored = zarr.create(shape=array.shape, chunks=array.shape or None, dtype=array.dtype)
        stored[...] = array
        return stored
    levels = [array, array[::2, ::2]] if array.ndim >= 2 else None
    return levels if levels is not None and array.size else None


def exact_levels(array: np.ndarray) -> np.ndarray:
    """Map by the 0.1 and 99.9 percentiles in exact rational arithmetic, without rounding."""
    colour = array[..., :3] if array.ndim == 3 else array
    with np.errstate(over="ignore"):
        flat = [float(v) if colour.dtype.kind == "f" else int(v) for v in colour.ravel()]
    finite = sorted(Fraction(v) for v in flat if math.isfinite(v))
    last = len(finite) - 1
    low, high = finite[last // 1000], finite[last - last // 1000]
    if low == high:
        low, high = finite[0], finite[-1]

    def level(value: float) -> float:
        if low == high or math.isnan(value) or value == -math.inf:
            return 0.0
        if value == math.inf:
            return 255.0
        return float(min(max((Fraction(value) - low) / (high - low), 0), 1) * 255)

    levels = np.array([level(v) for v in flat]).reshape(colour.shape)
    return np.broadcast_to(
        levels if levels.ndim == 3 else levels[..., None], (*array.shape[:2], 3)
    )


def sample_of_matrix() -> list[tuple]:
    order = MATRIX.copy()
    random.Random(1).shuffle(order)
    return order[: scaled(4000)]


def test_matrix_of_bad_and_good_input(tmp_path: Path) -> None:
    """Each case gives the right pixels, or our error with name, finding and advice."""
    good = bad = 0
    for shape, dtype_name, container, content in sample_of_matrix():
        case = f"{shape} {dtype_name} {container} {content}"
        dtype = np.dtype(dtype_name)
        array = fill(shape, dtype, content)
        image = contain(array, container, tmp_path)
        if image is None:
            continue
        usable = (
            is_image(shape)
            and dtype.kind in "biuf"
            and container != "levels"
            and not (dtype.kind == "f" and content == "all_nan")
            and not (dtype.kind == "f" and content in ("nan", "inf") and _nothing_left(array))
        )
        if not usable:
            with pytest.raises(ImageError) as caught:
                prepare_image(image, name="my layer")
            message = str(caught.value)
            assert message.startswith("my layer: found "), case
            assert ";" in message, case
            if container != "levels":
                assert str(np.shape(image)) in message, case
                found = {str(image.dtype), str(np.asarray(image).dtype)}
                assert any(name in message for name in found), case
            bad += 1
            continue
        result = prepare_image(image, name="my layer")
        assert result.rgb.shape == (*shape[:2], 3), case
        assert result.rgb.dtype == np.uint8, case
        assert result.rgb.flags.c_contiguous, case
        assert json.loads(json.dumps(result.mapping)) == result.mapping, case
        _check_pixels(result.rgb, array, result.mapping["rule"], case)
        _check_counts(result.mapping, array, case)
        good += 1
    assert good > scaled(4000) // 20
    assert good + bad >= scaled(2000)


def _nothing_left(array: np.ndarray) -> bool:
    return not np.isfinite(array[..., :3] if array.ndim == 3 else array).any()


def _check_pixels(rgb: np.ndarray, array: np.ndarray, rule: str, case: str) -> None:
    colour = array[..., :3] if array.ndim == 3 else array[..., None]
    if array.dtype == np.uint8:
        assert rule == "unchanged", case
        np.testing.assert_array_equal(rgb, np.broadcast_to(colour, rgb.shape), case)
    elif array.dtype.kind == "b":
        assert rule == "bool", case
        np.testing.assert_array_equal(rgb, np.where(colour, [255] * 3, 0), case)
    else:
        assert rule == "linear", case
        # Rounded half up; halves may be off by the tolerance for floats' own noise.
        error = rgb - exact_levels(array)
        assert error.max() <= 0.5 + 0.001, case
        assert error.min() > -0.5 - 1e-9, case


def _check_counts(mapping: dict, array: np.ndarray, case: str) -> None:
    if array.dtype.kind != "f":
        expected = (0, 0, 0)
    else:
        colour = array[..., :3] if array.ndim == 3 else array
        values = [float(v) for v in colour.ravel()]
        expected = (
            sum(math.isnan(v) for v in values),
            values.count(math.inf),
            values.count(-math.inf),
        )
    found = tuple(mapping[f"{k}_count"] for k in ("nan", "posinf", "neginf"))
    assert found == expected, case
    assert mapping["shape"] == list(array.shape), case
    assert mapping["dtype"] == str(array.dtype), case
    assert mapping["alpha_dropped"] == (array.ndim == 3 and array.shape[2] == 4), case
    if sum(expected):
        assert any("no finite" in note for note in mapping["notes"]), case


def scenes() -> list[np.ndarray]:
    """8-bit scenes: noise in every range of grey levels, gradients, blobs, rare values."""
    generator = np.random.default_rng(5)
    found = []
    for _ in range(scaled(300)):
        low = generator.integers(0, 250)
        high = generator.integers(low + 1, 256)
        size = generator.integers(1, 60, 2)
        shape = (*size, 3) if generator.random() < 0.3 else tuple(size)
        found.append(generator.integers(low, high + 1, shape, dtype=np.uint8))
    y, x = np.mgrid[:128, :160]
    found.append((x + y).clip(0, 255).astype(np.uint8))
    blobs = 40 + 180 * np.exp(-(((x % 32) - 16) ** 2 + ((y % 32) - 16) ** 2) / 60)
    found.append(generator.poisson(blobs).clip(0, 255).astype(np.uint8))
    return found


def as_uint16(scene: np.ndarray) -> np.ndarray:
    return scene.astype(np.uint16) * np.uint16(257)


VERSIONS = {
    "uint16": (as_uint16, (0, 65535)),
    "big-endian uint16": (lambda s: as_uint16(s).astype(">u2"), (0, 65535)),
    "int32": (lambda s: s.astype(np.int32), (0, 255)),
    "float64 0-1": (lambda s: s / 255, (0, 1)),
    "float32 0-1": (lambda s: (s / 255).astype(np.float32), (0, 1)),
    "float32 0-1, divided as float32": (lambda s: s.astype(np.float32) / np.float32(255), (0, 1)),
    "float32 0-1, multiplied": (lambda s: s.astype(np.float32) * np.float32(1 / 255), (0, 1)),
    "float16 0-255": (lambda s: s.astype(np.float16), (0, 255)),
    "float32 0-255": (lambda s: s.astype(np.float32), (0, 255)),
    "float64 0-255": (lambda s: s.astype(np.float64), (0, 255)),
    "float32 0-65535": (lambda s: s.astype(np.float32) * 257, (0, 65535)),
    "float64 0-65535": (lambda s: s.astype(np.float64) * 257, (0, 65535)),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_one_scene_gives_one_input(version: str) -> None:
    convert, full_range = VERSIONS[version]
    for scene in scenes():
        measured = prepare_image(convert(scene))
        reference = prepare_image(scene, map_uint8=True)
        np.testing.assert_array_equal(measured.rgb, reference.rgb)
        full = prepare_image(convert(scene), contrast=full_range)
        np.testing.assert_array_equal(full.rgb, prepare_image(scene).rgb)


def test_uint8_goes_through_unchanged_and_as_a_copy() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    result = prepare_image(image[:, ::-1])
    np.testing.assert_array_equal(result.rgb, image[:, ::-1])
    assert not np.shares_memory(result.rgb, image)
    np.testing.assert_array_equal(prepare_image(image, contrast=(0, 255)).rgb, image)


def test_contrast_maps_its_ends_to_black_and_white() -> None:
    image = np.array([[-5.0, 10.0, 12.5, 15.0, 20.0, 99.0]])
    result = prepare_image(image, contrast=(10, 20))
    # 12.5 -> 63.75, 15 -> 127.5 (halves go up)
    assert result.rgb[0, :, 0].tolist() == [0, 0, 64, 128, 255, 255]
    assert result.mapping["contrast"] == [10.0, 20.0]
    assert result.mapping["percentiles"] is None


def test_percentiles_leave_out_outliers_of_all_channels_together() -> None:
    image = np.full((100, 100, 3), 100, np.uint16)
    image[:50] = 200
    image[0, :5, 2] = 60000
    result = prepare_image(image)
    assert result.mapping["contrast"] == [100.0, 200.0]
    assert result.mapping["percentiles"] == [0.1, 99.9]
    assert set(np.unique(result.rgb)) == {0, 255}


def test_one_hot_pixel_stays_visible() -> None:
    image = np.zeros((300, 300), np.float32)
    image[7, 9] = 3.0
    result = prepare_image(image)
    assert result.rgb[7, 9].tolist() == [255] * 3
    assert result.rgb.sum() == 255 * 3
    assert "Nearly all values" in result.mapping["notes"][0]


@pytest.mark.parametrize("value", [0, 7, -3.5, 1e300])
def test_a_constant_image_is_black_and_says_so(value: float) -> None:
    result = prepare_image(np.full((4, 5), value))
    assert not result.rgb.any()
    assert "Every value is" in result.mapping["notes"][0]


@pytest.mark.parametrize(
    ("low", "high"), [(-1.7e308, 1.7e308), (0.0, 5e-324), (1e15, 1e15 + 1), (-(2**62), 2**62)]
)
def test_extreme_values_keep_black_and_white(low: float, high: float) -> None:
    result = prepare_image(np.array([[low, high]]))
    assert result.rgb[0, :, 0].tolist() == [0, 255]


def test_alpha_is_dropped_with_a_note() -> None:
    image = np.zeros((3, 4, 4), np.uint8)
    image[..., 3] = 255
    result = prepare_image(image)
    assert not result.rgb.any()
    assert "alpha" in result.mapping["notes"][0]


def test_blocks_of_a_large_image_are_all_mapped() -> None:
    image = np.linspace(0, 1, 3000 * 2000, dtype=np.float32).reshape(3000, 2000)
    rgb = prepare_image(image, contrast=(0, 1)).rgb[..., 0]
    np.testing.assert_array_equal(rgb, np.floor(image.astype(float) * 255 + 0.50094))


class Unreadable:
    shape = (4, 4)
    dtype = np.dtype("uint8")

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise RuntimeError("can't convert cuda:0 device type tensor to numpy")


@pytest.mark.parametrize(
    ("image", "finding"),
    [
        ("cells.tif", "read the file"),
        (Path("cells.tif"), "read the file"),
        (None, "object"),
        ({"a": 1}, "object"),
        ([[1, 2], [3]], "could not be read"),
        ([np.zeros((4, 4)), np.zeros((2, 2))], "multiscale"),
        ((np.zeros((4, 4)), np.zeros((4, 4))), "multiscale"),
        (Unreadable(), "could not be read"),
        (np.zeros((4, 4), [("a", int)]), "real numbers"),
        (np.full((4, 4), np.inf), "without one finite"),
        (np.zeros((3, 40, 50)), "moveaxis"),
        (np.zeros((9, 40, 50)), "image[0]"),
        (np.zeros((2, 9, 40, 50)), "image[0][0]"),
    ],
)
def test_refusals_name_the_image_and_the_way_out(image: object, finding: str) -> None:
    with pytest.raises(ImageError) as caught:
        prepare_image(image, name="layer 7")
    assert str(caught.value).startswith("layer 7: ")
    assert finding in str(caught.value)
    assert "cuda" not in str(caught.value)


def test_a_lazy_array_of_wrong_shape_is_not_read() -> None:
    class Huge(Unreadable):
        shape = (10**6, 10**6, 10**6)

    with pytest.raises(ImageError, match="pass one plane"):
        prepare_image(Huge())


def test_nested_lists_and_masked_arrays() -> None:
    assert prepare_image([[0, 1], [2, 4]]).rgb[..., 0].tolist() == [[0, 64], [128, 255]]
    masked = np.ma.masked_array(np.eye(3, dtype=np.uint8), mask=np.eye(3))
    assert "mask" in prepare_image(masked).mapping["notes"][0]


@pytest.mark.parametrize(
    "contrast", [(1, 1), (2, 1), (0, np.nan), (-np.inf, 1), (1,), (1, 2, 3), "01", 5, ("a", "b")]
)
def test_contrast_that_makes_no_sense_is_refused(contrast: object) -> None:
    with pytest.raises(ParameterError, match="contrast="):
        prepare_image(np.zeros((3, 3)), contrast=contrast)  # type: ignore[arg-type]


@pytest.mark.parametrize("percentiles", [(50, 50), (-1, 99), (1, 101), (1, np.nan), None])
def test_percentiles_that_make_no_sense_are_refused(percentiles: object) -> None:
    with pytest.raises(ParameterError, match="percentiles="):
        prepare_image(np.zeros((3, 3)), percentiles=percentiles)  # type: ignore[arg-type]
