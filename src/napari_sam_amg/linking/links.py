"""Links between the objects of time points."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.divisions import Nodes
from napari_sam_amg.linking.drift import drift
from napari_sam_amg.linking.matching import best_links
from napari_sam_amg.linking.overlap import overlap
from napari_sam_amg.masks.ragged import Indices, offsets

if TYPE_CHECKING:
    from napari_sam_amg.linking.objects import Objects
    from napari_sam_amg.linking.parameters import TrackParameters

GAP_WORTH = 0.6
"""What a link is worth for each time point that it leaves out, as a share."""

LEAST_WORTH = 0.15
"""Links that are worth no more than this are not made: the objects rather begin and end."""


class Links:
    """Links between the objects of time points, which are added one after the other."""

    def __init__(
        self,
        parameters: TrackParameters,
        scale: npt.NDArray[np.float64],
        diameter: float,
        distance: float,
    ) -> None:
        self._parameters, self._scale = parameters, scale
        self._diameter, self._distance = diameter, distance
        self._recent: deque[Objects] = deque(maxlen=parameters.max_gap + 1)
        self._one: list[Indices] = [np.empty(0, dtype=np.int64)]
        self._other: list[Indices] = [np.empty(0, dtype=np.int64)]
        self._worth: list[npt.NDArray[np.float64]] = [np.empty(0)]
        self._sizes: list[Indices] = []
        self.centroids: list[npt.NDArray[np.float64]] = []
        """Of each time point, in pixels."""
        self.drift: list[npt.NDArray[np.float64]] = []
        """Of each time point from the first, in pixels."""

    @property
    def starts(self) -> Indices:
        """Number of the first object of each time point, and of all."""
        return offsets([len(sizes) for sizes in self._sizes])

    def add(self, objects: Objects) -> None:
        """Compare the objects of the next time point with those before."""
        self._sizes.append(objects.sizes)
        self.centroids.append(objects.centroids)
        moved = np.zeros(3)
        if self.drift:
            moved = self.drift[-1].copy()
            if self._parameters.drift:
                moved += self._drift()
        self.drift.append(moved)
        for gap, earlier in enumerate(reversed(self._recent)):
            self._compare(earlier, objects, gap)
        self._recent.append(objects)

    def _drift(self) -> npt.NDArray[np.float64]:
        before, after = (places * self._scale for places in self.centroids[-2:])
        moved = drift(before, after, self._sizes[-2], self._sizes[-1], self._diameter)
        return moved / self._scale

    def _compare(self, earlier: Objects, objects: Objects, gap: int) -> None:
        from scipy.spatial import KDTree

        now = len(self.drift) - 1
        moved = self.drift[now] - self.drift[now - gap - 1]
        reach = self._distance * np.sqrt(gap + 1)  # as by diffusion
        places = ((objects.centroids - moved) * self._scale, earlier.centroids * self._scale)
        pairs = KDTree(places[1]).sparse_distance_matrix(
            KDTree(places[0]), reach, output_type="ndarray"
        )
        one, other = pairs["i"].astype(np.int64), pairs["j"].astype(np.int64)
        back = np.rint(-moved).astype(int).tolist()
        iou = _looked_up(one, other, earlier, objects, (back[0], back[1], back[2]))
        small, large = np.sort([earlier.sizes[one], objects.sizes[other]], axis=0)
        # What the border cuts off is of any size.
        cut = earlier.at_border[one] | objects.at_border[other]
        ratio = np.where(cut, 1.0, small / large)
        near = iou >= self._parameters.min_overlap
        starts = self.starts
        self._one.append(one[near] + starts[now - gap - 1])
        self._other.append(other[near] + starts[now])
        worth = _worth(pairs["v"] / reach, iou, ratio)
        self._worth.append(worth[near] * GAP_WORTH**gap)

    def _best(self) -> tuple[Indices, Indices]:
        """Return the objects that links are made between."""
        one, other = np.concatenate(self._one), np.concatenate(self._other)
        chosen = best_links(one, other, np.concatenate(self._worth) - LEAST_WORTH)
        return one[chosen], other[chosen]

    def nodes(self) -> Nodes:
        """Choose the links."""
        one, other = self._best()
        count = int(self.starts[-1])
        before, after = np.full((2, count), -1, dtype=np.int64)
        before[other], after[one] = one, other
        frame = np.repeat(np.arange(len(self._sizes)), np.diff(self.starts))
        places = np.concatenate([*self.centroids, np.empty((0, 3))])
        resting = (places - np.array(self.drift)[frame]) * self._scale
        return Nodes(frame, resting, np.concatenate(self._sizes), before, after)


def _worth(
    apart: npt.NDArray[np.float64], iou: npt.NDArray[np.float64], ratio: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return what links are worth, 0 to 1.

    Parameters
    ----------
    apart : ndarray, float64, P
        Distance, as a share of the largest.
    iou : ndarray, float64, P
    ratio : ndarray, float64, P
        The smaller size divided by the larger one.
    """
    # So that objects of one size that share no pixel are linked just up to the largest distance.
    nearness = 1 - (1 - 2 * LEAST_WORTH) * apart**2
    worth: npt.NDArray[np.float64] = nearness * (1 + iou) / 2 * ratio
    return worth


def _looked_up(
    one: Indices, other: Indices, earlier: Objects, objects: Objects, shift: tuple[int, int, int]
) -> npt.NDArray[np.float64]:
    """Return the IoU of some pairs."""
    shared = overlap(earlier, objects, shift)
    if not len(shared.iou):
        return np.zeros(len(one))
    keys = shared.one * len(objects) + shared.other
    wanted = one * len(objects) + other
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, shared.iou[place], 0.0)
