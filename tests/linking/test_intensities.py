"""Intensities of objects over slices, against those of the pixels themselves."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam_amg.errors import ImageError
from napari_sam_amg.linking import Volume, link_slices
from napari_sam_amg.masks import Masks

SHAPE = (4, 30, 40)


@pytest.fixture
def volume() -> Volume:
    """Three objects, of which one is in a single slice and two share pixels."""
    rng = np.random.default_rng(5)
    slices = []
    for number in range(4):
        arrays = np.zeros((3, *SHAPE[1:]), dtype=bool)
        arrays[0, 3 + number : 15, 2:20] = True
        arrays[1, 5:12, 10:30] = rng.random((7, 20)) < 0.8
        arrays[2, 22:29, 5:9] = number == 1
        slices.append(Masks.from_arrays([a for a in arrays if a.any()], shape=SHAPE[1:]))
    found = link_slices(slices, min_extent=1, min_neck=0.0)
    assert len(found) == 3
    return found


def pixels_of(volume: Volume, label: int, image: np.ndarray) -> list[np.ndarray]:
    """Return the values of an object in each slice that it is in."""
    return [
        plane[masks[int(row)]]
        for masks, labels, plane in zip(volume.slices, volume.labels, image, strict=True)
        for row in np.flatnonzero(labels == label)
    ]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [(), (2,)])
def test_values_of_all_pixels(volume: Volume, dtype: type, channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(7)
    # Far from 0: squares of the values would lose what they differ by.
    image = (rng.random((*SHAPE, *channels)) * 50 + 200 * (dtype != np.uint8)).astype(dtype)
    names = ["a", "b"] if channels else None
    objects = volume.measure(
        da.from_array(image, chunks=(1, 30, 40, *channels)), channel_names=names
    )
    slices = volume.measure_slices(image, channel_names=names)
    assert objects["label"].tolist() == [1, 2, 3]
    features = volume.slice_features
    assert slices[["label", "slice"]].equals(features[["label", "slice"]])
    for channel, suffix in enumerate(["-a", "-b"] if channels else [""]):
        plane = image[..., channel] if channels else image
        for label in (1, 2, 3):
            parts = pixels_of(volume, label, plane.astype(np.float64))
            whole = np.concatenate(parts)
            row = objects.loc[label - 1]
            for kind, expected in (
                ("mean", whole.mean()),
                ("min", whole.min()),
                ("max", whole.max()),
                ("std", whole.std()),
            ):
                assert row[f"intensity_{kind}{suffix}"] == pytest.approx(expected, rel=1e-5)
            rows = slices[slices["label"] == label]
            assert rows[f"intensity_mean{suffix}"].tolist() == pytest.approx(
                [part.mean() for part in parts], rel=1e-5
            )
            assert rows[f"intensity_max{suffix}"].tolist() == [part.max() for part in parts]


def test_no_objects() -> None:
    empty = link_slices([Masks.empty((5, 6))] * 2)
    table = empty.measure(np.zeros((2, 5, 6)))
    assert len(table) == 0
    assert list(table) == [
        "label",
        *(f"intensity_{kind}" for kind in ("mean", "min", "max", "std")),
    ]


@pytest.mark.parametrize("shape", [(3, 30, 40), (4, 30, 41)])
def test_an_image_of_another_shape(volume: Volume, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError, match="give"):
        volume.measure(np.zeros(shape))
