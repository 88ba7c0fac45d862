"""Which links to make, so that their worth is greatest together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import Indices, offsets, portions

_NODES_AT_ONCE = 4096
"""The solver's time goes with the square of the nodes that it is given at once."""


def best_links(
    one: Indices, other: Indices, worth: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Choose links of the greatest worth in all, no node being in two of them.

    A linear assignment in which nodes may stay unlinked, solved by the algorithm of Jonker and
    Volgenant (1987) for sparse costs, for each group of nodes that hang together by itself.

    Parameters
    ----------
    one, other : ndarray, int64, P
        Nodes of the two sides that a link is between; no pair twice.
    worth : ndarray, float64, P
        What it is worth to make the link; one of 0 or less is never made.

    Returns
    -------
    ndarray, bool, P
    """
    chosen = np.zeros(len(one), dtype=np.bool_)
    useful = np.flatnonzero(worth > 0)
    if not len(useful):
        return chosen
    one, other, worth = one[useful], other[useful], worth[useful]
    group = _groups(one, other)
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    single = sizes[group] == 1
    chosen[useful[single]] = True
    order = order[~single[order]]
    for first, last in portions(offsets(sizes[sizes > 1]), _NODES_AT_ONCE):
        bounds = offsets(sizes[sizes > 1])
        part = order[bounds[first] : bounds[last]]
        chosen[useful[part[_assigned(one[part], other[part], worth[part])]]] = True
    return chosen


def _groups(one: Indices, other: Indices) -> Indices:
    """Return which of the groups that hang together each link is in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left = int(one.max()) + 1
    total = left + int(other.max()) + 1
    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other + left)), (total, total))
    labels = connected_components(graph, directed=False)[1]
    groups: Indices = np.unique(labels[one], return_inverse=True)[1]
    return groups


def _assigned(one: Indices, other: Indices, worth: npt.NDArray[np.float64]) -> Indices:
    """Return which of some links are made."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    rows, row = np.unique(one, return_inverse=True)
    columns, column = np.unique(other, return_inverse=True)
    # A column of its own for each row stands for no link, so that every row can be matched. The
    # solver takes costs of 0 for missing, so all costs are raised.
    none = worth.max() + 1
    alone = np.arange(len(rows))
    costs = np.concatenate([none - worth, np.full(len(rows), none)])
    places = (np.concatenate([row, alone]), np.concatenate([column, alone + len(columns)]))
    matrix = coo_array((costs, places), (len(rows), len(columns) + len(rows))).tocsr()
    matched_row, matched = min_weight_full_bipartite_matching(matrix)
    partner = np.empty(len(rows), dtype=np.int64)
    partner[matched_row] = matched
    return np.flatnonzero(partner[row] == column)


def chains(count: int, one: Indices, other: Indices) -> Indices:
    """Return which of the chains that links make each node is in.

    Parameters
    ----------
    count : int
        Nodes.
    one, other : ndarray, int64, L
        Links from a node to a later one.

    Returns
    -------
    ndarray, int64, count
        The chain of each node, from 0, in the order of their first nodes.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), (count, count))
    labels = connected_components(graph, directed=False)[1]
    return renumbered(labels)


def renumbered(labels: npt.NDArray[np.integer]) -> Indices:
    """Return labels numbered from 0 in the order in which they first come."""
    _, first, index = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    ranks: Indices = rank[index]
    return ranks
