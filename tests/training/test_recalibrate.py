"""Scores are made to mean what they say; masks stay as they are."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from scipy.special import expit

from napari_sam_amg import AutomaticMaskGenerator
from recalibrate import changed, fit, logit
from reliability import Reliability


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.8, -0.9), (0.4, 1.2)])
def test_scale_and_shift_are_found_again(scale, shift):
    rng = np.random.default_rng(4)
    predicted = rng.uniform(0.02, 0.98, 200_000)
    # What is true scatters about the mean that belongs to what was predicted.
    mean = expit(scale * logit(predicted) + shift)
    true = rng.beta(8 * mean, 8 * (1 - mean))
    found = fit(predicted, true, np.ones_like(true))
    assert found == pytest.approx((scale, shift), abs=0.02)
    after = expit(found[0] * logit(predicted) + found[1])
    assert Reliability.of(after, true).error < 0.005


def test_weights_count():
    predicted = np.full(300, 0.5)
    true = np.repeat([0.0, 1.0], [200, 100])
    weights = np.repeat([1.0, 6.0], [200, 100])  # as much as 600 that are true, of 800
    scale, shift = fit(predicted, true, weights)
    assert expit(scale * 0 + shift) == pytest.approx(0.75, abs=1e-3)


def test_the_masks_stay_and_the_scores_change(nano, sample_images):
    scale, shift, steepness = 1.4, -0.8, 4.0
    other = copy.deepcopy(nano)
    other.load_state_dict(changed(nano.state_dict(), scale, shift, steepness))
    image = sample_images[0][:200, :260]
    # All candidates: NMS goes by predicted IoU, whose order stays but for rounding.
    settings = {"prompts": "grid", "points_per_side": 8, "box_nms_thresh": 1.0}
    before = AutomaticMaskGenerator(nano, **settings).propose(image)
    # A cutoff of 1 asks of logits that are four times as large what 1 / 4 did.
    quarter = AutomaticMaskGenerator(nano, **settings, stability_score_offset=0.25)
    expected = quarter.propose(image).stability_score
    after = AutomaticMaskGenerator(other, **settings).propose(image)
    assert len(before) == len(after) > 100
    everything = np.arange(len(before))
    pairs = zip(before.masks(everything), after.masks(everything), strict=True)
    differing = [int((a != b).sum()) for a, b in pairs]
    assert sum(differing) <= 1e-4 * before.areas.sum()
    np.testing.assert_allclose(
        after.predicted_iou, expit(scale * logit(before.predicted_iou) + shift), atol=1e-4
    )
    assert (after.stability_score >= before.stability_score - 1e-6).all()
    np.testing.assert_allclose(after.stability_score, expected, atol=0.01)


def test_what_was_given_is_left_alone(nano):
    weights = nano.state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    changed(weights, 2.0, 0.5, 3.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights.items())
