"""Volumes through time, made of real nuclei with exact truth, and how well they were linked.

Nuclei of `linking_scenes.series` (they move, divide, come into view and leave it) are given a
depth: each is like an ellipsoid about a slice of its own, which daughters share with their mother.
Every plane is detected as badly as in the other scenes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from linking_scenes import SIDE, Canvas, detected, moving, numbered
from linking_scores import chain, painted, true_ids
from metrics import average_precision, iou_matrix
from napari_sam_amg.linking import link_and_track

if TYPE_CHECKING:
    from linking_scenes import Nucleus
    from napari_sam_amg import Masks

Stacks = list[list["Masks"]]


@dataclass
class Volumes:
    """Volumes through time with their truth.

    Attributes
    ----------
    truth : int32, TxZxHxW
    detections : list of list of Masks
        For each time point, of each slice.
    divisions : dict of int to (int, int)
        Daughters of each mother.
    """

    truth: np.ndarray
    detections: Stacks
    divisions: dict[int, tuple[int, int]]


@dataclass
class Followed:
    """What came out: labels, TxZxHxW, and the parents of those that have one."""

    labels: np.ndarray
    parents: dict[int, int]


def volumes(
    library: list[Nucleus], seed: int, *, cells: int, drift: float, frames: int, slices: int
) -> Volumes:
    """Make a scene; arguments as for `linking_scenes.series`, and how many slices there are."""
    rng = np.random.default_rng([seed, 3])
    canvas = Canvas(frames * slices, SIDE)
    middles: dict[int, tuple[float, float]] = {}
    divisions: dict[int, tuple[int, int]] = {}
    for frame, cell, centre, scale in moving(library, rng, divisions, cells, drift, frames):
        mother = next((m for m, pair in divisions.items() if cell.label in pair), None)
        if cell.label not in middles:
            known = rng.uniform(-1, slices), rng.uniform(2, 4)
            middles[cell.label] = middles.get(mother, known) if mother else known
        middle, depth = middles[cell.label]
        for z in range(slices):
            section = 1 - ((z - middle) / depth) ** 2
            if section > 0.04:
                drawn = cell.nucleus.drawn(scale * np.sqrt(section), cell.angle)
                canvas.draw(frame * slices + z, centre, drawn, cell.label)
    truth, kept = numbered(canvas.labels, divisions)
    found = [detected(plane, rng) for plane in truth]
    stacks = [found[n : n + slices] for n in range(0, len(found), slices)]
    return Volumes(truth.reshape(frames, slices, SIDE, SIDE), stacks, kept)


def ours(stacks: Stacks) -> Followed:
    """Link slices, and follow what comes of them."""
    tracks = link_and_track(stacks)
    return Followed(np.asarray(tracks.to_labels()), dict(tracks.parents))


def as_true(scene: Volumes) -> Followed:
    """Return what could be had of the detections with no gap filled."""
    flat = [masks for stack in scene.detections for masks in stack]
    planes = scene.truth.reshape(-1, *scene.truth.shape[2:])
    labels = painted(flat, true_ids(planes, flat)).reshape(scene.truth.shape)
    return Followed(labels, {d: mother for mother, pair in scene.divisions.items() for d in pair})


def chained(stacks: Stacks, threshold: float) -> Followed:
    """Chain slices by IoU, and what comes of them by IoU of volumes."""
    labels: list[np.ndarray] = []
    count = 0
    for stack in stacks:
        here = chain(stack, threshold).labels
        ids = np.unique(here)[1:]
        new = {int(i): 0 for i in ids}
        if labels:
            before = np.unique(labels[-1])[1:]
            pairs = iou_matrix(labels[-1], here)
            for place in np.argsort(-pairs, axis=None, kind="stable"):
                i, j = np.unravel_index(place, pairs.shape)
                if pairs[i, j] < threshold:
                    break
                if new[int(ids[j])] == 0 and int(before[i]) not in new.values():
                    new[int(ids[j])] = int(before[i])
        table = np.zeros(int(here.max(initial=0)) + 1, dtype=np.int64)
        for label, number in new.items():
            count += number == 0
            table[label] = number or count
        labels.append(table[here])
    return Followed(np.stack(labels), {})


def score_volumes(followed: Followed, scene: Volumes) -> dict[str, float]:
    """Count links between time points, switches, whole tracks and divisions."""
    seen = [_matched(t, f) for t, f in zip(scene.truth, followed.labels, strict=True)]
    there = [set(np.unique(t).tolist()) - {0} for t in scene.truth]
    steps = list(itertools.pairwise(range(len(seen))))
    true = sum(len(there[a] & there[b]) for a, b in steps)
    made = [
        (i, j)
        for a, b in steps
        for i, number in seen[a].items()
        for j, other in seen[b].items()
        if number == other
    ]
    family = {(m, d) for m, pair in scene.divisions.items() for d in pair}
    switches = 0
    for label in set().union(*there):
        numbers = [at[label] for at in seen if label in at]
        switches += sum(a != b for a, b in itertools.pairwise(numbers))
    children: dict[int, list[int]] = {}
    for child, parent in followed.parents.items():
        children.setdefault(int(parent), []).append(int(child))
    of = [{number: label for label, number in at.items()} for at in seen]

    def first(number: int, *, last: bool = False) -> int | None:
        for at in reversed(of) if last else of:
            if number in at:
                return at[number]
        return None

    right = sum(
        set(scene.divisions.get(first(parent, last=True) or 0, ())) == {first(c) for c in pair}
        for parent, pair in children.items()
    )
    return {
        "true links": true,
        "found": sum(i == j for i, j in made),
        "made": len([pair for pair in made if pair not in family]),
        "false": sum(i != j and (i, j) not in family for i, j in made),
        "switches": switches,
        "objects": len(set().union(*there)),
        "AP50": average_precision(iou_matrix(scene.truth, followed.labels), 0.5),
        "divisions": len(scene.divisions),
        "divided": len(children),
        "right": right,
    }


def _matched(truth: np.ndarray, found: np.ndarray) -> dict[int, int]:
    """Return the object of each true one that it has an IoU above 0.5 with."""
    iou = iou_matrix(truth, found)
    ids, numbers = np.unique(truth)[1:], np.unique(found)[1:]
    return {int(ids[i]): int(numbers[j]) for i, j in zip(*np.nonzero(iou > 0.5), strict=True)}
