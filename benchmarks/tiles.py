"""How tiles do on mosaics of real images, beside the same images one by one.

    python benchmarks/tiles.py hits DATA/train                    # points to a diameter
    python benchmarks/tiles.py mosaic DATA/train --fold 7 --shape 520 696 --grid 2 2
    python benchmarks/tiles.py mosaic DATA/train --fold 7 --grid 8 8 --prompts objects

DATA is laid out like BBBC038. Images of a mosaic are first brought to the contrast that the model
would see each of them in, since a mosaic as a whole has only one. Where there are fewer images
than places, all are used equally often, mirrored at random. The diameter is the median of the
nuclei of the mosaic, in both cases, or the model's own with --diameter 0. A mask that crosses the
border of two images counts in the one that holds most of it. The model is asked at a grid and
where it sees objects itself, one after the other.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "training"))

from data import read_fields, split_names
from metrics import average_precision, diameters, iou_matrix, matches
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.run import Run
from napari_sam_amg.engine.tiling import Tiling
from napari_sam_amg.image import prepare_image
from napari_sam_amg.sizes import POINTS_ACROSS

if TYPE_CHECKING:
    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.engine.grid import Crop
    from napari_sam_amg.masks import Masks


def hits(data: Path) -> dict[str, float]:
    """Share of all nuclei that a grid of so many points to their image's median diameter hits."""
    found: dict[float, list[int]] = {1.5: [], 2.0: [], 3.0: [], POINTS_ACROSS: [], 4.0: []}
    total = 0
    for path in sorted((data / "labels").glob("*.png")):
        labels = iio.imread(path)
        sizes = diameters(labels)
        total += len(sizes)
        for points, counts in found.items():
            if len(sizes):
                spacing = np.median(sizes) / points
                y, x = (
                    ((np.arange(n) + 0.5) * side / n).astype(int)
                    for side in labels.shape
                    for n in [int(np.ceil(side / spacing))]
                )
                counts.append(np.count_nonzero(np.unique(labels[np.ix_(y, x)])))
    return {f"{points:g} points": sum(counts) / total for points, counts in found.items()}


def mosaic(
    images: list[np.ndarray], truths: list[np.ndarray], across: int
) -> tuple[np.ndarray, np.ndarray]:
    """Put images of one shape side by side, row by row, and number their objects through."""
    numbered, last = [], 0
    for truth in truths:
        numbered.append(np.where(truth > 0, truth.astype(np.int64) + last, 0))
        last += int(truth.max())
    rows = range(0, len(images), across)
    whole = [
        np.vstack([np.hstack(parts[i : i + across]) for i in rows]) for parts in (images, numbered)
    ]
    return whole[0], whole[1]


def in_images(
    labels: np.ndarray, shape: tuple[int, int]
) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """Cut a mosaic's label image into its images, each label where most of it lies."""
    height, width = shape
    places = [
        (slice(top, top + height), slice(left, left + width))
        for top in range(0, labels.shape[0], height)
        for left in range(0, labels.shape[1], width)
    ]
    count = int(labels.max()) + 1
    home = np.argmax([np.bincount(labels[p].ravel(), minlength=count) for p in places], axis=0)
    return [(p, np.where(home[labels[p]] == i, labels[p], 0)) for i, p in enumerate(places)]


def matched(one: np.ndarray, other: np.ndarray, threshold: float) -> float:
    """F1 of two label images' objects, one to one, at an IoU threshold."""
    iou = iou_matrix(one, other)
    return 2 * matches(iou, threshold) / max(1, sum(iou.shape))


def seams_of(tiling: Tiling, shape: tuple[int, ...]) -> list[list[int]]:
    """Return the rows and columns at which a tile's own part begins, but for the first."""
    return [[begin for _, _, begin, _ in tiling._along(0, n)][1:] for n in shape[:2]]


def found_twice(truth: np.ndarray, masks: Masks) -> int:
    """Count objects that several masks, which may overlap, have an IoU of 0.5 with."""
    sizes, times = np.bincount(truth.ravel()), np.zeros(int(truth.max()) + 1, dtype=int)
    windows, areas = masks.store.windows.tolist(), masks.areas.tolist()
    for index, ((x, y, width, height), area) in enumerate(zip(windows, areas, strict=True)):
        part = truth[y : y + height, x : x + width][masks.store.window(index)]
        shared = np.bincount(part, minlength=len(sizes))
        shared[0] = 0
        times[shared >= 0.5 * (sizes + area - shared)] += shared.max() > 0
    times[0] = 0
    return int((times > 1).sum())


def inner(labels: np.ndarray, margin: int) -> np.ndarray:
    """Leave out objects that come near to the border."""
    edge = np.ones(labels.shape, dtype=bool)
    edge[margin:-margin, margin:-margin] = False
    return np.where(np.isin(labels, np.unique(labels[edge])), 0, labels)


class Prompts:
    """While it is entered, keeps every point that a model is asked at, in pixels of the image."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []

    def __enter__(self) -> Prompts:
        kept = self.points
        seen = self._seen = Run._seen

        def keep(run: Run, features: Features, crop: Crop) -> np.ndarray:
            points = seen(run, features, crop)
            kept.append(points + np.array(crop.box[:2]))
            return points

        Run._seen = keep
        return self

    def __exit__(self, *_: object) -> None:
        Run._seen = self._seen


def chosen(arguments: argparse.Namespace) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Return names, images as the model would see them, and labels for each place of a mosaic."""
    data, shape = arguments.data, tuple(arguments.shape)
    fields = read_fields(data)
    names = sorted(n for n in fields if (data / "images" / n).exists() and fields[n][1] == "dark")
    if arguments.fold is not None:
        names = split_names({n: fields[n][0] for n in names}, arguments.fold, 8)[1]
    names = [n for n in names if iio.imread(data / "labels" / n).shape == shape]
    if not names:
        raise SystemExit(f"no fluorescence images of {shape[0]}x{shape[1]} pixels")
    rng = np.random.default_rng(arguments.seed)
    places = arguments.grid[0] * arguments.grid[1]
    names = [str(n) for n in np.resize(rng.permutation(names), places)]
    images, truths = [], []
    for number, name in enumerate(names):
        image = prepare_image(iio.imread(data / "images" / name), map_uint8=True).rgb[..., 0]
        truth = iio.imread(data / "labels" / name)
        repeated = name in names[:number]
        turns = rng.choice([-1, 1], 2) if repeated else (1, 1)
        images.append(image[:: turns[0], :: turns[1]])
        truths.append(truth[:: turns[0], :: turns[1]])
    return names, images, truths


def compare(arguments: argparse.Namespace) -> dict[str, object]:
    """Run a mosaic, the same with the tiles' origin shifted, and its images one by one."""
    names, images, truths = chosen(arguments)
    image, truth = mosaic(images, truths, arguments.grid[1])
    sizes = diameters(truth)
    median = float(np.median(sizes))
    said = {
        "images": len(set(names)),
        "size": image.shape,
        "nuclei": len(sizes),
        "median diameter": median,
    }
    if arguments.save:
        iio.imwrite(arguments.save, image)
        return said
    diameter = median if arguments.diameter is None else arguments.diameter
    size = {"object_diameter": diameter} if diameter else {}
    generator = AutomaticMaskGenerator("nuclei-nano", contrast=(0, 255), **size)
    for way in arguments.prompts:
        settings = {"prompts": way, **size}
        asked = generator.configured(contrast=(0, 255), **settings)
        said[way] = measured(asked, image, truth, images, truths, arguments.shift, median)
    return said


def measured(
    generator: AutomaticMaskGenerator,
    image: np.ndarray,
    truth: np.ndarray,
    images: list[np.ndarray],
    truths: list[np.ndarray],
    shift: tuple[int, int],
    diameter: float,
) -> dict[str, object]:
    """Measure one way to ask the model."""
    p = generator.parameters
    tiling = Tiling.of(image.shape, p, generator.model.image_size)
    if tiling is None:
        raise SystemExit("the mosaic is no larger than a tile")
    tiles = list(tiling.prompts((0, 0, image.shape[1], image.shape[0])))
    began = time.perf_counter()
    with Prompts() as prompts:
        masks = generator.segment(image)
    seconds = time.perf_counter() - began
    points = np.concatenate([*(points for _, points in tiles), *prompts.points]).astype(int)
    if len(points) != masks.provenance["prompts"]:
        raise SystemExit(f"{len(points)} points, but {masks.provenance['prompts']} prompts")
    hit = np.unique(truth[points[:, 1], points[:, 0]])
    labels = masks.to_labels()
    singles = [generator.segment(part).to_labels() for part in images]

    # Where cores meet.
    seams = np.zeros(image.shape, dtype=bool)
    rows, columns = seams_of(tiling, image.shape)
    seams[rows], seams[:, columns] = True, True
    crossing = np.unique(truth[seams])
    iou = iou_matrix(truth, labels)
    found = iou.max(axis=1, initial=0) >= 0.5
    ids = np.unique(truth)[1:]
    at_seam = np.isin(ids, crossing)
    right, down_by = shift
    shifted = generator.segment(image[down_by:, right:]).to_labels()
    margin = round(diameter)
    one, other = inner(labels[down_by:, right:], margin), inner(shifted, margin)
    scores = {
        "mosaic": [
            [average_precision(iou_matrix(truth[p], part), t) for t in (0.5, 0.75)]
            for p, part in in_images(labels, images[0].shape)
        ],
        "singles": [
            [average_precision(iou_matrix(t, s), level) for level in (0.5, 0.75)]
            for t, s in zip(truths, singles, strict=True)
        ],
    }
    return {
        "parameters": {
            n: getattr(p, n)
            for n in ("object_diameter", "scale", "tile_size", "tile_halo", "points_per_side")
        },
        "tiles": len(tiles),
        "prompts": len(points),
        "masks": len(masks),
        "seconds": round(seconds, 1),
        "hit": np.count_nonzero(hit) / len(ids),
        **{f"AP {k}": np.mean(v, axis=0).round(4).tolist() for k, v in scores.items()},
        "recall at seams": [float(found[at_seam].mean()), int(at_seam.sum())],
        "recall elsewhere": float(found[~at_seam].mean()),
        "nuclei found twice": found_twice(truth, masks),
        "F1@0.75 with the origin shifted": matched(one, other, 0.75),
        "F1@0.5 with the origin shifted": matched(one, other, 0.5),
    }


def main() -> None:
    """Print figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["hits", "mosaic"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--fold", type=int, help="only this held-out fold of 8")
    parser.add_argument("--shape", type=int, nargs=2, default=(256, 256))
    parser.add_argument("--grid", type=int, nargs=2, default=(4, 4), help="images down and across")
    parser.add_argument("--shift", type=int, nargs=2, default=(37, 61), help="pixels, x and y")
    parser.add_argument("--diameter", type=float, help="instead of the median; 0: the model's own")
    parser.add_argument("--prompts", nargs="+", default=["grid", "objects"])
    parser.add_argument("--save", type=Path, help="only write the mosaic, as this file")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(json.dumps(hits(arguments.data) if arguments.what == "hits" else compare(arguments)))


if __name__ == "__main__":
    main()
