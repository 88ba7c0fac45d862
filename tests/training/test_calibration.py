"""What candidates are worth, beside brute force."""

from __future__ import annotations

import numpy as np
import pytest

from candidates import Candidates, separation, true_ious
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters
from reliability import BINS, Reliability, draw, error_interval


@pytest.fixture
def scene():
    """A label image, masks at random over it, and the prompt of each."""
    rng = np.random.default_rng(2)
    labels = np.repeat(np.repeat(rng.choice([0, 0, 1, 3, 6], (4, 5)), 6, 0), 6, 1).astype(
        np.uint16
    )
    masks = [rng.random(labels.shape) < share for share in rng.uniform(0.05, 0.9, 12)]
    masks[3] = labels == 6
    points = np.repeat(rng.uniform([0, 0], labels.shape[::-1], (4, 2)), 3, axis=0)
    return labels, masks, points.astype(np.float32)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_candidates_are_compared_with_the_best_and_with_their_own_object(scene):
    labels, masks, points = scene
    store = MaskStore.from_windows(labels.shape, [(0, 0, mask) for mask in masks])
    for row, mask in enumerate(masks):
        expected = [
            iou(mask, labels == label) if (labels == label).any() else 0 for label in range(7)
        ]
        np.testing.assert_allclose(true_ious(store, labels)[row], expected)
    table = MaskTable.unknown(store, predicted_iou=np.linspace(0, 1, 12), points=points)
    proposals = Proposals(
        store,
        table,
        area_high=np.arange(12),
        area_low=np.full(12, 11),
        crop_index=np.zeros(12),
        crop_boxes_all=[(0, 0, labels.shape[1], labels.shape[0])],
        parameters=AmgParameters(),
    )
    found = Candidates.of(proposals, labels)
    np.testing.assert_allclose(found.stability, np.arange(12) / 11, rtol=1e-6)
    for row, mask in enumerate(masks):
        x, y = points[row].astype(int)
        under = labels[y, x]
        assert found.background[row] == (under == 0)
        assert found.own[row] == pytest.approx(iou(mask, labels == under) if under else 0)
        objects = [iou(mask, labels == label) for label in (1, 3, 6)]
        assert found.best[row] == pytest.approx(max(objects))
        assert (found.prompt == found.prompt[row]).nonzero()[0].tolist() == [
            other for other in range(12) if (points[other] == points[row]).all()
        ]
    assert found.best[3] == 1


@pytest.mark.parametrize("seed", range(5))
def test_separation_is_the_share_of_pairs_in_the_right_order(seed):
    rng = np.random.default_rng(seed)
    values, good = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[good] for b in values[~good]]
    assert separation(values, good) == pytest.approx(np.mean(pairs))
    assert np.isnan(separation(values, np.ones(40, dtype=bool)))


def test_the_calibration_error_is_that_of_the_bins():
    rng = np.random.default_rng(0)
    predicted, true = rng.uniform(-0.1, 1.2, 300), rng.uniform(size=300)
    expected = 0
    for i in range(BINS):
        low = -np.inf if i == 0 else i / BINS
        high = np.inf if i == BINS - 1 else (i + 1) / BINS
        inside = (predicted >= low) & (predicted < high)
        expected += inside.sum() / 300 * abs(predicted[inside].mean() - true[inside].mean())
    whole = Reliability.of(predicted, true)
    assert whole.error == pytest.approx(expected)
    parts = {str(i): Reliability.of(predicted[i::3], true[i::3]) for i in range(3)}
    together = parts["0"] + parts["1"] + parts["2"]
    assert together.error == pytest.approx(expected)
    mean, low, high = error_interval(parts)
    assert mean == pytest.approx(expected)
    assert low < high
    perfect = {name: Reliability.of(true, true) for name in "ab"}
    assert error_interval(perfect) == [0, 0, 0]


def test_the_diagram_is_a_picture(tmp_path):
    import imageio.v3 as iio

    empty = Reliability.of(np.empty(0), np.empty(0))
    half = Reliability.of(np.array([0.25]), np.array([0.5]))
    draw(tmp_path / "diagram.png", {"one": half, "none": empty})
    picture = iio.imread(tmp_path / "diagram.png")
    bar = (np.abs(picture[..., :3].astype(int) - (0x7A, 0xA6, 0xD8)) < 12).all(-1)
    # One bar of half the height, a tenth as wide, in the third of ten places.
    assert bar.sum() == pytest.approx(30 * 150, rel=0.08)
    assert bar[:, 56 + 60 : 56 + 90].sum() == bar.sum()
