"""Scenes made of real nuclei, and the scores that linking is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from linking import linked, tracked
from linking_scenes import Nucleus, detected, series, stack
from linking_scores import Linked, chain, painted, score, true_ids
from napari_sam_amg import Masks, link_slices


@pytest.fixture(scope="module")
def library(sample_images) -> list[Nucleus]:
    """Real nuclei, as Otsu's threshold cuts them out of the sample image."""
    from skimage.filters import threshold_otsu
    from skimage.measure import label, regionprops

    image = sample_images[0][::3, ::3]
    found = []
    for region in regionprops(label(image > threshold_otsu(image)), intensity_image=image):
        if 80 < region.area < 500 and region.solidity > 0.9:
            light = np.where(region.image, region.image_intensity / 255, 0).astype(np.float32)
            found.append(Nucleus(np.pad(region.image, 1), np.pad(light, 1)))
    assert len(found) > 5
    return found


def scored(result: Linked, scene) -> dict[str, float]:
    true = true_ids(scene.truth, scene.detections)
    return score(result, scene.truth, true, scene.divisions)


def test_slices_are_linked_better_than_by_a_chain(library):
    scene = stack(library, 1, attempts=150, planes=12)
    ours = scored(linked(link_slices(scene.detections), scene.detections), scene)
    for threshold in (0.1, 0.3, 0.5):
        plain = scored(chain(scene.detections, threshold), scene)
        assert ours["AP50"] > plain["AP50"] + 0.1
        assert ours["found"] > plain["found"]
        assert ours["switches"] < plain["switches"]


def test_time_points_are_linked_better_than_by_a_chain(library):
    scene = series(library, 1, cells=30, drift=10, frames=10)
    ours = scored(tracked(scene.detections), scene)
    for threshold in (0.1, 0.3, 0.5):
        plain = scored(chain(scene.detections, threshold), scene)
        assert ours["AP50"] > plain["AP50"] + 0.1
        assert ours["found"] > plain["found"]


def test_what_is_found_without_fault_is_nearly_all_right(library):
    rng = np.random.default_rng(0)
    scene = stack(library, 2, attempts=150, planes=12)
    faults = dict.fromkeys(("dropped", "split", "merged", "spurious"), 0.0)
    frames = [detected(plane, rng, **faults) for plane in scene.truth]
    true = true_ids(scene.truth, frames)
    found = score(linked(link_slices(frames), frames), scene.truth, true, {})
    assert found["AP50"] > 0.85
    assert found["false"] <= 0.02 * found["made"]


def test_scores_by_hand():
    boxes = np.zeros((2, 8, 8), dtype=bool)
    boxes[0, :3], boxes[1, 5:] = True, True
    plane = boxes[0] + 2 * boxes[1]
    truth = np.array([plane] * 4)
    frames = [Masks.from_arrays(boxes)] * 4
    true = true_ids(truth, frames)
    assert [ids.tolist() for ids in true] == [[1, 2]] * 4

    def of(*ids):
        parts = [np.array(part) for part in ids]
        return score(Linked(parts, painted(frames, parts), {}), truth, true, {})

    right = of([1, 2], [1, 2], [1, 2], [1, 2])
    assert (right["true links"], right["found"], right["made"], right["false"]) == (6, 6, 6, 0)
    assert (right["AP50"], right["switches"]) == (1, 0)
    swapped = of([1, 2], [1, 2], [2, 1], [2, 1])
    assert (swapped["found"], swapped["made"], swapped["false"]) == (4, 6, 2)
    assert swapped["switches"] == 2
    assert swapped["AP50"] == 0
    open_gap = of([1, 2], [0, 2], [1, 2], [1, 2])
    # What leaves out a detection of the object is false: there is a nearer one.
    assert (open_gap["found"], open_gap["made"], open_gap["false"]) == (4, 5, 1)
    assert (open_gap["switches"], open_gap["AP50"]) == (0, 1)


def test_divisions_by_hand():
    box = np.ones((4, 4), dtype=bool)
    left, right = box.copy(), box.copy()
    left[:, 2:], right[:, :2] = False, False
    frames = [Masks.from_arrays([box]), Masks.from_arrays([left, right])]
    truth = np.array([box * 1, left * 2 + right * 3])
    true = true_ids(truth, frames)
    ids = [np.array([7]), np.array([8, 9])]
    for parents, expected in (({8: 7, 9: 7}, 1), ({8: 7}, 0), ({}, 0)):
        found = score(Linked(ids, painted(frames, ids), parents), truth, true, {1: (2, 3)})
        assert found["right"] == expected
        assert found["divisions"] == 1


def test_the_chain_is_greedy_and_closes_no_gap():
    box = np.zeros((6, 6), dtype=bool)
    box[:4] = True
    there, gone = Masks.from_arrays([box]), Masks.empty((6, 6))
    ids = chain([there, there, gone, there, there], 0.5).ids
    assert [part.tolist() for part in ids] == [[1], [1], [], [2], [2]]
    assert chain([there], 0.5).ids[0].tolist() == [0]
