"""Label images of overlapping masks, under a stated rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks.ragged import offsets, portions
from napari_sam_amg.parameters import OverlapRule

if TYPE_CHECKING:
    from napari_sam_amg.masks.store import MaskStore

LabelImage = npt.NDArray[np.unsignedinteger]

_LONG = 64
"""Mean length of spans, in pixels, from which filling them one by one is quicker."""

_PIXELS_AT_ONCE = 1 << 18


def label_dtype(count: int) -> npt.DTypeLike:
    """Return the smallest unsigned dtype that holds the labels 0 to `count`."""
    return np.min_scalar_type(count)


def checked_rule(rule: str) -> OverlapRule:
    """Return `rule` if there is such an overlap rule.

    Raises
    ------
    ParameterError
        If there is not; it names all that there are.
    """
    if rule not in get_args(OverlapRule):
        raise ParameterError(
            f"overlap={rule!r}: use one of " + ", ".join(map(repr, get_args(OverlapRule)))
        )
    return rule  # type: ignore[return-value]


def paint(store: MaskStore, scores: npt.NDArray[np.float32], rule: OverlapRule) -> LabelImage:
    """Draw masks into a label image.

    Parameters
    ----------
    store : MaskStore
        N masks; mask i gets label i + 1.
    scores : ndarray, float32, N
        Predicted IoU; used by "best_score_on_top".
    rule : OverlapRule
        Which mask a pixel is given to when several cover it: the smallest, the one with
        the highest score (NaN loses), the largest, or none ("discard_overlaps"). At a tie
        it is the one with the lower label.

    Returns
    -------
    ndarray, uint8, uint16 or uint32, HxW
        The smallest dtype that holds N.
    """
    order = _bottom_to_top(store, scores, rule)
    image = np.zeros(store.shape, dtype=label_dtype(len(store)))
    flat = image.reshape(-1)
    labels = (order + 1).astype(image.dtype)
    areas = store.areas[order]
    long = areas > _LONG * np.diff(store.spans.offsets)[order]
    weights = np.where(long, _PIXELS_AT_ONCE, areas)  # so that each of these comes alone
    for first, last in portions(offsets(weights), _PIXELS_AT_ONCE):
        if last - first == 1:
            label = labels[first]
            for start, stop in store.spans.of_mask(int(order[first])):
                flat[start:stop] = label
        else:  # of several values for a pixel NumPy leaves the last
            values = np.repeat(labels[first:last], areas[first:last])
            flat[store.spans.pixels(order[first:last])] = values
    if rule == "discard_overlaps":
        store.spans.clear_shared(flat)
    return image


def _bottom_to_top(
    store: MaskStore, scores: npt.NDArray[np.float32], rule: OverlapRule
) -> npt.NDArray[np.int64]:
    late_first = -np.arange(len(store))
    if rule == "smallest_on_top":
        return np.lexsort((late_first, -store.areas))
    if rule in ("largest_on_top", "discard_overlaps"):
        return np.lexsort((late_first, store.areas))
    known = ~np.isnan(scores)
    return np.lexsort((late_first, np.where(known, scores, 0), known))
