"""Score a model on a folder laid out like BBBC038, or tune its thresholds.

    python training/evaluate.py DATA/val                        # AP50, AP75 of nuclei-nano
    python training/evaluate.py DATA/val --labels OUT           # label TIFFs of the command line
    python training/evaluate.py DATA/val --baseline             # Otsu and watershed
    python training/evaluate.py DATA/train --fold 7 --tune      # on a held-out fold only

Average precision is TP / (TP + FP + FN), one-to-one, averaged over images.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from data import read_fields, split_names
from metrics import average_precision, iou_matrix

log = logging.getLogger("evaluate")
THRESHOLDS = (0.5, 0.75)


def otsu_watershed(image: np.ndarray) -> np.ndarray:
    """Segment nuclei the classical way: Otsu's threshold, distance transform, watershed."""
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu
    from skimage.segmentation import watershed

    grey = image.mean(-1) if image.ndim == 3 else image.astype(float)
    grey = gaussian(grey, 1, preserve_range=True)
    mask = grey > threshold_otsu(grey)
    if mask.mean() > 0.5:
        mask = ~mask
    distance = ndimage.distance_transform_edt(mask)
    peaks = peak_local_max(
        gaussian(distance, 1), min_distance=5, labels=ndimage.label(mask)[0], exclude_border=False
    )
    markers = np.zeros(mask.shape, int)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return watershed(-distance, markers, mask=mask)


def report(scores: dict[str, list[float]], looks: dict[str, str]) -> dict[str, dict[str, float]]:
    """Mean scores over all images, over fluorescence and over the rest."""
    groups = {
        "all": list(scores),
        "fluorescence": [name for name in scores if looks.get(name) == "dark"],
        "other": [name for name in scores if looks.get(name) != "dark"],
    }
    out = {}
    for group, names in groups.items():
        if names:
            means = np.mean([scores[name] for name in names], axis=0)
            out[group] = {"images": float(len(names))} | {
                f"AP{round(100 * t)}": round(float(m), 4)
                for t, m in zip(THRESHOLDS, means, strict=True)
            }
    return out


def score(labels: np.ndarray, truth: np.ndarray) -> list[float]:
    """Average precision of one label image at each threshold."""
    iou = iou_matrix(truth, labels)
    return [average_precision(iou, threshold) for threshold in THRESHOLDS]


def tune(proposals: dict[str, Any], truths: dict[str, np.ndarray], floor: float) -> None:
    """Print the thresholds with the best mean of AP50 and AP75 over the given images."""
    grid = itertools.product(
        np.arange(floor, 0.66, 0.05).round(2),
        (0.2, 0.35, 0.5, 0.65, 0.8),
        (0.2, 0.35, 0.5),
    )
    results = []
    for iou, stability, nms in grid:
        chosen = {
            "pred_iou_thresh": float(iou),
            "stability_score_thresh": stability,
            "box_nms_thresh": nms,
        }
        rules = ("smallest_on_top", "best_score_on_top")
        totals = {rule: [] for rule in rules}
        for name, candidates in proposals.items():
            masks = candidates.select(**chosen)
            for rule in rules:
                totals[rule].append(score(masks.to_labels(rule), truths[name]))
        results += [(np.mean(totals[r], axis=0).tolist(), chosen | {"overlap": r}) for r in rules]
    results.sort(key=lambda item: -sum(item[0]))
    for means, chosen in results[:10]:
        log.info("AP50 %.4f AP75 %.4f %s", *means, json.dumps(chosen))


def main() -> None:
    """Score or tune; prints a table as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--model", default="nuclei-nano", help="name or checkpoint path")
    parser.add_argument("--parameters", type=json.loads, default={}, help="AMG parameters, JSON")
    parser.add_argument("--fold", type=int, help="only this held-out fold of 8 (see train.py)")
    parser.add_argument("--every", type=int, default=1, help="only every n-th image")
    parser.add_argument("--baseline", action="store_true", help="Otsu and watershed instead")
    parser.add_argument("--labels", type=Path, help="score NAME.tif label images in this folder")
    parser.add_argument("--tune", action="store_true", help="sweep thresholds; never on val/")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    from napari_sam_amg import AutomaticMaskGenerator
    from napari_sam_amg.formats import read_labels

    needs_model = not (arguments.baseline or arguments.labels)
    if needs_model:
        generator = AutomaticMaskGenerator(arguments.model, **arguments.parameters)
    fields = read_fields(arguments.data)
    names = sorted(path.name for path in (arguments.data / "images").glob("*.png"))
    if arguments.fold is not None:
        names = split_names({n: fields[n][0] for n in names}, arguments.fold, 8)[1]
    looks = {name: fields[name][1] if name in fields else "" for name in names}
    floor = 0.25 if arguments.tune else 0.0
    scores, proposals, truths = {}, {}, {}
    for name in names[:: arguments.every]:
        image = iio.imread(arguments.data / "images" / name)
        truth = iio.imread(arguments.data / "labels" / name)
        if arguments.baseline:
            scores[name] = score(otsu_watershed(image), truth)
        elif arguments.labels:
            labels = read_labels((arguments.labels / name).with_suffix(".tif"))
            scores[name] = score(labels, truth)
        elif arguments.tune:
            truths[name] = truth
            proposals[name] = generator.propose(image, floor=floor)
        else:
            scores[name] = score(generator.segment(image, name=name).to_labels(), truth)
    if arguments.tune:
        tune(proposals, truths, floor)
    else:
        log.info("%s", json.dumps(report(scores, looks), indent=1))


if __name__ == "__main__":
    main()
