"""How a field moves as a whole from one time point to the next."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]

REACH = 4.0
"""Diameters that a field may move by from one time point to the next."""

_FEWEST = 4
"""Objects of which fewer say nothing of the field."""

_MOST = 500
"""Objects of which differences are taken."""

_PREFERENCE = 0.8
"""No drift is assumed if the support for it is at least this share of the best one."""


def drift(
    before: Places,
    after: Places,
    sizes: npt.NDArray[np.integer],
    sizes_after: npt.NDArray[np.integer],
    diameter: float,
) -> Places:
    """Estimate the displacement that most objects agree on.

    The differences between the places of all objects and all later ones of like size within reach
    are most dense where they are those of the same objects; from there, the median over the
    objects that are each other's nearest.

    Parameters
    ----------
    before, after : ndarray, float64, Nx3 and Mx3
        Centroids, in units in which pixels have equal sides.
    sizes, sizes_after : ndarray, N and M
        Pixels of the objects.
    diameter : float
        Of a typical object, in the same units.

    Returns
    -------
    ndarray, float64, 3
        0 where there are too few objects to tell.
    """
    from scipy.spatial import KDTree

    none = np.zeros(3)
    if min(len(before), len(after)) < _FEWEST:
        return none
    some = np.linspace(0, len(before) - 1, min(len(before), _MOST)).astype(np.int64)
    pairs = KDTree(before[some]).sparse_distance_matrix(
        KDTree(after), REACH * diameter, output_type="ndarray"
    )
    i, j = some[pairs["i"]], pairs["j"]
    ratio = sizes[i] / sizes_after[j]
    alike = (ratio > 0.5) & (ratio < 2)
    steps = after[j[alike]] - before[i[alike]]
    if len(steps) < _FEWEST:
        return none
    radius = diameter / 4
    tree = KDTree(steps)
    support = tree.query_ball_point(steps, radius, return_length=True)
    best = steps[int(np.argmax(support))]
    resting = tree.query_ball_point(none, radius, return_length=True)
    if resting >= _PREFERENCE * support.max():
        best = none
    for _ in range(5):  # to the middle of where they are dense
        near = tree.query_ball_point(best, radius)
        if not near:
            return none
        best = steps[near].mean(axis=0)
    return _refined(before, after, best, diameter)


def _refined(before: Places, after: Places, about: Places, diameter: float) -> Places:
    from scipy.spatial import KDTree

    moved = before + about
    distance, partner = KDTree(after).query(moved)
    back = KDTree(moved).query(after)[1]
    mutual = (back[partner] == np.arange(len(before))) & (distance < diameter / 2)
    if np.count_nonzero(mutual) < _FEWEST:
        return about
    steps: Places = np.median(after[partner[mutual]] - before[mutual], axis=0)
    return steps
