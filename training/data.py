"""BBBC038-like folders as training batches: images on a square canvas, crops, prompts."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F

from napari_sam_amg.image import prepare_image

if TYPE_CHECKING:
    from pathlib import Path

CANVAS = 512
"""Side in pixels of the square that an image is stretched to, as the model does."""

WAVELENGTHS = (48.0, 96.0, 192.0, 384.0, 768.0)
"""Wavelengths in canvas pixels of the phases that encode an object's centre.

The short ones tell neighbours apart; without the long ones masks repeat 200 px away."""


@dataclass(frozen=True)
class Sample:
    """One image on the canvas: ``image`` uint8 3xSxS, ``labels`` int32 SxS."""

    name: str
    field: str
    look: str
    image: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """B crops of side S with P prompts each, in crop pixels; targets at stride 4.

    Attributes
    ----------
    images : float32 Bx3xSxS, values 0 to 255.
    points : float32 BxPx2, (x, y).
    is_object : bool BxP, False where the prompt lies on background.
    masks : float32 BxPxS/4xS/4, share of each cell that the prompted object covers.
    foreground : float32 BxS/4xS/4, share covered by any object.
    centres : float32 Bx2xS/4xS/4, (x, y) of the centre of the object at the cell.
    """

    images: torch.Tensor
    points: torch.Tensor
    is_object: torch.Tensor
    masks: torch.Tensor
    foreground: torch.Tensor
    centres: torch.Tensor


def read_fields(root: Path) -> dict[str, tuple[str, str]]:
    """Map image name to (field, look) from the ``fields.csv`` beside a split's folder."""
    path = root.parent / "fields.csv"
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {row["name"]: (row["field"], row["look"]) for row in csv.DictReader(file)}


def load_samples(root: Path) -> list[Sample]:
    """Read ``images/`` and ``labels/`` below `root` onto the canvas."""
    fields = read_fields(root)
    samples = []
    for path in sorted((root / "images").glob("*.png")):
        # Percentiles 0.1 and 99.9 become 0 and 255: the model's profile.
        image = prepare_image(iio.imread(path), map_uint8=True, name=path.name).rgb
        labels = iio.imread(root / "labels" / path.name).astype(np.int32)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
        tensor = F.interpolate(
            tensor, (CANVAS, CANVAS), mode="bilinear", antialias=True, align_corners=False
        )
        rows = ((np.arange(CANVAS) + 0.5) * labels.shape[0] / CANVAS).astype(int)
        columns = ((np.arange(CANVAS) + 0.5) * labels.shape[1] / CANVAS).astype(int)
        field, look = fields.get(path.name, (path.stem, "unknown"))
        samples.append(
            Sample(
                name=path.name,
                field=field,
                look=look,
                image=tensor[0].round().clamp(0, 255).to(torch.uint8),
                labels=torch.from_numpy(labels[np.ix_(rows, columns)].copy()),
            )
        )
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


def _random_grid(size: int, rng: np.random.Generator, augment: bool) -> torch.Tensor:
    """Return a grid_sample grid (1xSxSx2) of a random window of the canvas."""
    scale, aspect, angle, flip = 1.0, 1.0, 0.0, 1.0
    if augment:
        scale = math.exp(rng.uniform(math.log(0.6), math.log(1.7)))
        aspect = math.exp(rng.uniform(-0.15, 0.15))
        angle = math.pi / 2 * rng.integers(4)
        if rng.random() < 0.3:
            angle += rng.uniform(-math.pi / 4, math.pi / 4)
        flip = rng.choice([-1.0, 1.0])
    half_x, half_y = size / CANVAS / scale * aspect, size / CANVAS / scale / aspect
    room_x, room_y = max(0.0, 1 - half_x), max(0.0, 1 - half_y)
    centre_x, centre_y = rng.uniform(-room_x, room_x), rng.uniform(-room_y, room_y)
    cos, sin = math.cos(angle), math.sin(angle)
    theta = torch.tensor(
        [
            [half_x * cos * flip, -half_x * sin, centre_x],
            [half_y * sin * flip, half_y * cos, centre_y],
        ],
        dtype=torch.float32,
    )
    return F.affine_grid(theta[None], [1, 1, size, size], align_corners=False)


def _recolour(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Vary intensity, colour, polarity, sharpness and noise of a 3xSxS image in 0..255."""
    x = image / 255
    x = x.clamp(0, 1) ** math.exp(rng.uniform(-0.6, 0.6))
    x = (x - 0.5) * rng.uniform(0.6, 1.25) + 0.5 + rng.uniform(-0.15, 0.15)
    if rng.random() < 0.5:
        x = x * torch.tensor(rng.uniform(0.85, 1.15, (3, 1, 1)), dtype=torch.float32)
    if rng.random() < 0.15:
        x = x.mean(0, keepdim=True).expand(3, -1, -1)
    if rng.random() < 0.12:
        x = 1 - x
    if rng.random() < 0.2:
        weight = rng.uniform(0.3, 1.0)
        x = (1 - weight) * x + weight * F.avg_pool2d(
            F.pad(x[None], (1, 1, 1, 1), mode="reflect"), 3, stride=1
        )[0]
    if rng.random() < 0.3:
        x = x + torch.from_numpy(
            rng.normal(0, rng.uniform(0.01, 0.06), x.shape).astype(np.float32)
        )
    return x.clamp(0, 1) * 255


def _crop(
    sample: Sample, size: int, prompts: int, rng: np.random.Generator, augment: bool
) -> tuple[torch.Tensor, ...]:
    grid = _random_grid(size, rng, augment)
    image = F.grid_sample(
        sample.image[None].float(),
        grid,
        mode="bilinear",
        padding_mode="reflection",
        align_corners=False,
    )[0]
    labels = F.grid_sample(
        sample.labels[None, None].float(),
        grid,
        mode="nearest",
        padding_mode="reflection",
        align_corners=False,
    )[0, 0].to(torch.int64)
    if augment:
        image = _recolour(image, rng)
    ids, inverse, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    xs = torch.arange(size).float()
    flat = inverse.flatten()
    total = counts.float()
    centre_x = torch.zeros(len(ids)).index_add_(0, flat, xs.repeat(size)) / total
    centre_y = torch.zeros(len(ids)).index_add_(0, flat, xs.repeat_interleave(size)) / total
    cells = inverse[2::4, 2::4]
    centres = torch.stack([centre_x[cells], centre_y[cells]])
    foreground = F.avg_pool2d((labels > 0).float()[None, None], 4)[0, 0]

    objects = [i for i in range(len(ids)) if ids[i] > 0 and counts[i] >= 24]
    points, is_object, masks = [], [], []
    order = list(rng.permutation(len(objects))) if objects else []
    wanted = prompts - max(1, prompts // 4) if objects else 0
    for k in range(wanted):
        index = objects[order[k % len(objects)]]
        where = torch.nonzero(flat == index)[:, 0]
        pixel = int(where[rng.integers(len(where))])
        points.append((pixel % size, pixel // size))
        is_object.append(True)
        masks.append(F.avg_pool2d((inverse == index).float()[None, None], 4)[0, 0])
    background = labels == 0
    # A square window's maximum, one axis after the other: ten times quicker.
    nearby = F.max_pool2d((labels > 0).float()[None, None], (17, 1), stride=1, padding=(8, 0))
    near = background & (F.max_pool2d(nearby, (1, 17), stride=1, padding=(0, 8))[0, 0] > 0)
    for k in range(prompts - wanted):
        region = near if k % 2 and bool(near.any()) else background
        where = torch.nonzero(region.flatten())[:, 0]
        inside = len(where) == 0
        pixel = int(rng.integers(size * size)) if inside else int(where[rng.integers(len(where))])
        points.append((pixel % size, pixel // size))
        is_object.append(False)
        masks.append(torch.zeros(size // 4, size // 4))
    return (
        image,
        torch.tensor(points, dtype=torch.float32),
        torch.tensor(is_object),
        torch.stack(masks),
        foreground,
        centres,
    )


def make_batch(
    samples: list[Sample],
    size: int,
    prompts: int,
    rng: np.random.Generator,
    augment: bool = True,
) -> Batch:
    """Crop and augment the given samples (one crop each) and place prompts on them."""
    crops = [_crop(sample, size, prompts, rng, augment) for sample in samples]
    return Batch(*(torch.stack(parts) for parts in zip(*crops, strict=True)))


def centre_phases(centres: torch.Tensor) -> torch.Tensor:
    """Sine and cosine of centres: Bx2x... in canvas pixels to Bx20x...."""
    parts = []
    for wavelength in WAVELENGTHS:
        angle = centres * (2 * math.pi / wavelength)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, dim=1)
