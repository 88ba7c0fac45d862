"""Objects of consecutive time points, linked into tracks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.divisions import Division, Nodes, divisions
from napari_sam_amg.linking.frames import Frame, Frames
from napari_sam_amg.linking.links import Links
from napari_sam_amg.linking.matching import chains, renumbered
from napari_sam_amg.linking.parameters import TrackParameters
from napari_sam_amg.linking.provenance import describe
from napari_sam_amg.linking.sizes import PixelSize, checked_size
from napari_sam_amg.linking.steps import LinkStep, finished
from napari_sam_amg.linking.tracks import Tracks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_sam_amg.masks.ragged import Indices


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
    links = Links(parameters, scale, diameter, distance)
    for number in range(len(frames)):
        links.add(frames.objects(number))
        yield LinkStep(len(frames) + number + 1, total, "compare")
    nodes = links.nodes()
    yield LinkStep(total - 1, total, "link")
    divided = []
    if parameters.divisions:
        divided = divisions(nodes, distance=distance, max_gap=parameters.max_gap)
    ids, parents = _numbered(nodes, divided, parameters.min_length, len(frames))
    found = {
        **describe(parameters, size, unit),
        "max_distance": distance,
        "diameter": diameter,
    }
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


def _numbered(
    nodes: Nodes, divided: list[Division], min_length: int, frames: int
) -> tuple[Indices, dict[int, int]]:
    """Return the track of each object, 0 for none, and the parents of tracks."""
    count = len(nodes.frame)
    family = np.array(divided, dtype=np.int64).reshape(-1, 3)
    before = nodes.before.copy()
    before[family[:, 1:]] = -1
    later = np.flatnonzero(before >= 0)
    chain = chains(count, before[later], later)
    number = int(chain.max(initial=-1)) + 1
    first, last = np.full(number, frames), np.full(number, -1)
    np.minimum.at(first, chain, nodes.frame)
    np.maximum.at(last, chain, nodes.frame)
    kept = last - first + 1 >= min(min_length, frames)
    kept[chain[family]] = True
    ids = np.zeros(count, dtype=np.int64)
    stays = kept[chain]
    ids[stays] = renumbered(chain[stays]) + 1
    parents = {child: mother for mother, *pair in ids[family].tolist() for child in pair}
    return ids, dict(sorted(parents.items()))
