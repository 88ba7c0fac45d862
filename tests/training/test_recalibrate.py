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


def _scored(model, scale, shift, steepness):
    other = copy.deepcopy(model)
    other.load_state_dict(changed(model.state_dict(), scale, shift, steepness))
    other.sam_mask_decoder.dynamic_multimask_stability_delta *= steepness
    return other


@pytest.mark.parametrize(
    ("option", "steepness"),
    [
        ({}, 4.0),
        ({"multimask_output": False}, 4.0),
        # From logits so small that none meets sam2's bounds, before or after.
        ({"use_m2m": True}, 1 / 8),
        ({"use_m2m": True, "multimask_output": False}, 1 / 8),
    ],
    ids=str,
)
def test_the_masks_stay_and_the_scores_change(nano, sample_images, option, steepness):
    scale, shift = 1.4, -0.8
    one = _scored(nano, 1.0, 0.0, 1 / 64) if "use_m2m" in option else nano
    other = _scored(one, scale, shift, steepness)
    image = sample_images[0][:200, :260]
    # All candidates: NMS goes by predicted IoU, whose order stays but for rounding.
    settings = {"prompts": "grid", "points_per_side": 12, "box_nms_thresh": 1.0, **option}
    before = AutomaticMaskGenerator(one, **settings).propose(image)
    # A cutoff of 1 asks of logits that are s times as large what 1 / s did.
    as_much = AutomaticMaskGenerator(one, **settings, stability_score_offset=1 / steepness)
    expected = as_much.propose(image).stability_score
    after = AutomaticMaskGenerator(other, **settings).propose(image)
    assert len(before) == len(after) > 100
    everything = np.arange(len(before))
    pairs = zip(before.masks(everything), after.masks(everything), strict=True)
    differing = [int((a != b).sum()) for a, b in pairs]
    assert sum(differing) <= 1e-4 * before.areas.sum()
    np.testing.assert_allclose(
        after.predicted_iou, expit(scale * logit(before.predicted_iou) + shift), atol=1e-4
    )
    steeper = np.sign(steepness - 1) * (after.stability_score - before.stability_score)
    assert (steeper >= -1e-6).all()
    np.testing.assert_allclose(after.stability_score, expected, atol=0.01)


def test_what_was_given_is_left_alone(nano):
    weights = nano.state_dict()
    before = {name: tensor.clone() for name, tensor in weights.items()}
    changed(weights, 2.0, 0.5, 3.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in weights.items())
