"""Masks of consecutive slices, linked into objects in three dimensions."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.linking.filling import Placed, between
from napari_sam_amg.linking.matching import best_links, chains, renumbered
from napari_sam_amg.linking.mending import put_back
from napari_sam_amg.linking.necks import without_necks
from napari_sam_amg.linking.objects import Objects
from napari_sam_amg.linking.overlap import overlap
from napari_sam_amg.linking.parameters import LinkParameters
from napari_sam_amg.linking.provenance import describe
from napari_sam_amg.linking.sizes import PixelSize, checked_size
from napari_sam_amg.linking.steps import LinkStep, finished
from napari_sam_amg.linking.volume import Volume
from napari_sam_amg.masks import Masks, MaskStore, MaskTable
from napari_sam_amg.masks.ragged import Indices, offsets

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

POWER, BASE = 2.0, 0.15
"""Worth of a link: its IoU to this power, and this much besides. The power makes one good link
beat two poor ones, as a mask that merges two objects, or is half of one, has to its neighbours.
The rest is for longer chains: at a waist the small masks are not left out."""

GAP_WORTH = 0.8
"""What a link is worth for each slice that it leaves out, as a share."""


def link_slices(
    slices: Sequence[Masks],
    *,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
    **parameters: Any,
) -> Volume:
    """Link the masks of consecutive slices into objects.

    All links of the stack are chosen at once, each mask having at most one predecessor and one
    successor, also across gaps, such that the sum of their worth (by IoU squared, less for gaps)
    is greatest. So the order of the slices does not matter, and a mask that merges two objects, or
    is a part of one, is left out if the objects fit better without it. Then objects are cut at
    necks, and short ones dropped. Masks that overlap or nest are linked as they are: a nucleus
    and the cell around it become two objects.

    Parameters
    ----------
    slices : sequence of Masks
        Of images of one shape, from the first slice to the last.
    pixel_size : (float, float, float), optional
        Distance of slices, height and width of a pixel; adds columns in `unit` to the tables.
    unit : str
        What `pixel_size` is in.
    **parameters
        Those of `LinkParameters`.

    Returns
    -------
    Volume
        Objects 1 to N, in the order of their first slices and of the masks there.

    Raises
    ------
    ImageError
        If there is no slice, or they differ in shape.
    ParameterError
        If a parameter is unknown or out of range.
    """
    return finished(link_steps(slices, pixel_size=pixel_size, unit=unit, **parameters))


def link_steps(
    slices: Sequence[Masks],
    *,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
    **parameters: Any,
) -> Iterator[LinkStep[Volume]]:
    """Do the same as `link_slices`, step by step; stop asking for more to cancel.

    Yields
    ------
    LinkStep
        Two for each slice, and one between them; the last has the `Volume`.
    """
    chosen = LinkParameters(**parameters)
    size = checked_size(pixel_size, 3)
    return _steps(_checked(slices), chosen, size, unit)


def link_step_count(slices: Sequence[Masks]) -> int:
    """Return how many steps linking some slices takes."""
    return 2 * len(slices) + 1


def _checked(slices: Sequence[Masks]) -> list[Masks]:
    found = list(slices)
    if not found:
        raise ImageError("there are no slices to link; give the masks of at least one")
    for number, masks in enumerate(found):
        if not isinstance(masks, Masks):
            raise ImageError(f"slice {number} is a {type(masks).__name__}; give Masks")
        if masks.shape != found[0].shape:
            raise ImageError(
                f"slice {number} is of {masks.shape[0]} x {masks.shape[1]} pixels, slice 0 of "
                f"{found[0].shape[0]} x {found[0].shape[1]}: give slices of one stack"
            )
    return found


def _steps(
    slices: list[Masks], parameters: LinkParameters, size: PixelSize | None, unit: str
) -> Iterator[LinkStep[Volume]]:
    total = link_step_count(slices)
    starts = offsets([len(masks) for masks in slices])
    ones, others = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    worth = [np.empty(0)]
    recent: deque[Objects] = deque(maxlen=parameters.max_gap + 1)
    for number, masks in enumerate(slices):
        objects = Objects.of_store(masks.store)
        for gap, earlier in enumerate(reversed(recent)):
            one, other, iou = overlap(earlier, objects)
            near = iou >= min(1.0, parameters.min_overlap * (gap + 1))
            ones.append(one[near] + starts[number - gap - 1])
            others.append(other[near] + starts[number])
            worth.append((iou[near] ** POWER + BASE) * GAP_WORTH**gap)
        recent.append(objects)
        yield LinkStep(number + 1, total, "compare")
    one, other = np.concatenate(ones), np.concatenate(others)
    best = best_links(one, other, np.concatenate(worth))
    one, other = put_back(starts, (one, other), (one[best], other[best]))
    areas = np.concatenate([masks.areas for masks in slices])
    whole = without_necks(areas, one, other, parameters.min_neck)
    one, other = one[whole], other[whole]
    labels, one, other = _numbered(slices, starts, one, other, parameters.min_extent)
    yield LinkStep(len(slices) + 1, total, "link")
    gaps = _Gaps(slices, starts, labels, one, other, parameters.fill_gaps == "interpolate")
    planes: list[Masks] = []
    owners: list[Indices] = []
    sources: list[Indices] = []
    for number, masks in enumerate(slices):
        here = labels[starts[number] : starts[number + 1]]
        rows = np.flatnonzero(here)
        filled, of = gaps.filled(number)
        store = MaskStore.concatenate([masks.store.take(rows), filled])
        unknown = MaskTable.unknown(filled)
        planes.append(masks.with_masks(store, masks.table.take(rows).followed_by(unknown)))
        owners.append(np.concatenate([here[rows], of]))
        sources.append(np.concatenate([rows, np.full(len(of), -1)]))
        if number < len(slices) - 1:
            yield LinkStep(len(slices) + 2 + number, total, "fill")
    volume = Volume(
        planes,
        owners,
        sources=sources,
        pixel_size=size,
        unit=unit,
        provenance=_provenance(slices, parameters, size, unit),
    )
    yield LinkStep(total, total, "fill", volume)


def _provenance(
    slices: list[Masks], parameters: LinkParameters, size: PixelSize | None, unit: str
) -> Mapping[str, Any]:
    return {
        **describe(parameters, size, unit),
        "slices": [masks.provenance for masks in slices],
    }


def _numbered(
    slices: list[Masks], starts: Indices, one: Indices, other: Indices, min_extent: int
) -> tuple[Indices, Indices, Indices]:
    """Return the object of each mask, 0 for none, and the links that are left."""
    number = np.repeat(np.arange(len(slices)), np.diff(starts))
    chain = chains(len(number), one, other)
    count = int(chain.max(initial=-1)) + 1
    first = np.full(count, len(slices))
    last = np.full(count, -1)
    np.minimum.at(first, chain, number)
    np.maximum.at(last, chain, number)
    kept = (last - first + 1 >= min(min_extent, len(slices)))[chain]
    labels = np.zeros(len(number), dtype=np.int64)
    labels[kept] = renumbered(chain[kept]) + 1
    left = kept[one]
    return labels, one[left], other[left]


class _Gaps:
    """Masks for what links leave out."""

    def __init__(
        self,
        slices: list[Masks],
        starts: Indices,
        labels: Indices,
        one: Indices,
        other: Indices,
        filling: bool,
    ) -> None:
        self._slices, self._starts, self._labels = slices, starts, labels
        before = np.searchsorted(starts, one, side="right") - 1
        after = np.searchsorted(starts, other, side="right") - 1
        apart = np.flatnonzero(after - before > 1) if filling else np.empty(0, dtype=np.int64)
        self._ends = sorted(
            zip(*(values[apart].tolist() for values in (before, after, one, other)), strict=True)
        )

    def filled(self, number: int) -> tuple[MaskStore, Indices]:
        """Return the masks that a slice lacks, and of which objects they are."""
        shape = self._slices[number].shape
        items, of = [], []
        for before, after, one, other in self._ends:
            if before < number < after:
                ends = (self._placed(before, one), self._placed(after, other))
                mask = between(*ends, (number - before, after - number), shape)
                if mask is not None:
                    items.append(mask)
                    of.append(int(self._labels[one]))
        return MaskStore.from_windows(shape, items), np.array(of, dtype=np.int64)

    def _placed(self, number: int, node: int) -> Placed:
        return self._slices[number].window(int(node - self._starts[number]))
