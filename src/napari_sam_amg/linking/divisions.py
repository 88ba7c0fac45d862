"""Which objects came from the division of another."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.masks.ragged import Indices

LIKENESS = 0.5
"""The smaller daughter has at least this share of the larger one's pixels."""

SHRINKAGE = 0.85
"""Each daughter has at most this share of the pixels that the mother had lately."""

SUM = (0.5, 1.8)
"""Daughters together have pixels of the mother's by between these shares."""

OFF_CENTRE = 0.7
"""How far the daughters' middle may lie from the mother, as a share of half their distance. If an
object stays where it is and another comes up beside it, it is 1."""

_BEFORE, _AFTER = 5, 3
"""Objects of a track, up to the division and from it on, that its size is taken from."""

Division = tuple[int, int, int]
"""The last object of the mother, and the first ones of the daughters."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """N objects of all time points, and the links between them.

    Attributes
    ----------
    frame : ndarray, int64, N
        Time point; rising.
    places : ndarray, float64, Nx3
        Centroids with drift taken out, in units in which pixels have equal sides.
    sizes : ndarray, int64, N
        Pixels.
    before, after : ndarray, int64, N
        The object that each is linked to earlier and later, -1 for none.
    """

    frame: Indices
    places: npt.NDArray[np.float64]
    sizes: Indices
    before: Indices
    after: Indices

    def chain_sizes(self, rows: Indices, links: Indices, count: int) -> npt.NDArray[np.float64]:
        """Return the pixels of objects and those linked to them one way, NaN after the last."""
        sizes = np.full((len(rows), count), np.nan)
        for column in range(count):
            there = rows >= 0
            sizes[there, column] = self.sizes[rows[there]]
            rows = np.where(there, links[rows], -1)
        return sizes


def divisions(nodes: Nodes, *, distance: float, max_gap: int) -> list[Division]:
    """Find objects that divide.

    As in the second step of Jaqaman et al. (Nature Methods 5, 2008), tracks that begin are given
    to tracks that pass or end nearby. A division needs two daughters: what the track goes on as
    and one that begins, or two that begin. They are taken by falling worth.

    Parameters
    ----------
    nodes : Nodes
        Linked objects.
    distance : float
        How far daughters may be from the mother at the next time point.
    max_gap : int
        Time points that a daughter may be missed at.

    Returns
    -------
    list of (int, int, int)
        Each mother at most once, and each daughter.
    """
    triples = np.array(list(_triples(nodes, distance, max_gap)), dtype=np.int64).reshape(-1, 3)
    worth = _worth(nodes, *triples.T)
    found: list[Division] = []
    taken: set[int] = set()
    for place in np.argsort(-worth, kind="stable").tolist():
        mother, one, other = triples[place].tolist()
        # A mother has a number of its own: an object can be a daughter, and divide.
        members = {~mother, one, other}
        if worth[place] > 0 and not members & taken:
            taken |= members
            found.append((mother, one, other))
    return found


def _triples(nodes: Nodes, distance: float, max_gap: int) -> Iterator[Division]:
    """Yield mothers and daughters that are near enough."""
    from scipy.spatial import KDTree

    starts = np.flatnonzero((nodes.before < 0) & _lasting(nodes) & (nodes.frame > 0))
    mothers = np.flatnonzero(nodes.frame < nodes.frame.max(initial=0))
    if not len(starts) or not len(mothers):
        return
    # Time as a further axis, so that only those of the time about are compared.
    far = distance * np.sqrt(max_gap + 1)
    reach, step = 2 * far, far / (max_gap + 1)
    trees = [
        KDTree(np.column_stack([nodes.places[rows], nodes.frame[rows] * step]))
        for rows in (mothers, starts)
    ]
    pairs = trees[0].sparse_distance_matrix(trees[1], reach, output_type="ndarray")
    mother, start = mothers[pairs["i"]], starts[pairs["j"]]
    later = nodes.frame[start] - nodes.frame[mother]
    apart = np.linalg.norm(nodes.places[start] - nodes.places[mother], axis=1)
    soon = (later >= 1) & (later <= max_gap + 1)
    soon &= apart <= distance * np.sqrt(np.maximum(later, 1))
    order = np.argsort(mother[soon], kind="stable")
    near = zip(mother[soon][order].tolist(), start[soon][order].tolist(), strict=True)
    for row, group in itertools.groupby(near, key=lambda pair: pair[0]):
        others = [other for _, other in group]
        if nodes.after[row] >= 0:
            yield from ((row, int(nodes.after[row]), other) for other in others)
        else:
            yield from ((row, one, other) for one, other in itertools.combinations(others, 2))


def _lasting(nodes: Nodes) -> npt.NDArray[np.bool_]:
    """Tell which are seen again, or are of the last time point: a piece of a mask is not."""
    last = nodes.frame == nodes.frame.max(initial=0)
    lasting: npt.NDArray[np.bool_] = (nodes.after >= 0) | last
    return lasting


def _worth(nodes: Nodes, mother: Indices, one: Indices, other: Indices) -> npt.NDArray[np.float64]:
    """Return how well triples fit, 1 at best; 0 if they cannot be."""
    if not len(mother):
        return np.empty(0)
    before = np.sort(nodes.chain_sizes(mother, nodes.before, _BEFORE), axis=1)
    # The second largest, if there are two: one mask may be too large, and nuclei shrink before
    # they divide.
    known = np.count_nonzero(~np.isnan(before), axis=1)
    usual = before[np.arange(len(mother)), np.maximum(known - 2, 0)]
    sizes = [np.nanmedian(nodes.chain_sizes(d, nodes.after, _AFTER), axis=1) for d in (one, other)]
    small, large = np.sort(sizes, axis=0)
    likeness, together = small / large, (small + large) / usual
    places = nodes.places
    apart = np.linalg.norm(places[one] - places[other], axis=1)
    middle = (places[one] + places[other]) / 2
    off = 2 * np.linalg.norm(middle - places[mother], axis=1) / np.maximum(apart, 1e-9)
    fits = (likeness >= LIKENESS) & (large <= SHRINKAGE * usual) & (off <= OFF_CENTRE)
    fits &= (together >= SUM[0]) & (together <= SUM[1])
    fits &= _lasting(nodes)[one] & _lasting(nodes)[other]
    fits &= np.abs(nodes.frame[one] - nodes.frame[other]) <= 1
    return np.where(fits, likeness * (1 - off / 2), 0.0)
