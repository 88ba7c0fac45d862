"""Which thresholds suit a model: one run over held-out images, then any number of selections."""

from __future__ import annotations

import itertools
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from metrics import LEVELS, iou_matrix, precisions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from held_out import Scene
    from napari_sam_amg import AutomaticMaskGenerator

log = logging.getLogger("tuning")

FLOOR = 0.1
GRID: dict[str, list[Any]] = {
    "pred_iou_thresh": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
    "stability_score_thresh": [0.0, 0.3, 0.5, 0.7, 0.8, 0.9],
    "box_nms_thresh": [0.2, 0.35, 0.5, 0.7],
    "overlap": ["smallest_on_top", "best_score_on_top"],
}
"""Values to try: whatever `Proposals.select` takes."""

SHOWN = 12


def tune(
    generator: AutomaticMaskGenerator, scenes: Iterable[Scene], grid: dict[str, list[Any]]
) -> list[tuple[list[float], dict[str, Any]]]:
    """Score every combination of a grid on the same proposals.

    Parameters
    ----------
    generator : AutomaticMaskGenerator
    scenes : iterable of Scene
        Looked at one by one; their proposals are not kept.
    grid : dict
        Values by parameter.

    Returns
    -------
    list
        (AP50, AP75, AP50-95), each a mean over the scenes, and the parameters; the best mean of
        AP50 and AP75 first.
    """
    floor = min([FLOOR, *grid.get("pred_iou_thresh", [])])
    ways = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    totals = np.zeros((len(ways), 3))
    count = 0
    for scene in scenes:
        proposals = generator.propose(scene.image, floor=floor, name=scene.name)
        proposals.prepare()
        known: dict[bytes, tuple[float, float, float]] = {}
        for i, way in enumerate(ways):
            masks, selection = proposals.selected(**way)
            # Many thresholds leave the same masks.
            key = selection.rows.tobytes() + f"{masks.overlap} {selection.cleaned}".encode()
            if key not in known:
                found = precisions(iou_matrix(scene.labels, masks.to_labels()))
                known[key] = (found[0], found[LEVELS.index(0.75)], float(np.mean(found)))
            totals[i] += known[key]
        count += 1
    means = (totals / count).tolist()
    ranked = sorted(zip(means, ways, strict=True), key=lambda item: -(item[0][0] + item[0][1]))
    return ranked


def report(ranked: list[tuple[list[float], dict[str, Any]]]) -> None:
    """Log the best combinations."""
    for means, way in ranked[:SHOWN]:
        log.info("AP50 %.4f AP75 %.4f AP50-95 %.4f %s", *means, json.dumps(way))
