"""Slices linked into objects: exact truth, gaps, what is left out, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from _linked import as_masks, same_partition
from napari_sam_amg import LinkParameters, Masks, Volume, link_slices
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.linking import link_steps


def disc(shape, y, x, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def stack_of(*slices, shape=(40, 40)):
    return [Masks.from_arrays(arrays, shape=shape) for arrays in slices]


def test_what_is_found_without_fault_is_the_truth(ellipsoids):
    rng = np.random.default_rng(0)
    # Where an ellipsoid ends, a slice has much less of it than the next one.
    slices = [as_masks(plane, rng) for plane in ellipsoids]
    volume = link_slices(slices, min_overlap=0, min_neck=0)
    assert same_partition(volume.to_labels(), ellipsoids)
    assert len(volume) == 12
    assert volume.to_labels().dtype == np.uint8
    assert not volume.features["filled_slices"].any()


def test_the_order_of_slices_does_not_matter(ellipsoids):
    rng = np.random.default_rng(1)
    slices = []
    for plane in ellipsoids:  # a fifth is missing
        masks = as_masks(plane, rng)
        slices.append(masks[rng.random(len(masks)) > 0.2])
    there, back = link_slices(slices), link_slices(slices[::-1])
    assert there.features["filled_slices"].any()
    assert same_partition(there.to_labels(), back.to_labels()[::-1])
    again = link_slices([m[rng.permutation(len(m))] for m in slices])
    assert same_partition(there.to_labels(), again.to_labels())


def test_gaps_are_closed_and_filled(ellipsoids):
    slices = [as_masks(plane) for plane in ellipsoids]
    whole = link_slices(slices)
    middle = 5
    gone = slices[middle]
    slices[middle] = Masks.empty(gone.shape)
    volume = link_slices(slices)
    filled = volume.slice_features.query("filled")
    assert (filled["slice"] == middle).all()
    assert (filled["mask"] == 0).all()
    assert filled["predicted_iou"].isna().all()
    # Away from their ends, ellipsoids change little from slice to slice.
    deep = whole.features.query("first_slice + 2 <= @middle <= last_slice - 2")["label"]
    assert len(deep) > 1
    for label in deep:
        truth = whole.to_labels() == label
        (found,) = np.unique(volume.to_labels()[middle - 1][truth[middle - 1]])
        again = volume.to_labels() == found
        np.testing.assert_array_equal(np.delete(again, middle, 0), np.delete(truth, middle, 0))
        shared = again[middle] & truth[middle]
        assert shared.sum() > 0.9 * again[middle].sum()
        assert shared.sum() > 0.7 * truth[middle].sum()
    left = link_slices(slices, fill_gaps="leave_open")
    assert not left.to_labels()[middle].any()
    assert left.features["extent"].tolist() == volume.features["extent"].tolist()
    cut = link_slices(slices, max_gap=0)
    assert len(cut) > len(whole)


@pytest.mark.parametrize(
    ("missing", "max_gap", "count"), [(1, 1, 1), (2, 1, 2), (2, 2, 1), (1, 0, 2)]
)
def test_a_gap_is_closed_up_to_its_limit(missing, max_gap, count):
    there = [disc((40, 40), 20, 20, 8)]
    volume = link_slices(stack_of(there, there, *[[]] * missing, there, there), max_gap=max_gap)
    assert len(volume) == count
    assert volume.features["filled_slices"].sum() == (missing if count == 1 else 0)


@pytest.mark.parametrize(("extent", "kept"), [(1, 3), (2, 2), (3, 1), (4, 1), (5, 1), (9, 1)])
def test_short_objects_are_dropped(extent, kept):
    a, b, c = (disc((40, 40), y, 20, 4) for y in (6, 20, 33))
    slices = stack_of([a], [a, b], [a, b, c], [a], [a])
    # No more is asked for than the stack has.
    assert len(link_slices(slices, min_extent=extent)) == kept


def test_a_single_slice_keeps_its_masks():
    masks = as_masks(np.array([[1, 1, 0, 2], [0, 0, 0, 2]]))
    volume = link_slices([masks])
    np.testing.assert_array_equal(volume.to_labels(), masks.to_labels()[None])
    assert volume.features["touches_end"].all()


@pytest.mark.parametrize("count", [1, 4])
def test_without_masks(count):
    volume = link_slices([Masks.empty((7, 9))] * count)
    assert len(volume) == 0
    assert volume.to_labels().shape == (count, 7, 9)
    assert not volume.to_labels().any()
    assert len(volume.features) == len(volume.slice_features) == 0
    assert "centroid-2" in volume.features


def test_nested_masks_become_nested_objects():
    shape = (40, 40)
    slices = stack_of(*[[disc(shape, 20, 20, 12), disc(shape, 20, 21, 6)]] * 4)
    slices[1] = slices[1][[1, 0]]
    volume = link_slices(slices)
    assert volume.features["voxels"].tolist() == [4 * slices[0].areas[0], 4 * slices[0].areas[1]]
    assert [labels.tolist() for labels in volume.labels] == [[1, 2], [2, 1], [1, 2], [1, 2]]
    assert np.unique(volume.to_labels()).tolist() == [0, 1, 2]
    assert np.unique(volume.to_labels("largest_on_top")).tolist() == [0, 1]
    assert np.count_nonzero(volume.to_labels() == 2) == volume.features["voxels"][1]


def test_a_mask_that_merges_two_objects_is_left_out():
    shape = (40, 40)
    two = [disc(shape, 20, 12, 7), disc(shape, 20, 27, 7)]
    slices = stack_of(two, two, [two[0] | two[1]], two, two)
    volume = link_slices(slices)
    expected = np.where(two[0], 1, 0) + np.where(two[1], 2, 0)
    np.testing.assert_array_equal(volume.to_labels(), [expected] * 5)
    assert volume.sources[2].tolist() == [-1, -1]


def test_halves_of_a_mask_are_left_out():
    whole = disc((40, 40), 20, 20, 9)
    upper = whole & (np.arange(40)[:, None] < 20)
    slices = stack_of([whole], [whole], [upper, whole & ~upper], [whole], [whole])
    np.testing.assert_array_equal(link_slices(slices).to_labels(), [whole] * 5)


@pytest.mark.parametrize("radii", [(6, 9, 6), (7, 4, 7), (8, 8, 5, 4, 8, 8)])
def test_the_widest_and_narrowest_masks_are_not_left_out(radii):
    slices = stack_of(*[[disc((40, 40), 20, 20, r)] for r in radii])
    volume = link_slices(slices, min_neck=0, min_extent=1)
    assert [sources.tolist() for sources in volume.sources] == [[0]] * len(radii)
    assert [labels.tolist() for labels in volume.labels] == [[1]] * len(radii)


@pytest.mark.parametrize(("min_neck", "count"), [(0.0, 1), (0.4, 2)])
def test_objects_one_above_another_are_cut_apart(min_neck, count):
    radii = [3, 6, 9, 6, 3, 4, 7, 9, 8]
    slices = stack_of(*[[disc((40, 40), 20, 20, r)] for r in radii])
    volume = link_slices(slices, min_neck=min_neck)
    assert len(volume) == count
    if count == 2:
        assert volume.features["first_slice"].tolist() == [0, 5]
        back = link_slices(slices[::-1], min_neck=min_neck)
        assert same_partition(back.to_labels()[::-1], volume.to_labels())


@pytest.mark.parametrize("min_overlap", [0.3, 0.7])
def test_links_have_the_smallest_overlap(min_overlap):
    shape = (40, 40)
    one, other = disc(shape, 20, 18, 9), disc(shape, 20, 22, 9)
    iou = (one & other).sum() / (one | other).sum()
    volume = link_slices(stack_of([one], [other]), min_overlap=min_overlap, min_extent=1)
    assert len(volume) == (1 if iou >= min_overlap else 2)


def test_very_many_objects():
    side, count = 600, 3600
    rng = np.random.default_rng(0)
    y, x = np.divmod(np.arange(count), 60)
    slices = []
    for _ in range(6):
        plane = np.zeros((side, side), dtype=np.int32)
        for dy in range(8):
            for dx in range(8):
                plane[10 * y + dy, 10 * x + dx] = np.arange(1, count + 1)
        slices.append(plane)
    from napari_sam_amg.masks import MaskStore, MaskTable

    box = np.ones((8, 8), dtype=bool)
    masks = []
    for _ in slices:
        order = rng.permutation(count)
        items = [(10 * int(x[i]), 10 * int(y[i]), box) for i in order]
        store = MaskStore.from_windows((side, side), items)
        masks.append(Masks(store, MaskTable.unknown(store)))
    volume = link_slices(masks)
    assert volume.to_labels().dtype == np.uint16
    assert same_partition(volume.to_labels(), np.array(slices))


def test_real_masks_of_one_image_are_linked_with_themselves(small, sample_images):
    from napari_sam_amg import AutomaticMaskGenerator

    few = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    masks = AutomaticMaskGenerator(small, **few).segment(sample_images[0][:160, :200])
    assert len(masks) > 3
    volume = link_slices([masks, masks[::-1], masks])
    rows = [np.argsort(labels) for labels in volume.labels]
    for number, order in enumerate((masks, masks[::-1], masks)):
        for label, row in enumerate(rows[number].tolist(), 1):
            source = int(volume.sources[number][row])
            np.testing.assert_array_equal(order[source], masks[label - 1])


def test_progress_and_cancelling():
    there = [disc((40, 40), 20, 20, 8)]
    slices = stack_of(there, [], there)
    steps = list(link_steps(slices))
    assert [step.done for step in steps] == list(range(1, 8))
    assert {step.total for step in steps} == {7}
    assert [step.stage for step in steps] == ["compare"] * 3 + ["link"] + ["fill"] * 3
    assert [step.result is None for step in steps] == [True] * 6 + [False]
    assert isinstance(steps[-1].result, Volume)
    running = link_steps(slices)
    next(running)
    running.close()
    assert list(running) == []


def test_provenance_is_json_and_repeats_the_job():
    import json

    there = [disc((40, 40), 20, 20, 8)]
    volume = link_slices(stack_of(there, there), max_gap=0, pixel_size=(2, 1, 1))
    kept = json.loads(json.dumps(volume.provenance))
    assert kept["parameters"] == LinkParameters(max_gap=0).model_dump()
    assert kept["pixel_size"] == [2, 1, 1]
    assert len(kept["slices"]) == 2


@pytest.mark.parametrize(
    ("slices", "says"),
    [
        ([], "at least one"),
        ([Masks.empty((3, 4)), Masks.empty((4, 3))], "slice 1 is of 4 x 3 pixels"),
        ([np.zeros((3, 4))], "slice 0 is a ndarray"),
    ],
)
def test_slices_that_cannot_be_linked(slices, says):
    with pytest.raises(ImageError, match=says):
        link_steps(slices)  # before the first step


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"max_gaps": 1}, "did you mean 'max_gap'"),
        ({"max_gap": -1}, r"max_gap=-1.*0 to 100"),
        ({"max_gap": 1.5}, "max_gap=1.5"),
        ({"min_overlap": 1.1}, r"0.0 to 1.0"),
        ({"fill_gaps": "smooth"}, "interpolate"),
        ({"pixel_size": (1, 2)}, "give 3 lengths"),
        ({"pixel_size": (1, 0, 1)}, "above 0"),
    ],
)
def test_parameters_that_are_refused(parameters, says):
    with pytest.raises(ParameterError, match=says):
        link_slices([Masks.empty((3, 4))], **parameters)


def test_parameters_are_frozen():
    with pytest.raises(ValidationError):
        LinkParameters().max_gap = 3
