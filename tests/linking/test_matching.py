"""Which links are made, against dense assignment, and chains against a walk along them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from _scale import scaled
from napari_sam_amg.linking import matching
from napari_sam_amg.linking.matching import best_links, chains, renumbered


def random_links(rng, left, right, count):
    cells = rng.choice(left * right, min(count, left * right), replace=False)
    one, other = np.divmod(cells, right)
    return one, other, rng.normal(0.3, 0.4, len(cells))


@pytest.mark.parametrize("seed", range(scaled(200)))
def test_worth_is_that_of_dense_assignment(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(1, 40, 2).tolist()
    one, other, worth = random_links(rng, left, right, int(rng.integers(1, 4 * left)))
    dense = np.zeros((left, right))
    dense[one, other] = np.maximum(worth, 0)
    best = dense[linear_sum_assignment(dense, maximize=True)].sum()
    for most in (1, 8, 4096):
        monkeypatch.setattr(matching, "_NODES_AT_ONCE", most)
        chosen = best_links(one, other, worth)
        assert worth[chosen].sum() == pytest.approx(best)
        assert (worth[chosen] > 0).all()
        for side in (one, other):
            assert len(np.unique(side[chosen])) == np.count_nonzero(chosen)


def test_many_nodes_that_hang_together():
    count = 30_000  # dense assignment would need 7 GB
    rng = np.random.default_rng(0)
    one = np.repeat(np.arange(count), 2)
    other = np.stack([np.arange(count), (np.arange(count) + 1) % count], axis=1).ravel()
    worth = rng.uniform(0.1, 1, len(one))
    chosen = best_links(one, other, worth)
    # All links in one ring: either way round is a full matching, and mixtures miss nodes.
    assert len(np.unique(one[chosen])) == len(one[chosen]) == len(np.unique(other[chosen]))
    assert worth[chosen].sum() >= max(worth[0::2].sum(), worth[1::2].sum()) - 1e-9


@pytest.mark.parametrize("worth", [[], [0.0], [-1.0, 0.0]])
def test_nothing_is_linked_for_nothing(worth):
    places = np.arange(len(worth))
    assert not best_links(places, places, np.array(worth)).any()


@pytest.mark.parametrize("seed", range(5))
def test_chains(seed):
    rng = np.random.default_rng(seed)
    after = {}
    free = list(range(60))
    for node in range(60):
        later = [n for n in free if n > node]
        if later and rng.random() < 0.7:
            after[node] = int(rng.choice(later[:5]))
            free.remove(after[node])
    expected = np.full(60, -1)
    count = 0
    for node in range(60):
        if node not in after.values():
            walk = node
            expected[walk] = count
            while walk in after:
                walk = after[walk]
                expected[walk] = count
            count += 1
    one, other = (np.array(list(ends), dtype=np.int64) for ends in (after, after.values()))
    np.testing.assert_array_equal(chains(60, one, other), expected)


def test_renumbered():
    assert renumbered(np.array([7, 3, 7, 0, 3])).tolist() == [0, 1, 0, 2, 1]
    assert renumbered(np.array([], dtype=int)).tolist() == []
