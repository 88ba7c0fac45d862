"""Whether a result as a whole deserves doubt: an image that is none of those a model is for.

A model that was trained on one kind of image finds something in others, too, but is unsure of
it. How sure it is says the mean of predicted IoU times stability over an image's masks; below
which value an image is probably a foreign one was chosen on images held out of the training
(``training/domain.py``), and stands in the model's card.

It was chosen for the thresholds that the model recommends. Lower ones change nothing, for masks
that these would leave out do not count; higher ones leave only masks that the model is sure of,
so that no doubt then says less. With another ``stability_score_offset`` stability is another
quantity, and no verdict is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

    import numpy.typing as npt

NOTHING = (
    "nothing was found. If there are objects, give their diameter, lower the thresholds, or try "
    "another model"
)


RULE = ("below", "pred_iou_thresh", "stability_score_thresh", "stability_score_offset")
"""What a rule names, each a number."""


def sureness(
    predicted_iou: npt.NDArray[np.floating],
    stability_score: npt.NDArray[np.floating],
    rule: Mapping[str, float],
) -> float:
    """Return how sure a model is of the masks of an image, 0 to 1; NaN of none.

    Parameters
    ----------
    predicted_iou, stability_score : ndarray, N
    rule : mapping
        Masks at or below its ``pred_iou_thresh``, or below its ``stability_score_thresh``, are
        left out: lower thresholds than the model's own make no image a foreign one.
    """
    counted = predicted_iou > rule["pred_iou_thresh"]
    counted &= stability_score >= rule["stability_score_thresh"]
    if not counted.any():
        return float("nan")
    return float((predicted_iou[counted] * stability_score[counted]).mean(dtype=np.float64))


def doubt(
    predicted_iou: npt.NDArray[np.floating],
    stability_score: npt.NDArray[np.floating],
    provenance: Mapping[str, Any],
) -> str:
    """Say why a result deserves doubt; empty if nothing speaks for it.

    Parameters
    ----------
    predicted_iou, stability_score : ndarray, N
        Of all masks of an image.
    provenance : mapping
        Of the masks. Where it names no model with a rule, only a result without masks does.

    Returns
    -------
    str
        Part of a sentence, without a full stop.
    """
    if not len(predicted_iou):
        # Of a run that was ended early it is no news.
        return "" if provenance.get("partial") else NOTHING
    model = provenance.get("model") or {}
    rule = model.get("doubt") if isinstance(model, Mapping) else None
    if not is_rule(rule) or not _is_for(rule, provenance):
        return ""
    if np.isnan(predicted_iou).all() or np.isnan(stability_score).all():  # scores are unknown
        return ""
    value = sureness(predicted_iou, stability_score, rule)
    if value >= rule["below"]:
        return ""
    known = "none of them is above its own thresholds"
    if not np.isnan(value):
        found, limit = _apart(value, rule["below"])
        known = f"{found} on average; images that it is for give {limit} or more"
    return (
        f"{model.get('name', 'the model')} is unsure of these masks ({known}): it may not be made "
        "for such images; look closely before you use them"
    )


def is_rule(value: object) -> TypeGuard[Mapping[str, float]]:
    """Tell whether a value is a rule: a mapping with a number for each name of `RULE`."""
    return isinstance(value, Mapping) and all(
        isinstance(value.get(name), int | float) and not isinstance(value[name], bool)
        for name in RULE
    )


def _is_for(rule: Mapping[str, float], provenance: Mapping[str, Any]) -> bool:
    """Whether stability is that of the rule."""
    parameters = provenance.get("parameters")
    if not isinstance(parameters, Mapping):
        return False
    return bool(parameters.get("stability_score_offset") == rule["stability_score_offset"])


def _apart(value: float, limit: float) -> tuple[str, str]:
    """Write two numbers with as many digits, at least two, as tell them apart."""
    for digits in range(2, 17):
        texts = f"{value:.{digits}f}", f"{limit:.{digits}f}"
        if texts[0] != texts[1]:
            break
    return texts


def doubt_of_planes(doubts: Sequence[str]) -> str:
    """Sum up the doubts of the planes of one stack; empty if most planes deserve none.

    Parameters
    ----------
    doubts : sequence of str
        `doubt` of each plane. The first and last are often empty, and deserve some.
    """
    doubtful = [text for text in doubts if text]
    if 2 * len(doubtful) <= len(doubts):
        return ""
    if len(doubts) == 1:
        return doubtful[0]
    return f"{len(doubtful)} of {len(doubts)} planes are doubtful; the first: {doubtful[0]}"
