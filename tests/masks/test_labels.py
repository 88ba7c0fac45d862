"""Label images: every overlap rule, every size of label."""

from __future__ import annotations

import numpy as np
import pytest

from _masks import RULES, brute_force, random_stack
from _scale import scaled
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks import Masks, MaskStore, MaskTable


@pytest.mark.parametrize("rule", [*RULES, "discard_overlaps"])
@pytest.mark.parametrize("seed", range(scaled(100)))
def test_rules_against_brute_force(rule, seed):
    rng = np.random.default_rng([seed, 1])
    stack = random_stack(rng, 14, tuple(rng.integers(1, 24, 2).tolist()))
    scores = rng.choice([np.nan, -np.inf, 0.25, 0.5, 0.75, 1.25], 14).astype(np.float32)
    expected = brute_force(stack, scores, rule)
    masks = Masks.from_arrays(stack, predicted_iou=scores)
    labels = masks.to_labels(rule)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, expected)
    assert masks.store.has_spans is (rule == "discard_overlaps")
    masks.store.prepare()  # then they are drawn from spans
    np.testing.assert_array_equal(masks.to_labels(rule), expected)
    own = Masks.from_arrays(stack, predicted_iou=scores, overlap=rule)
    np.testing.assert_array_equal(own.to_labels(), expected)
    visible = np.bincount(expected.ravel(), minlength=15)[1:]
    np.testing.assert_array_equal(own.features["area_visible"], visible)


def test_default_is_smallest_on_top():
    stack = np.zeros((2, 3, 3), dtype=bool)
    stack[0, 1, 1] = True
    stack[1] = True
    assert Masks.from_arrays(stack).to_labels().tolist() == [[2, 2, 2], [2, 1, 2], [2, 2, 2]]


@pytest.mark.parametrize("rule", ["smallest", "", "SMALLEST_ON_TOP"])
def test_unknown_rule_is_refused(rule):
    masks = Masks.empty((3, 3))
    with pytest.raises(ParameterError, match=r"smallest_on_top.*discard_overlaps"):
        masks.to_labels(rule)
    with pytest.raises(ParameterError, match="smallest_on_top"):
        Masks.empty((3, 3), overlap=rule)


def chain(count):
    """Masks of one pixel each, in a row; every third covers the next one's pixel as well."""
    shape = (320, 320)
    items, areas = [], []
    one, across = np.ones((1, 1), dtype=bool), np.ones((1, 2), dtype=bool)
    wrapped = np.zeros((2, 320), dtype=bool)
    wrapped[0, -1] = wrapped[1, 0] = True
    for i in range(count):
        y, x = divmod(i, 320)
        if i % 3:
            items.append((x, y, one))
        elif x < 319:
            items.append((x, y, across))
        else:
            items.append((0, y, wrapped))
        areas.append(1 if i % 3 else 2)
    store = MaskStore.from_windows(shape, items)
    return Masks(store, MaskTable.unknown(store)), np.array(areas)


@pytest.mark.parametrize(
    ("count", "dtype"),
    [
        (0, np.uint8),
        (1, np.uint8),
        (255, np.uint8),
        (256, np.uint16),
        (65_535, np.uint16),
        (65_536, np.uint32),
        (100_000, np.uint32),
    ],
)
def test_any_number_of_labels(count, dtype):
    masks, areas = chain(count)
    labels = masks.to_labels()
    expected = np.zeros(320 * 320, dtype=np.int64)
    expected[:count] = np.arange(1, count + 1)
    last_reaches_out = count % 3 == 1
    if last_reaches_out:
        expected[count] = count
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels.ravel(), expected)

    place = np.arange(count) % 3
    fraction = np.choose(place, [0.5, 1.0, 0.0])
    parent = np.where(place == 1, np.arange(count), 0)
    visible = np.ones(count)
    if last_reaches_out:
        fraction[-1], visible[-1] = 0, 2
    features = masks.features
    np.testing.assert_array_equal(features["label"], np.arange(1, count + 1))
    np.testing.assert_array_equal(features["area"], areas)
    np.testing.assert_array_equal(features["overlap_fraction"], fraction)
    np.testing.assert_array_equal(features["area_visible"], visible)
    np.testing.assert_array_equal(features["parent"], parent)

    unshared = masks.to_labels("discard_overlaps").ravel()
    expected[:count][place == 1] = 0
    np.testing.assert_array_equal(unshared, expected)
    assert unshared.dtype == dtype
