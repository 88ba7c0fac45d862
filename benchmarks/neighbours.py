"""Fields rebuilt from images that adjoin: real nuclei across the seams of tiles.

    python benchmarks/neighbours.py DATA/train --fold 7

DATA is laid out like BBBC038. Of each field, images whose borders go on in each other are put side
by side again (`rebuilt`), and nuclei that were cut become one where both annotators agree on the
border. Each field is then seen in tiles, of which two meet where images were joined. The images
alone stand beside it: there the same nuclei are cut.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from data import read_fields, split_names
from metrics import average_precision, iou_matrix
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.tiling import Tiling
from tiles import found_twice, seams_of

ALIKE = 0.94
"""Correlation of two borders from which on they are taken to adjoin; of others it is below."""

AGREE = 0.6
"""Share of a nucleus' pixels along a joint that must meet one nucleus of the other side."""

Place = tuple[int, int]


@dataclass
class Field:
    """Images that adjoin, as one.

    Attributes
    ----------
    images : dict of (row, column) to (HxW or HxWx3 image, HxW labels)
    image, truth : ndarray
    across : ndarray, int
        Nuclei that lie in several images.
    unsure : ndarray, int
        Nuclei at a joint on which the two sides do not agree.
    """

    images: dict[Place, tuple[np.ndarray, np.ndarray]]
    image: np.ndarray
    truth: np.ndarray
    across: np.ndarray
    unsure: np.ndarray

    @property
    def joints(self) -> tuple[list[int], list[int]]:
        """First rows and columns of images that begin within the field."""
        height, width = self.images[0, 0][1].shape
        down, right = max(self.images)
        return [height * n for n in range(1, down + 1)], [width * n for n in range(1, right + 1)]


def adjoining(images: dict[str, np.ndarray]) -> dict[tuple[str, Place], str]:
    """Return which image lies right of (0, 1) and below (1, 0) another."""
    found: dict[tuple[str, Place], tuple[float, str]] = {}
    taken: dict[tuple[str, Place], tuple[float, str]] = {}
    for one, other in itertools.permutations(images, 2):
        a, b = (
            i if i.ndim == 2 else i[..., :3].mean(axis=-1) for i in (images[one], images[other])
        )
        if a.shape != b.shape:
            continue
        for step, last, first in (((0, 1), a[:, -1], b[:, 0]), ((1, 0), a[-1], b[0])):
            if min(last.std(), first.std()) < 2:
                continue  # nothing in them
            alike = float(np.corrcoef(last, first)[0, 1])
            if alike > ALIKE:
                found[one, step] = max(found.get((one, step), (0.0, "")), (alike, other))
                taken[other, step] = max(taken.get((other, step), (0.0, "")), (alike, one))
    return {
        (one, step): other
        for (one, step), (_, other) in found.items()
        if taken[other, step][1] == one
    }


def placed(names: list[str], beside: dict[tuple[str, Place], str]) -> dict[Place, str]:
    """Return the places of images that fill a rectangle; a pair if all together do not."""
    best: dict[Place, str] = {}
    for first in names:
        places = {(0, 0): first}
        for (row, column), step in itertools.product([(0, 0), (0, 1), (1, 0)], [(0, 1), (1, 0)]):
            name = places.get((row, column))
            if name and (name, step) in beside:
                places.setdefault((row + step[0], column + step[1]), beside[name, step])
        down, right = map(max, zip(*places, strict=True))
        if len(places) < (down + 1) * (right + 1):
            places = dict(list(places.items())[:2])
        best = max(best, places, key=len)
    return best if len(best) > 1 else {}


def joined(first: np.ndarray, second: np.ndarray) -> tuple[dict[int, int], set[int]]:
    """Return which labels along a joint are one nucleus, and those that are not sure.

    Parameters
    ----------
    first, second : ndarray
        Labels on both sides of the joint, from one end to the other.
    """
    same: dict[int, int] = {}
    unsure: set[int] = set()
    for label in np.unique(first[first > 0]).tolist():
        others, counts = np.unique(second[(first == label) & (second > 0)], return_counts=True)
        if not len(others):
            unsure.add(label)
            continue
        other = int(others[counts.argmax()])
        union = np.count_nonzero((first == label) | (second == other))
        if counts.max() >= AGREE * union:
            same[label] = other
        else:
            unsure |= {label, *others.tolist()}
    unsure |= set(np.unique(second[second > 0]).tolist()) - set(same.values())
    return same, unsure


def rebuilt(images: dict[Place, tuple[np.ndarray, np.ndarray]]) -> Field:
    """Put images and labels together."""
    down, right = max(images)
    numbered, last = {}, 0
    for place, (_, labels) in images.items():
        numbered[place] = np.where(labels > 0, labels.astype(np.int64) + last, 0)
        last += int(labels.max())
    parent = np.arange(last + 1)
    across: set[int] = set()
    unsure: set[int] = set()
    for (row, column), labels in numbered.items():
        for step, edge in (((0, 1), (slice(None), -1)), ((1, 0), (-1, slice(None)))):
            other = numbered.get((row + step[0], column + step[1]))
            if other is None:
                continue
            begin = tuple(0 if at == -1 else at for at in edge)
            same, not_sure = joined(labels[edge], other[begin])
            unsure |= not_sure
            for one, two in same.items():
                across |= {one, two}
                parent[parent == parent[two]] = parent[one]

    def together(parts: dict[Place, np.ndarray]) -> np.ndarray:
        rows = range(down + 1)
        return np.vstack([np.hstack([parts[r, c] for c in range(right + 1)]) for r in rows])

    image = together({place: image for place, (image, _) in images.items()})
    return Field(
        images,
        image,
        parent[together(numbered)],
        np.unique(parent[sorted(across)]).astype(int),
        np.unique(parent[sorted(unsure)]).astype(int),
    )


def fields_of(data: Path, fold: int | None) -> dict[str, Field]:
    """Return all fields that can be rebuilt, by their names."""
    known = {n: v for n, v in read_fields(data).items() if (data / "images" / n).exists()}
    names = sorted(known)
    if fold is not None:
        names = split_names({n: known[n][0] for n in names}, fold, 8)[1]
    members = collections.defaultdict(list)
    for name in names:
        members[known[name][0]].append(name)
    found = {}
    for field, names in members.items():
        images = {name: iio.imread(data / "images" / name) for name in names}
        places = placed(names, adjoining(images))
        if places:
            labels = {name: iio.imread(data / "labels" / name) for name in names}
            found[field] = rebuilt({p: (images[n], labels[n]) for p, n in places.items()})
    return found


def measured(generator: AutomaticMaskGenerator, field: Field) -> dict[str, object]:
    """Measure one field."""
    shape = field.truth.shape
    tiling = Tiling.of(shape, generator.parameters, generator.model.image_size)
    seams = seams_of(tiling, shape) if tiling else [[], []]
    joints = [{*joints} <= {*seams[axis]} for axis, joints in enumerate(field.joints) if joints]
    masks = generator.segment(field.image)
    iou = iou_matrix(field.truth, masks.to_labels())
    ids = np.unique(field.truth)[1:]
    sure = ~np.isin(ids, field.unsure)
    across = np.isin(ids, field.across)
    hits = (iou >= 0.5).sum(axis=1)
    alone = [
        average_precision(iou_matrix(truth, generator.segment(image).to_labels()), 0.5)
        for image, truth in field.images.values()
    ]
    return {
        "size": shape,
        "images": len(field.images),
        "a seam at each joint": all(joints),
        "found across": [int((hits[sure & across] > 0).sum()), int((sure & across).sum())],
        "found elsewhere": [int((hits[sure & ~across] > 0).sum()), int((sure & ~across).sum())],
        "found twice": found_twice(field.truth, masks),
        "unsure": int((~sure).sum()),
        "AP50": average_precision(iou, 0.5),
        "AP50 of the images alone": float(np.mean(alone)),
    }


def main() -> None:
    """Print a line of JSON for each field, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--fold", type=int, help="only this held-out fold of 8")
    arguments = parser.parse_args()
    generator = AutomaticMaskGenerator("nuclei-nano")
    lines = []
    for name, field in fields_of(arguments.data, arguments.fold).items():
        lines.append(measured(generator, field))
        print(json.dumps({"field": name, **lines[-1]}), flush=True)
    total: dict[str, object] = {"fields": len(lines)}
    for what in ("images", "found twice", "unsure"):
        total[what] = sum(line[what] for line in lines)
    for what in ("found across", "found elsewhere"):
        found, of = np.sum([line[what] for line in lines], axis=0).tolist()
        total[what] = [found, of, round(found / max(1, of), 4)]
    for what in ("AP50", "AP50 of the images alone"):
        total[what] = round(float(np.mean([line[what] for line in lines])), 4)
    print(json.dumps(total))


if __name__ == "__main__":
    main()
