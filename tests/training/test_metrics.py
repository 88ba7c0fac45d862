"""Scores of label images and their intervals, beside brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metrics import LEVELS, average_precision, diameters, iou_matrix, matched, precisions
from resampling import intervals, shown


def brute_iou(true, found):
    rows = [true == i for i in np.unique(true) if i]
    columns = [found == j for j in np.unique(found) if j]
    return np.array([[(a & b).sum() / (a | b).sum() for b in columns] for a in rows]).reshape(
        len(rows), len(columns)
    )


def brute_matches(close):
    """Most pairs that share neither row nor column, by trying all of them."""
    if not close.size:
        return 0
    if len(close) > len(close[0]):
        close = close.T
    ways = itertools.permutations(range(close.shape[1]), len(close))
    return max(sum(close[i, j] for i, j in enumerate(way)) for way in ways)


@pytest.mark.parametrize("seed", range(8))
def test_ious_and_diameters_are_those_of_counting_pixels(seed):
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([[0], rng.choice(np.arange(1, 4000), 5, replace=False)])
    true = rng.choice(numbers, (24, 17)).astype(np.uint16)
    found = np.repeat(np.repeat(rng.integers(0, 4, (6, 5)), 4, 0), 4, 1)[:, :17]
    np.testing.assert_allclose(iou_matrix(true, found), brute_iou(true, found), rtol=1e-12)
    areas = [np.count_nonzero(true == i) for i in np.unique(true) if i]
    np.testing.assert_allclose(np.pi / 4 * diameters(true) ** 2, areas)


@pytest.mark.parametrize("seed", range(20))
def test_precision_is_that_of_the_best_of_all_pairings(seed):
    rng = np.random.default_rng(seed)
    iou = rng.choice([0, 0.3, 0.5, 0.55, 0.62, 0.75, 0.8, 0.95, 1], rng.integers(0, 6, 2))
    expected = []
    for step in range(50, 100, 5):
        hits = brute_matches(iou >= step / 100)
        total = sum(iou.shape) - hits
        expected.append(hits / total if total else 1)
        assert matched(iou, step / 100).sum() == hits
    assert precisions(iou) == pytest.approx(expected, abs=1e-12)
    assert average_precision(iou, 0.75) == precisions(iou)[LEVELS.index(0.75)]
    assert len(LEVELS) == 10


@pytest.mark.parametrize(
    ("true", "found", "expected"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
        ([0, 0, 0, 0], [0, 0, 2, 2], 0.0),
        ([3, 3, 0, 0], [0, 0, 0, 0], 0.0),
        ([3, 3, 7, 7], [1, 1, 0, 0], 0.5),
        ([3, 3, 3, 3], [1, 1, 2, 2], 0.5),  # two halves at exactly 0.5: one counts, one is wrong
    ],
)
def test_precision_of_simple_rows(true, found, expected):
    iou = iou_matrix(np.array([true]), np.array([found]))
    assert average_precision(iou, 0.5) == expected


def all_means(values, weights, fields):
    """Weighted means over every way to draw as many fields; all ways are as likely."""
    names = sorted(set(fields))
    means = []
    for drawn in itertools.product(names, repeat=len(names)):
        rows = [i for name in drawn for i, field in enumerate(fields) if field == name]
        means.append(np.average(np.take(values, rows), weights=np.take(weights, rows)))
    return means


@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_are_those_of_all_ways_to_draw_the_fields(weighted):
    rng = np.random.default_rng(3)
    fields = ["a", "a", "b", "c", "c", "c", "d", "e"]
    values = rng.uniform(size=8)
    weights = rng.integers(1, 9, 8) if weighted else np.ones(8)
    found = intervals(values, fields, weights=weights, draws=40_000)
    assert found[0] == pytest.approx(np.average(values, weights=weights))
    means = all_means(values, weights, fields)
    for end, share in zip(found[1:], (0.025, 0.975), strict=True):
        # Five standard errors of a share among 40,000 draws.
        least, most = np.quantile(means, [share - 0.004, share + 0.004])
        assert least - 1e-9 <= end <= most + 1e-9


def test_intervals_of_columns_are_those_of_each_alone():
    rng = np.random.default_rng(0)
    values, fields = rng.normal(size=(30, 2)), [str(i // 3) for i in range(30)]
    both = intervals(values, fields)
    for column in range(2):
        np.testing.assert_allclose(both[:, column], intervals(values[:, column], fields))
    assert not np.allclose(both[1], intervals(values, fields, seed=1)[1])


def test_ninety_five_of_a_hundred_intervals_hold_the_truth():
    rng = np.random.default_rng(0)
    fields = [str(i // 2) for i in range(120)]
    held = 0
    for _ in range(400):
        of_field = np.repeat(rng.normal(size=60), 2)
        _, low, high = intervals(of_field + 0.3 * rng.normal(size=120), fields, draws=500)
        held += low <= 0 <= high
    assert 0.91 <= held / 400 <= 0.98


def test_a_single_field_has_no_interval_and_no_objects_no_share():
    assert np.isnan(intervals([0.5, 0.7], ["a", "a"])).tolist() == [False, True, True]
    nothing = intervals([np.nan, np.nan], ["a", "b"], weights=[0, 0])
    assert np.isnan(nothing).all()
    share = intervals([np.nan, 0.5], ["a", "b"], weights=[0, 4])
    assert share.tolist() == [0.5, 0.5, 0.5]
    assert shown(nothing) == "-"
    assert shown([0.5, np.nan, np.nan]) == "0.500"
    assert shown([0.25, -0.5, 1], signed=True) == "+0.250 (-0.500 to +1.000)"
