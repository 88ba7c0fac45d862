"""Find which figure of a run tells that an image is none of those that the model is for.

    python training/domain.py DATA/train --fold 7 --output domain.json
    python training/domain.py DATA/val --rule '{"quality": 0.55}'    # false alarms of a rule

Images of the held-out fold count as the model's own, those of ``foreign.py`` as foreign. Of each
statistic: how well it separates the two, the value below which so few of its own lie as
``--alarms`` says, and the share of each family of foreign images that it catches there. A run
that finds nothing is told apart from all others: it needs no statistic.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scores
from candidates import separation
from foreign import foreign
from held_out import (
    add_arguments,
    make_generator,
    names_of,
    provenance,
    refuse_validation,
    scenes,
    start,
)
from resampling import intervals, shown

if TYPE_CHECKING:
    from napari_sam_amg.masks import Proposals

log = logging.getLogger("domain")

Figures = dict[str, float]
UNDECIDED = (0.15, 0.5)
"""Predicted IoU between which the model can be said not to know."""


def statistics(proposals: Proposals) -> Figures:
    """Return what one run says of itself; of the model's own images all should be high.

    ``masks`` is how many are selected; the others are NaN where there is none.
    """
    masks, selection = proposals.selected()
    p = proposals.parameters
    found: Figures = {"masks": len(masks)}
    points, prompt = np.unique(proposals.points, axis=0, return_inverse=True)
    best = np.zeros(len(points))
    np.maximum.at(best, prompt.reshape(-1), proposals.predicted_iou)
    seen = best > UNDECIDED[0]
    found["decided"] = float((best[seen] > UNDECIDED[1]).mean()) if seen.any() else np.nan
    found["passing prompts"] = float((best > p.pred_iou_thresh).mean()) if len(best) else np.nan
    if not len(masks):
        return found
    found["quality"] = float(masks.predicted_iou.mean())
    found["median quality"] = float(np.median(masks.predicted_iou))
    found["share of good masks"] = float((masks.predicted_iou > 0.7).mean())
    found["stability"] = float(masks.stability_score.mean())
    found["quality by area"] = float(np.average(masks.predicted_iou, weights=masks.areas))
    found["stability by area"] = float(np.average(masks.stability_score, weights=masks.areas))
    found["quality x stability"] = float((masks.predicted_iou * masks.stability_score).mean())
    labels = masks.to_labels()
    found["uncovered"] = float((labels == 0).mean())
    windows = masks.store.windows
    found["box filling"] = float((masks.areas / (windows[:, 2] * windows[:, 3])).mean())
    logs = np.log(masks.areas)
    found["even sizes"] = -float(np.subtract(*np.percentile(logs, [75, 25])))
    found["unshared pixels"] = float((labels > 0).sum() / masks.areas.sum())
    found["agreement"] = _agreement(proposals, labels, selection.rows)
    return found


def _agreement(proposals: Proposals, labels: np.ndarray, chosen: np.ndarray) -> float:
    """Mean IoU of a passing candidate with the selected mask that its prompt lies in."""
    p = proposals.parameters
    passing = proposals.predicted_iou > p.pred_iou_thresh
    passing &= proposals.stability_score >= p.stability_score_thresh
    rows = np.flatnonzero(passing)
    x, y = np.floor(proposals.points[rows]).astype(np.int64).T
    inside = labels[y.clip(0, len(labels) - 1), x.clip(0, labels.shape[1] - 1)].astype(np.int64)
    rows, inside = rows[inside > 0], inside[inside > 0]
    partner = chosen[inside - 1]
    common = proposals.store.spans.common(rows, partner)
    areas = proposals.store.areas
    iou = common / (areas[rows] + areas[partner] - common)
    return float(iou.mean()) if len(iou) else np.nan


def names_known(own: list[Figures]) -> list[str]:
    """Return the statistics there are, but for the number of masks."""
    return sorted({name for figures in own for name in figures} - {"masks"})


def alarms_left_out(values: np.ndarray, fields: np.ndarray, alarms: float) -> list[bool]:
    """Tell which images are below the limit that the images of all other fields give."""
    others = [values[(fields != field) & np.isfinite(values)] for field in fields]
    return [
        bool(value < np.quantile(rest, alarms)) if len(rest) else False
        for value, rest in zip(values, others, strict=True)
    ]


def table(
    own: list[Figures], fields: list[str], others: dict[str, list[Figures]], alarms: float
) -> str:
    """Return Markdown: each statistic's AUC, limit, false alarms and catches by family.

    Parameters
    ----------
    own : list of dict, N
        `statistics` of the model's own images.
    fields : list of str, N
        Their fields.
    others : dict
        `statistics` of foreign images by family.
    alarms : float
        Share of own images that lie below the limit. How many do on fields that the limit was
        not chosen on, with an interval over fields, is said beside it.
    """
    mine = [f for f in own if f["masks"]]
    families = {name: [f for f in many if f["masks"]] for name, many in others.items()}
    strange = [f for many in families.values() for f in many]
    lines = []
    for name in names_known(own):
        a, b = (np.array([f.get(name, np.nan) for f in some]) for some in (mine, strange))
        a, b = a[np.isfinite(a)], b[np.isfinite(b)]
        good = np.concatenate([np.ones(len(a), bool), np.zeros(len(b), bool)])
        limit = float(np.quantile(a, alarms))
        caught = {
            family: f"{sum(f.get(name, np.nan) < limit for f in many)}/{len(many)}"
            for family, many in families.items()
        }
        auc = separation(np.concatenate([a, b]), good)
        values = np.array([f.get(name, np.nan) for f in own])
        false = shown(intervals(alarms_left_out(values, np.array(fields), alarms), fields))
        share = f"{(b < limit).mean():.2f}"
        lines.append((auc, [name, f"{auc:.3f}", f"{limit:.3f}", false, share, *caught.values()]))
    lines.sort(key=lambda line: -line[0])
    nothing = [f"{sum(not f['masks'] for f in many)}/{len(many)}" for many in others.values()]
    none = sum(not f["masks"] for f in own)
    header = ["statistic", "AUC", "limit", "own below it", "foreign below it", *families]
    first = ["no masks at all", "", "", f"{none}/{len(own)}", "", *nothing]
    return scores.table(header, [first, *(line for _, line in lines)])


def alarmed(figures: Figures, rule: dict[str, float]) -> bool:
    """Tell whether a run's figures are below any limit of a rule."""
    return bool(figures["masks"]) and any(
        figures.get(name, np.nan) < limit for name, limit in rule.items()
    )


def main() -> None:
    """Measure the statistics, or the false alarms of a rule."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--rule", type=json.loads, help="limits by statistic, JSON")
    parser.add_argument("--alarms", type=float, default=0.04, help="share of own images below")
    parser.add_argument("--each", type=int, default=4, help="drawn images of a family")
    parser.add_argument("--output", type=Path, help="write the figures of each image, JSON")
    arguments = parser.parse_args()
    start(arguments)
    if arguments.rule is None:
        refuse_validation(arguments.data)
    generator = make_generator(arguments)
    own: dict[str, Figures] = {}
    fields = []
    names = names_of(arguments.data, arguments.fold, arguments.every)
    for scene in scenes(arguments.data, names):
        own[scene.name] = statistics(generator.propose(scene.image, name=scene.name))
        fields.append(scene.field)
    others: dict[str, dict[str, Figures]] = {}
    for family, name, image in foreign(arguments.each):
        others.setdefault(family, {})[name] = statistics(generator.propose(image, name=name))
    if arguments.output:
        record: dict[str, Any] = {"made_by": provenance(generator, arguments)}
        record |= {"own": own, "foreign": others}
        arguments.output.write_text(json.dumps(record) + "\n", encoding="utf-8")
    by_family = {family: list(many.values()) for family, many in others.items()}
    if arguments.rule is None:
        log.info("%s", table(list(own.values()), fields, by_family, arguments.alarms))
        return
    false = [alarmed(figures, arguments.rule) for figures in own.values()]
    log.info("false alarms: %s of %d images", shown(intervals(false, fields)), len(own))
    lines = [
        [
            family,
            len(many),
            sum(alarmed(figures, arguments.rule) for figures in many),
            sum(not figures["masks"] for figures in many),
        ]
        for family, many in by_family.items()
    ]
    log.info("%s", scores.table(["foreign images", "number", "warned of", "nothing found"], lines))


if __name__ == "__main__":
    main()
