"""What a Cellpose model of one's own training finds, and which thresholds suit it."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from metrics import LEVELS, iou_matrix, precisions

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from held_out import Scene

log = logging.getLogger("cellpose_model")

GREY = [0, 0]
"""Cellpose's ``channels``: the mean of the colours, and no second channel."""

NETWORK, SIZES, CHOSEN = "cellpose", "cellpose_size.npy", "chosen.json"
"""Files in the folder of a run; Cellpose expects the second to be called after the first."""

DIAMETERS = (0.0, 12.0, 17.0, 24.0, 34.0)
CELLPROBS = (-3.0, -2.0, -1.0, 0.0, 1.0)
FLOWS = (0.4, 0.6, 0.8, 1.0)
"""What is tried on held-out images."""

SMALLEST, LARGEST = 5.0, 120.0
"""Limits of an estimated diameter, pixels."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """How flows become objects; the defaults are Cellpose's.

    Attributes
    ----------
    diameter : float
        Of the nuclei in pixels, the same for every image; 0 to estimate it for each.
    cellprob_threshold : float
        Logit from which a pixel belongs to an object.
    flow_threshold : float
        Largest error of an object's flows.
    """

    diameter: float = 0.0
    cellprob_threshold: float = 0.0
    flow_threshold: float = 0.4


class CellposeRun:
    """A network that ``baseline_cellpose.py`` has trained.

    Parameters
    ----------
    folder : Path
        The ``--output`` of the run.
    device : str, optional
        ``cuda`` where there is one by default.
    """

    def __init__(self, folder: Path, *, device: str | None = None) -> None:
        if not (folder / NETWORK).exists():  # Cellpose would download another one
            raise SystemExit(f"{folder}: no network; run training/baseline_cellpose.py")
        import torch
        from cellpose import models

        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = models.CellposeModel(pretrained_model=str(folder / NETWORK), device=chosen)
        # The size model has seen styles of images at their own scale.
        self.model.diam_labels = self.model.diam_mean
        self.sizes = None
        if (folder / SIZES).exists():
            self.sizes = models.SizeModel(self.model, pretrained_size=str(folder / SIZES))
        self.thresholds = Thresholds()
        if (folder / CHOSEN).exists():
            self.thresholds = Thresholds(**json.loads((folder / CHOSEN).read_text("utf-8")))

    def diameter(self, image: np.ndarray) -> float:
        """Estimate the diameter of the nuclei in an image, in pixels."""
        if self.sizes is None:
            return float(self.model.diam_mean)
        found = self.sizes.eval(image, channels=GREY)[0]
        return float(np.clip(found, SMALLEST, LARGEST))

    def flows(self, image: np.ndarray, diameter: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Return flows (2xHxW), logits (HxW) and the diameter, estimated if it is 0."""
        diameter = diameter or self.diameter(image)
        _, found, _ = self.model.eval(image, channels=GREY, diameter=diameter, compute_masks=False)
        return found[1], found[2], diameter

    def labels(
        self, found: tuple[np.ndarray, np.ndarray, float], thresholds: Thresholds
    ) -> np.ndarray:
        """Return the objects of what `flows` found: labels from 1, integers, HxW."""
        from cellpose import dynamics

        flows, logits, diameter = found
        masks: np.ndarray = dynamics.resize_and_compute_masks(
            flows,
            logits,
            niter=200 * diameter / self.model.diam_mean,  # as Cellpose itself has it
            cellprob_threshold=thresholds.cellprob_threshold,
            flow_threshold=thresholds.flow_threshold,
            device=self.model.device,
        )
        return masks

    def segment(self, image: np.ndarray) -> np.ndarray:
        """Return the objects of an image, by the thresholds of the run."""
        return self.labels(self.flows(image, self.thresholds.diameter), self.thresholds)

    def provenance(self) -> dict[str, Any]:
        """Return what a written result says of how it was made (JSON)."""
        from importlib.metadata import version

        return {
            "method": "Cellpose, trained from scratch",
            "version": version("cellpose"),
            "parameters": dataclasses.asdict(self.thresholds),
        }


def choose(run: CellposeRun, scenes: Iterable[Scene]) -> Thresholds:
    """Choose the diameter by Cellpose's default thresholds, then these by that diameter.

    Parameters
    ----------
    run : CellposeRun
    scenes : iterable of Scene
        Held out from training; never ``val/``.

    Returns
    -------
    Thresholds
        Those of the best mean of AP50 and AP75, as `tuning.tune` ranks.
    """
    kept = list(scenes)
    diameters = [Thresholds(d) for d in DIAMETERS if d or run.sizes is not None]
    best = _best(run, kept, diameters)
    pairs = itertools.product(CELLPROBS, FLOWS)
    return _best(run, kept, [Thresholds(best.diameter, *pair) for pair in pairs])


def _best(run: CellposeRun, scenes: list[Scene], ways: list[Thresholds]) -> Thresholds:
    """Return the way of the best mean over the scenes; log all."""
    totals = np.zeros((len(ways), 2))
    for scene in scenes:
        known: dict[float, tuple[np.ndarray, np.ndarray, float]] = {}
        for i, way in enumerate(ways):
            if way.diameter not in known:
                known[way.diameter] = run.flows(scene.image, way.diameter)
            labels = run.labels(known[way.diameter], way)
            found = precisions(iou_matrix(scene.labels, labels))
            totals[i] += found[0], found[LEVELS.index(0.75)]
    for means, way in zip((totals / len(scenes)).tolist(), ways, strict=True):
        log.info("AP50 %.4f AP75 %.4f %s", *means, json.dumps(dataclasses.asdict(way)))
    return ways[int(totals.sum(1).argmax())]
