"""Measurements, against scikit-image on full-size label images of one mask each."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops_table

from _masks import random_stack
from _scale import scaled
from napari_sam_amg import Masks, measurements
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.measurements import INTENSITIES, LENGTHS, SHAPES

SHAPE = (41, 57)


def by_scikit_image(mask, names, image=None, spacing=(1, 1)):
    table = regionprops_table(
        mask.astype(np.uint8), intensity_image=image, properties=names, spacing=spacing
    )
    return {name: float(column[0]) for name, column in table.items()}


def same(found, expected):
    """Centroids are moved to their place, which rounds; nothing else is."""
    for name, value in expected.items():
        close = {"rtol": 1e-12} if name.startswith("centroid") else {"rtol": 0, "atol": 0}
        np.testing.assert_allclose(found[name], value, err_msg=name, **close)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
@pytest.mark.parametrize("seed", range(scaled(20)))
def test_equals_scikit_image(seed, dtype, monkeypatch):
    """Masks that overlap, are nested or in pieces; in one go and sheet by sheet."""
    rng = np.random.default_rng([21, seed])
    stack = random_stack(rng, 25, SHAPE)
    image = (rng.random((*SHAPE, 2)) * 200).astype(dtype)
    masks = Masks.from_arrays(stack)
    for at_once in (1 << 22, 900):
        monkeypatch.setattr(measurements, "_PIXELS_AT_ONCE", at_once)
        table = masks.measure(image)
        assert table["label"].tolist() == list(range(1, len(stack) + 1))
        pixels = image.astype(np.uint8) if dtype is bool else image
        for row, mask in enumerate(stack):
            same(table.iloc[row], by_scikit_image(mask, SHAPES))
            for channel in range(2):
                expected = by_scikit_image(mask, INTENSITIES, pixels[..., channel])
                same(table.iloc[row], {f"{n}-{channel}": v for n, v in expected.items()})


def test_masks_of_a_run(sample_images):
    """Nuclei as the embedded model finds them, on their own image."""
    from napari_sam_amg import AutomaticMaskGenerator

    image = np.ascontiguousarray(sample_images[0][::2, ::2])
    few = {"points_per_side": 8, "pred_iou_thresh": 0.06, "stability_score_thresh": 0.2}
    masks = AutomaticMaskGenerator("nuclei-nano", **few).segment(image)
    assert len(masks) >= 3
    table = masks.measure(image, pixel_size=0.25)
    for row, mask in enumerate(masks):
        same(table.iloc[row], by_scikit_image(mask, (*SHAPES, *INTENSITIES), image))
    np.testing.assert_array_equal(table["area"], masks.areas)
    np.testing.assert_allclose(table["area_um2"], masks.areas / 16)


@pytest.mark.parametrize("size", [0.65, (0.65, 0.65), (2.0, 0.5)])
def test_units(size):
    stack = random_stack(np.random.default_rng(4), 12, SHAPE)
    table = Masks.from_arrays(stack).measure(pixel_size=size, unit="nm")
    spacing = np.broadcast_to(size, 2)
    square = spacing[0] == spacing[1]
    lengths = LENGTHS if square else tuple(n for n in LENGTHS if n != "perimeter")
    for row, mask in enumerate(stack):
        expected = by_scikit_image(mask, ("area", "centroid", *lengths), spacing=tuple(spacing))
        names = {"area": "area_nm2", "centroid-0": "centroid_nm-0", "centroid-1": "centroid_nm-1"}
        for name, value in expected.items():
            found = table.loc[row, names.get(name, f"{name}_nm")]
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=name)
    assert table["perimeter_nm"].isna().all() == (not square)


@pytest.mark.parametrize("channels", [None, 1, 3])
def test_columns(channels):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[3:9, 5:20] = True
    image = np.zeros(SHAPE if channels is None else (*SHAPE, channels))
    one, none = Masks.from_arrays([mask]).measure(image), Masks.empty(SHAPE).measure(image)
    suffixes = ["-0", "-1", "-2"] if channels == 3 else [""]
    shapes = [n for name in SHAPES for n in _columns(name)]
    assert list(one) == ["label", *shapes, *(n + s for n in INTENSITIES for s in suffixes)]
    assert list(none) == list(one)
    assert (len(one), len(none)) == (1, 0)


def _columns(name):
    return ["centroid-0", "centroid-1"] if name == "centroid" else [name]


def test_names_of_channels():
    mask = np.ones(SHAPE, dtype=bool)
    image = np.stack([np.zeros(SHAPE), np.ones(SHAPE)], axis=-1)
    table = Masks.from_arrays([mask]).measure(image, channel_names=["DAPI", "GFP"])
    assert (table["intensity_mean-DAPI"][0], table["intensity_mean-GFP"][0]) == (0, 1)


def test_channels_of_different_types():
    """Each is measured in its own type, under its name."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[3:30, 5:50] = True
    rng = np.random.default_rng(6)
    large = rng.integers(2**63, 2**64, SHAPE, dtype=np.uint64)
    image = {"DAPI": large, "GFP": rng.random(SHAPE, dtype=np.float32), "mask": mask.tolist()}
    table = Masks.from_arrays([mask]).measure(image)
    for name in ("DAPI", "GFP"):
        expected = by_scikit_image(mask, INTENSITIES, image[name])
        same(table.iloc[0], {f"{n}-{name}": v for n, v in expected.items()})
    assert table["intensity_mean-mask"][0] == 1
    assert "intensity_mean" not in " ".join(Masks.from_arrays([mask]).measure({}))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint16])
@pytest.mark.parametrize("channels", [1, 2])
def test_large_masks_are_added_up_exactly(channels, dtype):
    """Float32 added up one by one is off by percents, and float16 overflows."""
    shape = (1000, 800)
    image = (np.random.default_rng(7).random((*shape, channels)) + 1000).astype(dtype)
    row = Masks.from_arrays([np.ones(shape, dtype=bool)]).measure(image).iloc[0]
    for channel in range(channels):
        suffix = f"-{channel}" if channels > 1 else ""
        pixels = image[..., channel].astype(np.float64)
        assert row[f"intensity_mean{suffix}"] == pytest.approx(pixels.mean(), rel=1e-6)
        assert row[f"intensity_std{suffix}"] == pytest.approx(pixels.std(), rel=1e-4)


def test_values_that_are_no_finite_numbers():
    """They count where they are, and nowhere else."""
    masks = np.zeros((2, *SHAPE), dtype=bool)
    masks[0, :5], masks[1, 10:] = True, True
    image = np.ones((*SHAPE, 2))
    image[2, 2], image[7, 7] = (np.nan, -np.inf), (np.nan, np.inf)
    table = Masks.from_arrays(masks).measure(image)
    assert table[[f"{name}-0" for name in INTENSITIES]].isna().all(axis=1).tolist() == [
        True,
        False,
    ]
    first, second = (table.loc[row, [f"{n}-1" for n in INTENSITIES]].tolist() for row in (0, 1))
    assert (first[:3], second) == ([-np.inf, -np.inf, 1], [1, 1, 1, 0])
    assert np.isnan(first[3])


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"image": np.zeros((3, 4))}, ImageError, r"\(3, 4\).*41 x 57"),
        ({"image": np.full(SHAPE, "a")}, ImageError, "<U1"),
        ({"image": np.zeros((2, *SHAPE))}, ImageError, "height x width x"),
        ({"image": np.zeros(SHAPE), "channel_names": ["a", "b"]}, ParameterError, "give 1 diff"),
        ({"image": np.zeros((*SHAPE, 2)), "channel_names": ["a", "a"]}, ParameterError, "give 2"),
        ({"pixel_size": 0}, ParameterError, "above 0"),
        ({"pixel_size": (1, float("nan"))}, ParameterError, "above 0"),
        ({"pixel_size": (1, 2, 3)}, ParameterError, "one or two lengths"),
        ({"pixel_size": "small"}, ParameterError, "'small': give"),
        ({"image": {"a": np.zeros((*SHAPE, 3))}}, ImageError, r"give numbers, height x width$"),
        ({"image": {}, "channel_names": []}, ParameterError, "has names already"),
    ],
)
def test_what_does_not_fit(given, error, said):
    with pytest.raises(error, match=said):
        Masks.empty(SHAPE).measure(**given)
