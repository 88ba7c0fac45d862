"""Do a model's own scores mean what they say? Every candidate beside the truth.

    python training/calibration.py DATA/train --fold 7 --diagram reliability.png

All candidates of the grid are taken, without a threshold: predicted IoU against the true one,
stability as a separator of good from bad, how many background points are rejected, and what
sam2's own default thresholds cost. In tiles near-duplicates of better candidates are missing,
as they are to any threshold; the share of background points is of images seen as a whole.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scores
from candidates import Candidates, separation
from held_out import add_arguments, make_generator, names_of, provenance, scenes, start
from reliability import Reliability, draw, error_interval
from resampling import intervals, shown

if TYPE_CHECKING:
    from held_out import Scene
    from napari_sam_amg import AutomaticMaskGenerator
    from napari_sam_amg.masks import Proposals

log = logging.getLogger("calibration")

SAM2 = {"pred_iou_thresh": 0.8, "stability_score_thresh": 0.95, "box_nms_thresh": 0.7}
"""sam2's default thresholds, which go with logits moved by 1 (``stability_score_offset``)."""

SETS = {
    "all candidates, any object": "the object that fits best counts as true",
    "all candidates, own object": "the object under the prompt counts; background is 0",
    "selected masks": "what a run with the recommended parameters returns",
}


class Measured:
    """Figures of the images looked at so far."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Reliability]] = {name: {} for name in SETS}
        self.rows: dict[str, dict[str, Any]] = {}
        self.recommended: scores.Rows = {}
        self.sam2: scores.Rows = {}

    def add(self, scene: Scene, proposals: Proposals, usual: Proposals, *, whole: bool) -> None:
        """Look at one image: its proposals, those with sam2's own offset, if it is not tiled."""
        found = Candidates.of(proposals, scene.labels)
        masks, selection = proposals.selected()
        chosen = selection.rows
        pairs = zip(
            SETS,
            (
                (found.predicted, found.best),
                (found.predicted, found.own),
                (found.predicted[chosen], found.best[chosen]),
            ),
            strict=True,
        )
        for name, pair in pairs:
            part = Reliability.of(*pair)
            known = self.parts[name].get(scene.field)
            self.parts[name][scene.field] = part if known is None else known + part
        threshold = proposals.parameters.pred_iou_thresh
        passed = found.predicted > threshold
        row: dict[str, Any] = {"field": scene.field, "candidates": len(passed)}
        for name, values, some in (
            ("stability", found.stability, slice(None)),
            ("stability, candidates above the threshold", found.stability, passed),
            ("predicted IoU", found.predicted, slice(None)),
        ):
            row[name] = separation(values[some], found.best[some] >= 0.5)
        # A prompt has three masks; it is rejected if none of them passes.
        best = np.full(int(found.prompt.max(initial=-1)) + 1, -np.inf)
        np.maximum.at(best, found.prompt, found.predicted)
        on_background = np.zeros(len(best), dtype=bool)
        on_background[found.prompt] = found.background
        row["points"] = int(on_background.sum()) if whole else 0
        row["rejected"] = {
            f"{level:g}": float((best[on_background] <= level).mean()) if row["points"] else None
            for level in sorted({threshold, 0.5, SAM2["pred_iou_thresh"]})
        }
        self.rows[scene.name] = row
        self.recommended[scene.name] = scores.score(masks.to_labels(), scene)
        self.sam2[scene.name] = scores.score(usual.select(**SAM2).to_labels(), scene)

    def report(self) -> str:
        """Return tables in Markdown."""
        lines = [
            [name, SETS[name], shown(error_interval(parts)), f"{_total(parts).counts.sum():.0f}"]
            for name, parts in self.parts.items()
        ]
        parts = [scores.table(["of", "", "expected calibration error", "number"], lines)]
        fields = [row["field"] for row in self.rows.values()]
        lines = []
        for name in ("stability", "stability, candidates above the threshold", "predicted IoU"):
            values = np.array([row[name] for row in self.rows.values()])
            known = np.isfinite(values).astype(float)
            lines.append(
                [f"AUC of IoU >= 0.5: {name}", shown(intervals(values, fields, weights=known))]
            )
        points = np.array([row["points"] for row in self.rows.values()], dtype=float)
        for level in next(iter(self.rows.values()))["rejected"]:
            values = [row["rejected"][level] for row in self.rows.values()]
            shares = np.array(values, dtype=float)
            text = shown(intervals(shares, fields, weights=points))
            lines.append([f"background points without a predicted IoU above {level}", text])
        parts.append(scores.table(["figure", "mean over images"], lines))
        ours, theirs = scores.summary(self.recommended), scores.summary(self.sam2)
        change = scores.differences(self.sam2, self.recommended)
        lines = [
            [
                group,
                measure,
                shown(ours[group][measure]),
                shown(theirs[group][measure]),
                shown(change[group][measure], signed=True),
            ]
            for group in ("all", "fluorescence", "the rest")
            if group in ours
            for measure in scores.MEASURES
        ]
        header = ["images", "measure", "recommended", "sam2's defaults", "difference"]
        return "\n\n".join([*parts, scores.table(header, lines)])


def _total(parts: dict[str, Reliability]) -> Reliability:
    first, *others = parts.values()
    return sum(others, start=first)


def measure(generator: AutomaticMaskGenerator, data: Path, names: list[str]) -> Measured:
    """Propose on each image without a floor, and measure."""
    measured = Measured()
    own = generator.parameters.model_dump()
    usual = generator.configured(**own | {"stability_score_offset": 1.0})
    for scene in scenes(data, names):
        proposals = generator.propose(scene.image, name=scene.name)
        other = proposals
        if own["stability_score_offset"] != 1:
            other = usual.propose(scene.image, name=scene.name)
        whole = generator.tiling(scene.labels.shape) is None
        measured.add(scene, proposals, other, whole=whole)
    return measured


def main() -> None:
    """Log tables in Markdown; write the diagram and the figures of each image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--diagram", type=Path, help="write the reliability diagram, PNG")
    parser.add_argument("--output", type=Path, help="write the figures, JSON")
    arguments = parser.parse_args()
    start(arguments)
    generator = make_generator(arguments)
    names = names_of(arguments.data, arguments.fold, arguments.every)
    measured = measure(generator, arguments.data, names)
    totals = {name: _total(parts) for name, parts in measured.parts.items()}
    if arguments.diagram:
        draw(arguments.diagram, totals)
    if arguments.output:
        bins = {name: np.stack(total.means).tolist() for name, total in totals.items()}
        text = json.dumps(
            {
                "made_by": provenance(generator, arguments),
                "error": {name: error_interval(part) for name, part in measured.parts.items()},
                "bins": bins,
                "images": measured.rows,
            }
        )
        arguments.output.write_text(text + "\n", encoding="utf-8")
    log.info("%s", measured.report())


if __name__ == "__main__":
    main()
