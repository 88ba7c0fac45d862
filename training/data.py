"""BBBC038-like folders: images with instance labels, and folds by field."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

from napari_sam_amg.image import prepare_image

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Sample:
    """One image: ``image`` uint8 HxWx3 as the model's profile makes it, ``labels`` int32 HxW."""

    name: str
    field: str
    look: str
    image: np.ndarray
    labels: np.ndarray


def read_fields(root: Path) -> dict[str, tuple[str, str]]:
    """Map image name to (field, look) from the ``fields.csv`` beside a split's folder."""
    path = root.parent / "fields.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: (row["field"], row["look"]) for row in csv.DictReader(file)}


def load_samples(root: Path) -> list[Sample]:
    """Read ``images/`` and ``labels/`` below `root`."""
    fields = read_fields(root)
    samples = []
    for path in sorted((root / "images").glob("*.png")):
        # Percentiles 0.1 and 99.9 become 0 and 255: the model's profile.
        image = prepare_image(iio.imread(path), map_uint8=True, name=path.name).rgb
        labels = iio.imread(root / "labels" / path.name).astype(np.int32)
        field, look = fields.get(path.name, (path.stem, "unknown"))
        samples.append(Sample(path.name, field, look, image, labels))
    return samples


def split_names(fields: dict[str, str], fold: int, folds: int) -> tuple[list[str], list[str]]:
    """Split names by field into (training, held out); ``fold < 0`` holds nothing out.

    Fields differ much in size: each goes, largest first, to the smallest fold so far.
    """
    sizes = Counter(fields.values())
    filled = [0] * folds
    held = set()
    for field, count in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        smallest = filled.index(min(filled))
        filled[smallest] += count
        if smallest == fold:
            held.add(field)
    names = sorted(fields)
    return [n for n in names if fields[n] not in held], [n for n in names if fields[n] in held]


def split_fold(samples: list[Sample], fold: int, folds: int) -> tuple[list[Sample], list[Sample]]:
    """Split samples by field into (training, held out), as `split_names`."""
    held = set(split_names({s.name: s.field for s in samples}, fold, folds)[1])
    return [s for s in samples if s.name not in held], [s for s in samples if s.name in held]
