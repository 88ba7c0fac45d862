"""What is measured on each image, kept in a JSON file, and tables of it."""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from held_out import groups
from metrics import LEVELS, diameters, iou_matrix, matched, precisions
from resampling import intervals, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from held_out import Scene

EDGES = (0, 8, 12, 16, 24, 32, 48, float("inf"))
"""Bins of the diameter of a disc as large as the object, in pixels of the image."""

MEASURES = ("AP50", "AP75", "AP50-95")

Rows = dict[str, dict[str, Any]]
"""By the name of the image: what `score` returns."""


def score(labels: np.ndarray, scene: Scene, seconds: float = 0.0) -> dict[str, Any]:
    """Compare a label image with the truth.

    Returns
    -------
    dict
        JSON: ``field``, ``groups``, ``objects`` and ``found`` (counts), ``precision`` at each of
        `LEVELS`, ``diameters`` of the true objects in pixels, ``hit``: whether each has a found
        one of its own at IoU 0.5, and ``seconds``.
    """
    iou = iou_matrix(scene.labels, labels)
    return {
        "field": scene.field,
        "groups": groups(scene.look, scene.labels.shape),
        "objects": iou.shape[0],
        "found": iou.shape[1],
        "precision": [round(p, 6) for p in precisions(iou)],
        "diameters": diameters(scene.labels).round(2).tolist(),
        "hit": matched(iou, 0.5).tolist(),
        "seconds": round(seconds, 3),
    }


def timed(find: Callable[[Scene], np.ndarray], scene: Scene) -> dict[str, Any]:
    """Find objects in a scene, and score them."""
    began = time.perf_counter()
    labels = find(scene)
    return score(labels, scene, time.perf_counter() - began)


def write(path: Path, rows: Rows, made_by: Mapping[str, Any]) -> None:
    """Write scores so that `read` and ``compare.py`` can read them."""
    text = json.dumps({"made_by": dict(made_by), "images": rows}, separators=(",", ":"))
    path.write_text(text + "\n", encoding="utf-8")


def read(path: Path) -> Rows:
    """Read the scores that `write` wrote."""
    rows: Rows = json.loads(path.read_text("utf-8"))["images"]
    return rows


def measures(row: Mapping[str, Any]) -> list[float]:
    """Return an image's `MEASURES`."""
    precision = row["precision"]
    return [precision[0], precision[LEVELS.index(0.75)], float(np.mean(precision))]


def members(rows: Rows) -> dict[str, list[str]]:
    """Return the names of the images of each group, the largest groups first."""
    found: dict[str, list[str]] = {}
    for name, row in rows.items():
        for group in row["groups"]:
            found.setdefault(group, []).append(name)
    order = {"all": 0, "fluorescence": 1, "the rest": 2}
    return dict(sorted(found.items(), key=lambda item: (order.get(item[0], 3), item[0])))


def summary(rows: Rows) -> dict[str, dict[str, Any]]:
    """Return mean and interval (3 numbers) of each measure for each group, and image counts."""
    out = {}
    for group, names in members(rows).items():
        fields = [rows[n]["field"] for n in names]
        table = intervals([measures(rows[n]) for n in names], fields)
        out[group] = {"images": len(names), "fields": len(set(fields))} | {
            measure: table[:, i].round(4).tolist() for i, measure in enumerate(MEASURES)
        }
    return out


def differences(rows: Rows, other: Rows) -> dict[str, dict[str, Any]]:
    """Return `summary` of these scores minus those of `other`, on the images of both."""
    shared = {name: row for name, row in rows.items() if name in other}
    out = {}
    for group, names in members(shared).items():
        fields = [rows[n]["field"] for n in names]
        change = [np.subtract(measures(rows[n]), measures(other[n])) for n in names]
        table = intervals(change, fields)
        out[group] = {"images": len(names)} | {
            measure: table[:, i].round(4).tolist() for i, measure in enumerate(MEASURES)
        }
    return out


def recall(rows: Rows) -> dict[str, tuple[int, list[float]]]:
    """Return, for each bin of `EDGES`, how many true objects there are and the share found."""
    names = list(rows)
    fields = [rows[n]["field"] for n in names]
    counts, hits = (np.zeros((len(names), len(EDGES) - 1)) for _ in range(2))
    for i, name in enumerate(names):
        of_bin = np.digitize(rows[name]["diameters"], EDGES) - 1
        np.add.at(counts[i], of_bin, 1)
        np.add.at(hits[i], of_bin, rows[name]["hit"])
    with np.errstate(invalid="ignore"):
        table = intervals(hits / counts, fields, weights=counts)
    return {
        _bin(low, high): (int(counts[:, i].sum()), table[:, i].tolist())
        for i, (low, high) in enumerate(itertools.pairwise(EDGES))
    }


def _bin(low: float, high: float) -> str:
    return f"{low:g} to {high:g}" if np.isfinite(high) else f"{low:g} and more"


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def report(rows: Rows, beside: Rows | None = None) -> str:
    """Return Markdown: precision by group and recall by size, with another method's beside."""
    own = summary(rows)
    header = ["images", "number", "fields", *MEASURES]
    lines = [
        [g, s["images"], s["fields"], *(shown(s[m]) for m in MEASURES)] for g, s in own.items()
    ]
    if beside is not None:
        others, change = summary(beside), differences(rows, beside)
        header += ["Otsu AP50", "AP75", "AP50-95", "AP50 minus Otsu's"]
        for line in lines:
            line += [f"{others[line[0]][m][0]:.3f}" for m in MEASURES]
            line.append(shown(change[line[0]]["AP50"], signed=True))
    parts = [table(header, lines)]
    header = ["diameter, pixels", "objects", "found at IoU 0.5"]
    found = recall(rows)
    sizes = [[name, count, shown(share)] for name, (count, share) in found.items()]
    if beside is not None:
        header.append("by Otsu")
        other = recall(beside)
        for line in sizes:
            line.append(shown(other[line[0]][1]))
    parts.append(table(header, sizes))
    seconds = np.median([row["seconds"] for row in rows.values()])
    parts.append(f"Median time of an image: {seconds:.2f} s.")
    return "\n\n".join(parts)
