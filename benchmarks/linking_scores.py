"""How well slices or time points were linked, and a plain chain by IoU to compare with."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from typing import TYPE_CHECKING

from metrics import average_precision, iou_matrix

if TYPE_CHECKING:
    from napari_sam_amg import Masks

REACH = 3
"""Slices or time points apart that an object may be found, to be expected to be linked."""

Ids = list[np.ndarray]
"""For each slice or time point, a number for each detection; 0 for none."""


@dataclass(frozen=True)
class Linked:
    """What came out: the object or track of each detection, labels, and parents."""

    ids: Ids
    labels: np.ndarray
    parents: dict[int, int]


def chain(frames: list[Masks], threshold: float, extent: int = 2) -> Linked:
    """Link neighbours one to one by falling IoU, as far as it is at least the threshold.

    Objects of fewer slices or time points than `extent` are dropped, as ours are.
    """
    ids: Ids = []
    count = 0
    for number, masks in enumerate(frames):
        here = np.zeros(len(masks), dtype=np.int64)
        if number and len(masks) and len(frames[number - 1]):
            pairs = _ious(frames[number - 1], masks)
            for place in np.argsort(-pairs, axis=None, kind="stable"):
                i, j = np.unravel_index(place, pairs.shape)
                if pairs[i, j] < threshold:
                    break
                if here[j] == 0 and ids[-1][i] not in here:
                    here[j] = ids[-1][i]
        new = here == 0
        here[new] = count + 1 + np.arange(np.count_nonzero(new))
        count += int(np.count_nonzero(new))
        ids.append(here)
    lengths = np.bincount(np.concatenate([np.unique(here) for here in ids]), minlength=count + 1)
    kept = np.where(lengths >= extent, np.arange(count + 1), 0)
    ids = [kept[here] for here in ids]
    return Linked(ids, painted(frames, ids), {})


def _ious(one: Masks, other: Masks) -> np.ndarray:
    a, b = (np.array([m.ravel() for m in masks], dtype=np.float32) for masks in (one, other))
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1)[None] - shared)


def painted(frames: list[Masks], ids: Ids) -> np.ndarray:
    """Show detections by their numbers, the smallest on top."""
    return np.stack(
        [
            np.concatenate([[0], here])[masks.to_labels()]
            for masks, here in zip(frames, ids, strict=True)
        ]
    )


def true_ids(truth: np.ndarray, frames: list[Masks]) -> Ids:
    """Return the true object that each detection has an IoU above 0.5 with, 0 for none.

    Of several detections of one object the best counts.
    """
    found = []
    for plane, masks in zip(truth, frames, strict=True):
        sizes = np.bincount(plane.ravel())
        here = np.zeros(len(masks), dtype=np.int64)
        best: dict[int, tuple[float, int]] = {}
        for row, mask in enumerate(masks):
            shared = np.bincount(plane[mask], minlength=len(sizes))
            iou = shared / (sizes + mask.sum() - shared)
            iou[0] = 0
            label = int(iou.argmax())
            if iou[label] > 0.5 and iou[label] > best.get(label, (0.0, 0))[0]:
                best[label] = (float(iou[label]), row)
        for label, (_, row) in best.items():
            here[row] = label
        found.append(here)
    return found


def _appearances(ids: Ids, by: Ids) -> dict[int, list[tuple[int, int]]]:
    """Return (frame, detection) of each number in `ids`, of those detections that are in `by`."""
    places: dict[int, list[tuple[int, int]]] = {}
    for frame, (here, wanted) in enumerate(zip(ids, by, strict=True)):
        for row in np.flatnonzero((here > 0) & (wanted > 0)).tolist():
            places.setdefault(int(here[row]), []).append((frame, row))
    return places


def _links(places: dict[int, list[tuple[int, int]]]) -> set[tuple[tuple[int, int], ...]]:
    return {pair for found in places.values() for pair in itertools.pairwise(found)}


def score(
    linked: Linked,
    truth: np.ndarray,
    true: Ids,
    divisions: dict[int, tuple[int, int]],
) -> dict[str, float]:
    """Count links, switches, whole objects and divisions; see docs/linking.md."""
    objects = _appearances(true, true)
    expected = {pair for pair in _links(objects) if pair[1][0] - pair[0][0] <= REACH}
    made = _links(_appearances(linked.ids, true))
    family = {(m, d) for m, pair in divisions.items() for d in pair}
    made = {p for p in made if (_of(true, p[0]), _of(true, p[1])) not in family}
    correct = made & _links(objects)
    switches = 0
    for places in objects.values():
        numbers = [n for place in places if (n := _of(linked.ids, place))]
        switches += sum(a != b for a, b in itertools.pairwise(numbers))
    found = {
        "true links": len(expected),
        "found": len(expected & made),
        "made": len(made),
        "false": len(made) - len(correct),
        "switches": switches,
        "objects": len(np.unique(truth)) - 1,
        "AP50": average_precision(iou_matrix(truth, linked.labels), 0.5),
    }
    return found | _divisions(linked, true, divisions)


def _of(ids: Ids, place: tuple[int, int]) -> int:
    return int(ids[place[0]][place[1]])


def _divisions(
    linked: Linked, true: Ids, divisions: dict[int, tuple[int, int]]
) -> dict[str, float]:
    places = _appearances(linked.ids, true)
    children: dict[int, list[int]] = {}
    for child, parent in linked.parents.items():
        children.setdefault(parent, []).append(child)
    right = set()
    for parent, pair in children.items():
        if parent in places and all(child in places for child in pair):
            mother = _of(true, places[parent][-1])
            daughters = {_of(true, places[child][0]) for child in pair}
            if set(divisions.get(mother, ())) == daughters:
                right.add(mother)
    return {"divisions": len(divisions), "divided": len(children), "right": len(right)}


def summary(rows: list[dict[str, float]]) -> dict[str, str]:
    """Add up scenes, and average their AP50."""
    total = {name: sum(row[name] for row in rows) for name in rows[0]}
    ap = [row["AP50"] for row in rows]
    divisions = total["divisions"] + total["divided"]
    return {
        "links found": f"{total['found'] / total['true links']:.4f}",
        "links false": f"{total['false'] / max(1, total['made']):.4f}",
        "AP50": f"{np.mean(ap):.4f} ± {np.std(ap):.4f}",
        "switches": f"{total['switches'] / total['objects']:.4f}",
        "division F1": f"{2 * total['right'] / divisions:.4f}" if total["divided"] else "-",
        "objects": f"{total['objects']:.0f}",
    }
