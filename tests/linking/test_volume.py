"""Tables and label volumes, against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops

from _linked import as_masks
from napari_sam_amg import Masks, Volume, link_slices
from napari_sam_amg.errors import ParameterError


@pytest.fixture
def volume(ellipsoids) -> Volume:
    rng = np.random.default_rng(0)
    slices = [as_masks(plane, rng) for plane in ellipsoids]
    return link_slices(slices, pixel_size=(2.0, 0.5, 0.25))


def test_features_are_those_of_the_label_volume(volume):
    features = volume.features
    regions = regionprops(volume.to_labels())
    assert features["label"].tolist() == [region.label for region in regions]
    for row, region in zip(features.itertuples(), regions, strict=True):
        assert row.voxels == region.area
        assert (row.first_slice, row.last_slice + 1) == (region.bbox[0], region.bbox[3])
        assert row.extent == region.bbox[3] - region.bbox[0]
    for name, values in (
        ("centroid", [region.centroid for region in regions]),
        ("bbox", [region.bbox for region in regions]),
    ):
        columns = [f"{name}-{i}" for i in range(len(values[0]))]
        np.testing.assert_allclose(features[columns].to_numpy(), values)
    spaced = regionprops(volume.to_labels(), spacing=volume.pixel_size)
    columns = [f"centroid_um-{i}" for i in range(3)]
    np.testing.assert_allclose(features[columns], [region.centroid for region in spaced])
    np.testing.assert_allclose(features["volume_um3"], [region.area for region in spaced])
    diameters = [region.equivalent_diameter_area for region in spaced]
    np.testing.assert_allclose(features["equivalent_diameter_um"], diameters)
    ends = [region.bbox[0] == 0 or region.bbox[3] == volume.shape[0] for region in regions]
    assert features["touches_end"].tolist() == ends


def test_slice_features_are_those_of_the_slices(volume):
    table = volume.slice_features
    labels = volume.to_labels()
    count = 0
    for number, plane in enumerate(labels):
        for region in regionprops(plane):
            chosen = (table["label"] == region.label) & (table["slice"] == number)
            (row,) = table[chosen].to_dict("records")
            assert row["area"] == region.area
            assert [row[f"bbox-{i}"] for i in range(4)] == list(region.bbox)
            assert [row[f"centroid-{i}"] for i in range(2)] == pytest.approx(region.centroid)
            assert row["area_um2"] == pytest.approx(region.area * 0.125)
            count += 1
    assert len(table) == count
    assert (np.diff(table["label"]) >= 0).all()
    assert (table.groupby("label")["slice"].diff().dropna() > 0).all()


def test_scores_and_rows_are_those_of_the_masks(ellipsoids):
    rng = np.random.default_rng(0)
    slices = [as_masks(plane, rng) for plane in ellipsoids]
    volume = link_slices(slices)
    table = volume.slice_features
    for row in table.itertuples():
        masks = slices[row.slice]
        assert row.predicted_iou == masks.predicted_iou[row.mask - 1]
        assert row.stability_score == masks.stability_score[row.mask - 1]
        assert row.area == masks.areas[row.mask - 1]
    for name in ("predicted_iou", "stability_score"):
        means = table.groupby("label")[name].mean()
        np.testing.assert_allclose(volume.features[name], means)


def test_borders():
    labels = np.zeros((3, 8, 8), dtype=int)
    labels[:, 0:3, 2:5] = 1
    labels[:, 4:7, 3:6] = 2
    volume = link_slices([as_masks(plane) for plane in labels])
    assert volume.features["touches_border"].tolist() == [True, False]
    assert volume.features["touches_end"].tolist() == [True, True]


def test_scores_of_what_was_filled_in_do_not_count():
    disc = np.zeros((9, 9), dtype=bool)
    disc[2:7, 2:7] = True
    found = [Masks.from_arrays([disc], predicted_iou=[iou]) for iou in (0.5, 1.0)]
    volume = link_slices([found[0], Masks.empty((9, 9)), found[1]])
    assert volume.features["predicted_iou"].tolist() == [0.75]
    assert volume.features["filled_slices"].tolist() == [1]


@pytest.mark.parametrize("count", [255, 256])
def test_labels_have_the_smallest_dtype(count):
    side = 16
    y, x = np.divmod(np.arange(count), side)
    arrays = np.zeros((count, side, side), dtype=bool)
    arrays[np.arange(count), y, x] = True
    volume = link_slices([Masks.from_arrays(arrays)] * 2)
    assert len(volume) == count
    assert volume.to_labels().dtype == (np.uint8 if count < 256 else np.uint16)


@pytest.mark.parametrize(
    ("labels", "says"),
    [([[1], [1, 2]], "one for each mask"), ([[1], [3]], "number objects from 1"), ([], "slice")],
)
def test_what_does_not_fit_together(labels, says):
    masks = Masks.from_arrays([np.ones((2, 2))])
    with pytest.raises(ParameterError, match=says):
        Volume([masks] * len(labels), [np.array(part) for part in labels])


def test_a_volume_of_ones_own_masks():
    masks = Masks.from_arrays([np.ones((2, 2))])
    volume = Volume([masks, masks], [np.array([2]), np.array([1])])
    assert volume.to_labels().tolist() == [[[2, 2], [2, 2]], [[1, 1], [1, 1]]]
    assert volume.slice_features["mask"].tolist() == [1, 1]
    objects = volume.objects()
    assert objects.sizes.tolist() == [4, 4]
    assert objects.centroids.tolist() == [[1, 0.5, 0.5], [0, 0.5, 0.5]]
