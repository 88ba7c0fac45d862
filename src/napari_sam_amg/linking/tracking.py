"""Objects of consecutive time points, linked into tracks."""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.divisions import Nodes, divisions
from napari_sam_amg.linking.drift import drift
from napari_sam_amg.linking.frames import Frame, Frames
from napari_sam_amg.linking.matching import Candidates, chains, renumbered
from napari_sam_amg.linking.overlap import overlap
from napari_sam_amg.linking.parameters import TrackParameters
from napari_sam_amg.linking.provenance import describe
from napari_sam_amg.linking.sizes import PixelSize, checked_size
from napari_sam_amg.linking.steps import LinkStep, finished
from napari_sam_amg.linking.tracks import Tracks
from napari_sam_amg.masks.ragged import Indices, offsets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_sam_amg.linking.objects import Objects

GAP_WORTH = 0.8
"""What a link is worth for each time point that it leaves out, as a share."""


def track_objects(
    frames: Sequence[Frame] | npt.NDArray[np.integer],
    *,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
    **parameters: Any,
) -> Tracks:
    """Follow objects through time.

    After Jaqaman et al. (Nature Methods 5, 2008), with linking and closing of gaps in one: all
    links of the series are chosen at once, each object having at most one predecessor and one
    successor, such that the sum of their worth is greatest. That falls with the squared distance
    (drift taken out), and rises with overlap and likeness of size. Then tracks that begin are
    assigned to those that divide.

    Parameters
    ----------
    frames : sequence of Masks, of Volume, or of labels; or labels, TxHxW or TxZxHxW
        The time points, of one shape.
    pixel_size : tuple of float, optional
        (Distance of slices,) height and width of a pixel; distances are taken by it, and
        tables get columns in `unit`. Without it pixels have equal sides.
    unit : str
        What `pixel_size` is in.
    **parameters
        Those of `TrackParameters`.

    Returns
    -------
    Tracks
        1 to N, in the order of their first time points and of the objects there.

    Raises
    ------
    ImageError
        If there is no time point, or they differ in kind or shape.
    ParameterError
        If a parameter is unknown or out of range.
    """
    return finished(track_steps(frames, pixel_size=pixel_size, unit=unit, **parameters))


def track_steps(
    frames: Sequence[Frame] | npt.NDArray[np.integer],
    *,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
    **parameters: Any,
) -> Iterator[LinkStep[Tracks]]:
    """Do the same as `track_objects`, step by step; stop asking for more to cancel.

    Yields
    ------
    LinkStep
        Two for each time point, and two more; the last has the `Tracks`.
    """
    chosen = TrackParameters(**parameters)
    found = Frames.of(frames)
    return _steps(found, chosen, checked_size(pixel_size, found.axes), unit)


def track_step_count(frames: int) -> int:
    """Return how many steps tracking so many time points takes."""
    return 2 * frames + 2


def _steps(
    frames: Frames, parameters: TrackParameters, size: PixelSize | None, unit: str
) -> Iterator[LinkStep[Tracks]]:
    total = track_step_count(len(frames))
    scale = np.ones(3) if size is None else np.array([*(1.0,) * (3 - len(size)), *size]) / size[-1]
    sizes = []
    for number in range(len(frames)):
        sizes.append(frames.sizes(number))
        yield LinkStep(number + 1, total, "measure")
    diameter = _diameter(np.concatenate(sizes), frames.axes, scale)
    distance = parameters.max_distance or diameter
    links = _Links(parameters, scale, diameter, distance)
    for number in range(len(frames)):
        links.add(frames.objects(number))
        yield LinkStep(len(frames) + number + 1, total, "compare")
    nodes = links.nodes()
    yield LinkStep(total - 1, total, "link")
    if parameters.divisions:
        mothers, daughters = divisions(nodes, distance=distance, max_gap=parameters.max_gap)
    else:
        mothers, daughters = np.empty((2, 0), dtype=np.int64)
    ids, parents = _numbered(nodes, mothers, daughters, parameters.min_length, len(frames))
    found = {**describe(parameters, size, unit), "max_distance": distance, "diameter": diameter}
    tracks = Tracks(
        frames,
        np.split(ids, links.starts[1:-1]),
        parents,
        centroids=links.centroids,
        sizes=sizes,
        drift=links.drift,
        pixel_size=size,
        unit=unit,
        provenance=found,
    )
    yield LinkStep(total, total, "divide", tracks)


def _diameter(sizes: Indices, axes: int, scale: npt.NDArray[np.float64]) -> float:
    """Return the median diameter of discs or balls as large as the objects."""
    if not len(sizes):
        return 1.0
    size = float(np.median(sizes)) * float(np.prod(scale))
    return 2 * math.sqrt(size / math.pi) if axes == 2 else 2 * math.cbrt(3 * size / (4 * math.pi))


class _Links:
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
        self._candidates = Candidates()
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
        worth = (1 - (pairs["v"] / reach) ** 2) * (1 + iou) * np.sqrt(small / large)
        near = iou >= self._parameters.min_overlap
        starts = self.starts
        self._candidates.add(
            one[near] + starts[now - gap - 1],
            other[near] + starts[now],
            worth[near] * GAP_WORTH**gap,
        )

    def nodes(self) -> Nodes:
        """Choose the links."""
        one, other = self._candidates.best()
        count = int(self.starts[-1])
        before, after = np.full((2, count), -1, dtype=np.int64)
        before[other], after[one] = one, other
        frame = np.repeat(np.arange(len(self._sizes)), np.diff(self.starts))
        places = np.concatenate([*self.centroids, np.empty((0, 3))])
        resting = (places - np.array(self.drift)[frame]) * self._scale
        return Nodes(frame, resting, np.concatenate(self._sizes), before, after)


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


def _numbered(
    nodes: Nodes, mothers: Indices, daughters: Indices, min_length: int, frames: int
) -> tuple[Indices, dict[int, int]]:
    """Return the track of each object, 0 for none, and the parents of tracks."""
    count = len(nodes.frame)
    sisters = nodes.after[mothers]
    before = nodes.before.copy()
    before[sisters] = -1
    later = np.flatnonzero(before >= 0)
    chain = chains(count, before[later], later)
    number = int(chain.max(initial=-1)) + 1
    first, last = np.full(number, frames), np.full(number, -1)
    np.minimum.at(first, chain, nodes.frame)
    np.maximum.at(last, chain, nodes.frame)
    kept = last - first + 1 >= min(min_length, frames)
    family = np.concatenate([mothers, daughters, sisters])
    kept[chain[family]] = True
    ids = np.zeros(count, dtype=np.int64)
    stays = kept[chain]
    ids[stays] = renumbered(chain[stays]) + 1
    children = np.concatenate([daughters, sisters])
    pairs = zip(ids[children].tolist(), ids[np.tile(mothers, 2)].tolist(), strict=True)
    return ids, dict(sorted(pairs))
