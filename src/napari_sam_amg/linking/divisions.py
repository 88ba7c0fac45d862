"""Which objects came from the division of another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.matching import best_links

if TYPE_CHECKING:
    from napari_sam_amg.masks.ragged import Indices

LIKENESS = 0.5
"""The smaller daughter has at least this share of the larger one's pixels."""

SHRINKAGE = 0.9
"""Each daughter has at most this share of the pixels that the mother had at her largest lately."""

SUM = (0.5, 1.8)
"""Daughters together have pixels of the mother's by between these shares."""

OFF_CENTRE = 0.6
"""How far the daughters' middle may lie from the mother, as a share of half their distance. If an
object stays where it is and another comes up beside it, it is 1."""

_LATELY = 3


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


def divisions(nodes: Nodes, *, distance: float, max_gap: int) -> tuple[Indices, Indices]:
    """Find objects that divide.

    After Jaqaman et al. (Nature Methods 5, 2008): tracks that begin are assigned, one to one and
    at the greatest worth, to tracks that pass nearby.

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
    mothers, daughters : ndarray, int64
        The last object of each that divides, and the first one of the daughter that it is not
        linked to; the other daughter is what it is linked to.
    """
    from scipy.spatial import KDTree

    starts = np.flatnonzero((nodes.before < 0) & _lasting(nodes) & (nodes.frame > 0))
    passing = np.flatnonzero(nodes.after >= 0)
    none = np.empty(0, dtype=np.int64)
    if not len(starts) or not len(passing):
        return none, none
    reach = distance * np.sqrt(max_gap + 1)
    pairs = KDTree(nodes.places[starts]).sparse_distance_matrix(
        KDTree(nodes.places[passing]), reach, output_type="ndarray"
    )
    daughter, mother = starts[pairs["i"]], passing[pairs["j"]]
    later = nodes.frame[daughter] - nodes.frame[mother]
    soon = (
        (later >= 1)
        & (later <= max_gap + 1)
        & (pairs["v"] <= distance * np.sqrt(np.maximum(later, 1)))
    )
    daughter, mother = daughter[soon], mother[soon]
    worth = _worth(nodes, mother, daughter)
    chosen = best_links(daughter, mother, worth)
    return mother[chosen], daughter[chosen]


def _lasting(nodes: Nodes) -> npt.NDArray[np.bool_]:
    """Tell which are seen again, or are of the last time point: a piece of a mask is not."""
    last = nodes.frame == nodes.frame.max(initial=0)
    lasting: npt.NDArray[np.bool_] = (nodes.after >= 0) | last
    return lasting


def _worth(nodes: Nodes, mother: Indices, daughter: Indices) -> npt.NDArray[np.float64]:
    """Return how well pairs fit, 1 at best; 0 if they cannot be."""
    sister = nodes.after[mother]
    sizes = nodes.sizes.astype(np.float64)
    small, large = np.sort([sizes[daughter], sizes[sister]], axis=0)
    likeness = small / large
    share = large / _largest(nodes, mother)
    together = (small + large) / sizes[mother]
    apart = np.linalg.norm(nodes.places[daughter] - nodes.places[sister], axis=1)
    middle = (nodes.places[daughter] + nodes.places[sister]) / 2
    off = 2 * np.linalg.norm(middle - nodes.places[mother], axis=1) / np.maximum(apart, 1e-9)
    fits = (likeness >= LIKENESS) & (share <= SHRINKAGE) & (off <= OFF_CENTRE)
    fits &= (together >= SUM[0]) & (together <= SUM[1]) & _lasting(nodes)[sister]
    # A sister of before the daughter, or after, still has to be one of the time about.
    fits &= np.abs(nodes.frame[sister] - nodes.frame[daughter]) <= 1
    return np.where(fits, likeness * (1 - off / 2), 0.0)


def _largest(nodes: Nodes, rows: Indices) -> npt.NDArray[np.float64]:
    """Return the most pixels that objects had lately: they shrink before they divide."""
    largest = nodes.sizes[rows].astype(np.float64)
    earlier = rows
    for _ in range(_LATELY):
        earlier = np.where(earlier >= 0, nodes.before[earlier], -1)
        largest = np.maximum(largest, np.where(earlier >= 0, nodes.sizes[earlier], 0))
    return largest
