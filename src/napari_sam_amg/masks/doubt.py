"""Whether a result as a whole deserves doubt: an image that is none of those a model is for.

A model that was trained on one kind of image finds something in others, too, but is unsure of
it. How sure it is says the mean of predicted IoU times stability over an image's masks; below
which value an image is probably a foreign one was chosen on images held out of the training
(``training/domain.py``), and stands in the model's card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

NOTHING = (
    "nothing was found. If there are objects, give their diameter, lower the thresholds, or try "
    "another model"
)


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
        return NOTHING
    model = provenance.get("model") or {}
    rule = model.get("doubt")
    if not rule or np.isnan(predicted_iou).all():  # nor does a result without scores
        return ""
    value = sureness(predicted_iou, stability_score, rule)
    if value >= rule["below"]:
        return ""
    known = "none of them is above its own thresholds"
    if not np.isnan(value):
        known = f"{value:.2f} on average; images that it is for give {rule['below']:.2f} or more"
    return (
        f"{model['name']} is unsure of these masks ({known}): it may not be made for such images; "
        "look closely before you use them"
    )


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
