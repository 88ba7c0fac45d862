"""Average precision when images are not as they were in training.

    python training/robustness.py DATA/train --fold 7 --every 3

Each change is made to the image, and to its labels where it moves them; the model runs with its
recommended parameters, and is not told of the change.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scores
from baseline import otsu_watershed
from changes import CHANGES
from held_out import add_arguments, make_generator, names_of, provenance, scenes, start
from resampling import shown

if TYPE_CHECKING:
    import numpy as np

    from held_out import Scene

log = logging.getLogger("robustness")

LEAST = 0.6
"""Share of the clean AP50 that no change should go below."""


def report(found: dict[str, scores.Rows], beside: dict[str, scores.Rows]) -> str:
    """Return a table in Markdown: AP50 with each change beside the clean one."""
    clean = scores.summary(found["clean"])
    shares = [group for group in ("all", "fluorescence", "the rest") if group in clean]
    lines = []
    for change, rows in found.items():
        own = scores.summary(rows)
        line = [change, *(shown(own[group]["AP50"]) for group in shares)]
        kept = own["all"]["AP50"][0] / max(clean["all"]["AP50"][0], 1e-9)
        line.append(f"{100 * kept:.0f} %" + ("" if kept >= LEAST else " (too little)"))
        changed = scores.differences(rows, found["clean"])["all"]["AP50"]
        line.append("-" if change == "clean" else shown(changed, signed=True))
        line.append(f"{scores.summary(beside[change])['all']['AP50'][0]:.3f}")
        lines.append(line)
    names = [f"AP50, {group}" for group in shares]
    return scores.table(["change", *names, "of clean", "difference", "Otsu"], lines)


def regrouped(row: dict[str, Any], scene: Scene) -> dict[str, Any]:
    """Put a changed image into the groups of the image that it was made of."""
    return row | {"groups": scores.groups(scene.look, scene.labels.shape)}


def main() -> None:
    """Log a table in Markdown, and write the scores of each image."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--output", type=Path, help="write each image's AP50, JSON")
    parser.add_argument("--only", nargs="+", default=[], help="beginnings of the changes' names")
    arguments = parser.parse_args()
    start(arguments)
    wanted = {
        name: change
        for name, change in CHANGES.items()
        if name == "clean" or not arguments.only or name.startswith(tuple(arguments.only))
    }
    names = names_of(arguments.data, arguments.fold, arguments.every)
    generator = make_generator(arguments)
    found: dict[str, scores.Rows] = {name: {} for name in wanted}
    beside: dict[str, scores.Rows] = {name: {} for name in wanted}

    def segment(scene: Scene) -> np.ndarray:
        return generator.segment(scene.image, name=scene.name).to_labels()

    for scene in scenes(arguments.data, names):
        for name, change in wanted.items():
            changed = change(scene)
            for rows, find in ((found, segment), (beside, lambda s: otsu_watershed(s.image))):
                rows[name][scene.name] = regrouped(scores.timed(find, changed), scene)
        generator.clear_cache()
    if arguments.output:
        text = json.dumps(
            {
                "made_by": provenance(generator, arguments),
                "AP50": {
                    change: {name: row["precision"][0] for name, row in rows.items()}
                    for change, rows in found.items()
                },
            }
        )
        arguments.output.write_text(text + "\n", encoding="utf-8")
    log.info("%s", report(found, beside))


if __name__ == "__main__":
    main()
