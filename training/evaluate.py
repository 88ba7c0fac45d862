"""Score a model on a folder laid out like BBBC038, or tune its thresholds.

    python training/evaluate.py DATA/val --output A.json        # the model, Otsu beside it
    python training/evaluate.py DATA/val --labels OUT           # label TIFFs of the command line
    python training/evaluate.py DATA/val --baseline             # Otsu and watershed alone
    python training/evaluate.py DATA/val --cellpose RUN         # of baseline_cellpose.py
    python training/evaluate.py DATA/train --fold 7 --tune      # on a held-out fold only

Average precision is TP / (TP + FP + FN), one-to-one, averaged over images; AP50-95 is its mean
at IoU 0.5, 0.55 ... 0.95. Intervals hold 95 % of the means over fields drawn anew.
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scores
import tuning
from baseline import otsu_watershed
from held_out import (
    add_arguments,
    make_generator,
    names_of,
    provenance,
    refuse_validation,
    scenes,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from held_out import Scene

log = logging.getLogger("evaluate")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--output", type=Path, help="write each image's scores, JSON")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--baseline", action="store_true", help="Otsu and watershed alone")
    what.add_argument("--cellpose", type=Path, help="a run of baseline_cellpose.py")
    what.add_argument("--labels", type=Path, help="score NAME.tif label images in this folder")
    what.add_argument("--tune", action="store_true", help="sweep thresholds; refused on val/")
    parser.add_argument(
        "--grid", type=json.loads, default={}, help="for --tune: values by parameter, JSON"
    )
    return parser.parse_args()


def _baseline(scene: Scene) -> np.ndarray:
    return otsu_watershed(scene.image)


def method(arguments: argparse.Namespace) -> tuple[Callable[[Scene], np.ndarray], dict[str, Any]]:
    """Return what finds the objects of a scene, and what to say of it."""
    if arguments.baseline:
        return _baseline, {"method": "Otsu and watershed"}
    if arguments.cellpose:
        from cellpose_model import CellposeRun

        run = CellposeRun(arguments.cellpose)
        return lambda scene: run.segment(scene.image), run.provenance()
    if arguments.labels:
        from napari_sam_amg.formats import read_labels

        folder = arguments.labels
        return (
            lambda scene: read_labels((folder / scene.name).with_suffix(".tif")),
            {"method": "label images"},
        )
    generator = make_generator(arguments)
    return (
        lambda scene: generator.segment(scene.image, name=scene.name).to_labels(),
        provenance(generator, arguments),
    )


def main() -> None:
    """Score or tune; tables in Markdown."""
    arguments = parse_arguments()
    start(arguments)
    names = names_of(arguments.data, arguments.fold, arguments.every)
    if arguments.tune:
        refuse_validation(arguments.data)
        grid = tuning.GRID | arguments.grid
        tuning.report(tuning.tune(make_generator(arguments), scenes(arguments.data, names), grid))
        return
    find, made_by = method(arguments)
    rows: scores.Rows = {}
    beside: scores.Rows = {}
    for scene in scenes(arguments.data, names):
        rows[scene.name] = scores.timed(find, scene)
        if not arguments.baseline:
            beside[scene.name] = scores.timed(_baseline, scene)
        if arguments.output:  # after each image, so that a run that is cut off leaves something
            scores.write(arguments.output, rows, made_by)
    log.info("%s", scores.report(rows, beside or None))


if __name__ == "__main__":
    main()
