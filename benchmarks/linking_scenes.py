"""Stacks and series made of real nuclei, with exact truth, and detections that are wrong at times.

Nuclei are cut out of BBBC038-like images with their labels. Truth is a label array; what a
segmentation would find of it is made from it by dropping, splitting, merging, shifting, growing
and shrinking, and by masks where there is nothing.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
from scipy import ndimage

from napari_sam_amg import Masks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIDE = 256
SMALLEST = 12
"""Pixels of a cross-section below which there is none."""

HALF = 0.5


@dataclass(frozen=True)
class Nucleus:
    """A real nucleus: its outline, and its pixels above the background from 0 to 1."""

    mask: np.ndarray
    light: np.ndarray

    @property
    def radius(self) -> float:
        """Of a disc of that area, in pixels."""
        return float(np.sqrt(self.mask.sum() / np.pi))

    def drawn(self, scale: float, angle: float) -> tuple[np.ndarray, np.ndarray]:
        """Return mask and light at another scale and turned, in a square with the centre in it."""
        side = 2 * int(np.ceil(max(self.mask.shape) * scale * 0.75)) + 3
        cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
        matrix = np.array([[cos, -sin], [sin, cos]])
        centre = np.array(ndimage.center_of_mass(self.mask))
        offset = centre - matrix @ [side // 2, side // 2]
        pixels = self.mask.astype(np.float32), self.light
        mask, light = (
            ndimage.affine_transform(p, matrix, offset, (side, side), order=1) for p in pixels
        )
        return mask > HALF, light


@dataclass
class Scene:
    """A stack or series with its truth.

    Attributes
    ----------
    truth : int32, NxHxW
        The slices or time points.
    detections : list of Masks
    images : uint8, NxHxW
    divisions : dict of int to (int, int)
        Daughters of each mother.
    """

    truth: np.ndarray
    detections: list[Masks]
    images: np.ndarray
    divisions: dict[int, tuple[int, int]] = field(default_factory=dict)


def nuclei(data: Path, held_out: bool) -> list[Nucleus]:
    """Cut nuclei out of the fluorescence images of one half of the fields."""
    with (data.parent / "fields.csv").open(encoding="utf-8", newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == data.name and r["look"] == "dark"]
    fields = sorted({row["field"] for row in rows})
    half = set(fields[1::2] if held_out else fields[0::2])
    found = []
    for row in sorted(rows, key=lambda r: r["name"]):
        if row["field"] not in half:
            continue
        labels = iio.imread(data / "labels" / row["name"])
        image = iio.imread(data / "images" / row["name"]).astype(np.float32)
        image = image if image.ndim == 2 else image.mean(axis=2)
        dark = np.median(image[labels == 0])
        for number, place in enumerate(ndimage.find_objects(labels), 1):
            if place is None or any(
                s.start == 0 or s.stop == n for s, n in zip(place, labels.shape, strict=True)
            ):
                continue
            mask = np.pad(labels[place] == number, 1)
            if not 150 <= mask.sum() <= 700 or ndimage.label(mask)[1] != 1:
                continue
            light = np.where(mask, np.pad(image[place], 1, mode="edge") - dark, 0).clip(0)
            found.append(Nucleus(mask, light / max(1.0, float(light.max()))))
        if len(found) > 1500:
            break
    return found


class Canvas:
    """Label planes that nuclei are drawn into, none over another."""

    def __init__(self, planes: int, side: int) -> None:
        self.labels = np.zeros((planes, side, side), dtype=np.int32)
        self.light = np.zeros((planes, side, side), dtype=np.float32)

    def draw(
        self, plane: int, centre: np.ndarray, drawn: tuple[np.ndarray, np.ndarray], label: int
    ) -> None:
        """Draw a cross-section where nothing is yet."""
        mask, light = drawn
        side = self.labels.shape[1]
        top, left = np.rint(centre).astype(int) - np.array(mask.shape) // 2
        low = np.maximum([-top, -left], 0)
        high = np.minimum([side - top, side - left], mask.shape)
        if (high <= low).any():
            return
        part = (slice(low[0], high[0]), slice(low[1], high[1]))
        place = (plane, slice(top + low[0], top + high[0]), slice(left + low[1], left + high[1]))
        new = mask[part] & (self.labels[place] == 0)
        if new.sum() >= SMALLEST:
            self.labels[place][new] = label
            self.light[place][new] = light[part][new]

    def free(self, plane: int, centre: np.ndarray, mask: np.ndarray) -> float:
        """Return which share of a cross-section would lie where nothing is."""
        y, x = np.nonzero(mask)
        rows, columns = (
            np.rint(centre).astype(int)[:, None] - np.array(mask.shape)[:, None] // 2 + [y, x]
        )
        inside = (rows >= 0) & (columns >= 0)
        inside &= (rows < self.labels.shape[1]) & (columns < self.labels.shape[1])
        taken = self.labels[plane, rows[inside], columns[inside]] > 0
        return 1 - float(taken.mean()) if len(taken) else 1.0


def stack(library: list[Nucleus], seed: int, *, attempts: int, planes: int = 20) -> Scene:
    """Make a z stack: nuclei like tilted ellipsoids, some of which touch or lie one above another.

    `attempts` says how dense it is. Nuclei may reach beyond the first and last slice.
    """
    rng = np.random.default_rng([seed, 1])
    canvas, label = Canvas(planes, SIDE), 0
    for _ in range(attempts):
        nucleus = library[rng.integers(len(library))]
        depth = rng.uniform(2.5, 6.0)
        middle = rng.uniform(-1, planes)
        centre, tilt = rng.uniform(0, SIDE, 2), rng.normal(0, 0.8, 2)
        angle, turn = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.05)
        sections = []
        nearest = int(np.clip(round(middle), 0, planes - 1))
        if canvas.free(nearest, centre, nucleus.mask) < 0.7:
            continue
        for plane in range(planes):
            height = plane - middle
            scale = np.sqrt(max(0.0, 1 - (height / depth) ** 2))
            if scale > 0.2:
                drawn = nucleus.drawn(scale, angle + turn * height)
                sections.append((plane, centre + tilt * height, drawn))
        if len(sections) < 3 or min(canvas.free(p, c, d[0]) for p, c, d in sections) < 0.85:
            continue
        label += 1
        for plane, place, drawn in sections:
            canvas.draw(plane, place, drawn, label)
    return scene(canvas.labels, canvas.light, rng)


@dataclass(eq=False)
class _Cell:
    nucleus: Nucleus
    label: int
    place: np.ndarray
    angle: float
    velocity: np.ndarray
    age: int
    apart: np.ndarray


def series(
    library: list[Nucleus], seed: int, *, cells: int, drift: float, frames: int = 20
) -> Scene:
    """Make a time series: nuclei that move, divide, come into view and leave it.

    `drift` is how far the stage moves between two time points at most, in pixels, along each axis.
    """
    rng = np.random.default_rng([seed, 2])
    canvas = Canvas(frames, SIDE)
    divisions: dict[int, tuple[int, int]] = {}
    for frame, cell, centre, scale in moving(library, rng, divisions, cells, drift, frames):
        canvas.draw(frame, centre, cell.nucleus.drawn(scale, cell.angle), cell.label)
    return scene(canvas.labels, canvas.light, rng, divisions)


def moving(
    library: list[Nucleus],
    rng: np.random.Generator,
    divisions: dict[int, tuple[int, int]],
    cells: int,
    drift: float,
    frames: int,
) -> Iterator[tuple[int, _Cell, np.ndarray, float]]:
    """Yield time point, nucleus, centre in the view and scale; `divisions` is filled meanwhile."""
    margin = 80
    size = SIDE + 2 * margin
    number = round(cells * (size / SIDE) ** 2)
    living = [
        _Cell(
            library[rng.integers(len(library))], label, rng.uniform(0, size, 2),
            rng.uniform(0, 2 * np.pi), rng.normal(0, 0.7, 2), int(rng.integers(10, 40)),
            np.zeros(2),
        )
        for label in range(1, number + 1)
    ]  # fmt: skip
    for _ in range(40):
        _push_apart(living)
    last = number
    stage = np.zeros(2)
    for frame in range(frames):
        if frame:
            stage = stage + rng.uniform(-drift, drift, 2)
            last = _move(living, rng, divisions, last)
        for cell in living:
            yield frame, cell, cell.place - margin - stage, _scale(cell)


def _scale(cell: _Cell) -> float:
    """Grow back to full size within ten time points after division."""
    return min(1.0, 0.74 + 0.026 * cell.age)


def _move(
    living: list[_Cell], rng: np.random.Generator, divisions: dict[int, tuple[int, int]], last: int
) -> int:
    for cell in list(living):
        cell.age += 1
        cell.velocity = 0.8 * cell.velocity + rng.normal(0, 0.7, 2)
        cell.place = cell.place + cell.velocity + cell.apart
        cell.apart = cell.apart * 0.5
        cell.angle += rng.normal(0, 0.1)
        if cell.age > 12 and rng.random() < 0.02:
            living.remove(cell)
            turn = rng.uniform(0, 2 * np.pi)
            away = np.array([np.sin(turn), np.cos(turn)])
            divisions[cell.label] = (last + 1, last + 2)
            for side in (-1, 1):
                last += 1
                step = side * away * cell.nucleus.radius
                living.append(
                    _Cell(
                        cell.nucleus, last, cell.place + 0.75 * step,
                        rng.uniform(0, 2 * np.pi), cell.velocity.copy(), 0, 0.15 * step,
                    )
                )  # fmt: skip
    _push_apart(living)
    return last


def _push_apart(living: list[_Cell]) -> None:
    places = np.array([cell.place for cell in living])
    radii = np.array([cell.nucleus.radius * _scale(cell) for cell in living])
    away = places[:, None] - places[None]
    distance = np.linalg.norm(away, axis=2) + np.eye(len(living)) * 1e9
    lack = np.maximum(0, 0.95 * (radii[:, None] + radii[None]) - distance) / 2
    push = (away / np.maximum(distance, 1e-6)[..., None] * lack[..., None]).sum(axis=1)
    for cell, step in zip(living, push, strict=True):
        cell.place = cell.place + step


def scene(
    labels: np.ndarray,
    light: np.ndarray,
    rng: np.random.Generator,
    divisions: dict[int, tuple[int, int]] | None = None,
) -> Scene:
    """Return what is there, numbered from 1, with images and detections."""
    truth, kept = numbered(labels, divisions or {})
    images = ndimage.gaussian_filter(20 + 180 * light, (0, 1, 1))
    images = (images + rng.normal(0, 4, images.shape)).clip(0, 255).astype(np.uint8)
    return Scene(truth, [detected(plane, rng) for plane in truth], images, kept)


def numbered(
    labels: np.ndarray, divisions: dict[int, tuple[int, int]]
) -> tuple[np.ndarray, dict[int, tuple[int, int]]]:
    """Give labels numbers from 1, and keep the divisions of which all three are there."""
    ids = np.unique(labels)
    ids = ids[ids > 0]
    new = np.zeros(labels.max() + 1, dtype=np.int32)
    new[ids] = np.arange(1, len(ids) + 1)
    kept = {
        int(new[mother]): (int(new[one]), int(new[other]))
        for mother, (one, other) in divisions.items()
        if {mother, one, other} <= set(ids.tolist())
    }
    return new[labels], kept


def detected(
    truth: np.ndarray,
    rng: np.random.Generator,
    *,
    dropped: float = 0.1,
    split: float = 0.04,
    merged: float = 0.04,
    spurious: float = 1.0,
) -> Masks:
    """Return what might be found of a plane.

    Each object is missing, in two pieces, or one with a neighbour that it touches, at these
    rates; others are up to a pixel larger or smaller and off by about half a pixel. `spurious`
    masks on average are of nothing.
    """
    boxes = {i + 1: box for i, box in enumerate(ndimage.find_objects(truth)) if box}
    masks = []
    while boxes:
        number, box = next(iter(boxes.items()))
        del boxes[number]
        chance = rng.random(2)
        if chance[0] < dropped:
            continue
        around = tuple(slice(max(0, s.start - 4), s.stop + 4) for s in box)
        members = [number]
        if chance[1] < merged:
            near = ndimage.binary_dilation(truth[around] == number, iterations=2)
            members += [i for i in np.unique(truth[around][near]).tolist() if i in boxes][:1]
            for other in members[1:]:
                del boxes[other]
        mask = np.isin(truth, members)
        if merged <= chance[1] < merged + split:
            y, x = np.nonzero(mask)
            turn = rng.uniform(0, np.pi)
            side = (y - y.mean()) * np.sin(turn) + (x - x.mean()) * np.cos(turn) > 0
            piece = np.zeros_like(mask)
            piece[y[side], x[side]] = True
            masks.append(piece)
            mask = mask & ~piece
        masks.append(_jittered(mask, rng))
    rows, columns = np.ogrid[:SIDE, :SIDE]
    for _ in range(rng.poisson(spurious)):
        y, x = rng.integers(8, SIDE - 8, 2)
        masks.append((rows - y) ** 2 + (columns - x) ** 2 <= rng.uniform(3, 8) ** 2)
    masks = [mask for mask in masks if mask.any()]
    order = rng.permutation(len(masks))
    scores = rng.uniform(0.7, 1, len(masks))
    return Masks.from_arrays([masks[i] for i in order], shape=truth.shape, predicted_iou=scores)


def _jittered(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    down, right = np.rint(rng.normal(0, 0.5, 2)).astype(int)
    change = rng.choice([-1, 0, 0, 1])
    y, x = np.nonzero(mask)
    if not len(y):
        return mask
    place = (slice(max(0, y.min() - 4), y.max() + 5), slice(max(0, x.min() - 4), x.max() + 5))
    part = np.pad(mask[place], 4)
    if change > 0:
        part = ndimage.binary_dilation(part)
    elif change < 0 and len(y) > 60:
        part = ndimage.binary_erosion(part)
    part = np.roll(part, (down, right), (0, 1))[4:-4, 4:-4]
    new = np.zeros_like(mask)
    new[place] = part
    return new if new.any() else mask
