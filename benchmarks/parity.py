"""Agreement with sam2's own generator, beside sam2's agreement with itself.

    python benchmarks/parity.py                     # packaged sample images, 40 parameter sets
    python benchmarks/parity.py --sets 8 --images 4 --data DATA/train

The noise floor is sam2 against itself with other batch sizes and thread counts; the
protocol is in docs/parity.md.
"""

from __future__ import annotations

import argparse
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch

from napari_sam_amg import AutomaticMaskGenerator, load_model
from parity_tools import Comparison, compare, random_hiera_tiny, random_parameters, reference


def summary(comparisons: list[Comparison]) -> dict[str, Any]:
    """Figures over all comparisons of one kind."""
    return {
        "comparisons": len(comparisons),
        "masks": sum(c.counts[0] for c in comparisons),
        **{
            f"F1@{t}": round(float(np.mean([c.f1(t) for c in comparisons])), 5)
            for t in (0.5, 0.9, 0.99)
        },
        "mean IoU": round(float(np.mean([c.mean_iou for c in comparisons])), 6),
        "same order": round(float(np.mean([c.same_order for c in comparisons])), 4),
        "largest score difference": max(c.score_difference for c in comparisons),
        "unexplained": sum(c.unexplained for c in comparisons),
    }


def noise_floor(model: Any, image: np.ndarray, parameters: dict[str, Any]) -> list[Comparison]:
    """sam2 against itself: other batch sizes, other thread count."""
    parameters = parameters | {"points_per_batch": 64}
    base = reference(model, image, parameters)
    floor = [
        compare(base, reference(model, image, parameters | {"points_per_batch": n}), parameters)
        for n in (32, 96, 1024)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if threads > 1 else 2)
    try:
        floor.append(compare(base, reference(model, image, parameters), parameters))
    finally:
        torch.set_num_threads(threads)
    return floor


def main() -> None:
    """Print the figures as JSON, one block a model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=40, help="random parameter sets")
    parser.add_argument("--data", type=Path, help="folder with images/; else packaged samples")
    parser.add_argument("--images", type=int, default=4, help="images taken from --data")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.data:
        paths = sorted((arguments.data / "images").glob("*.png"))
        paths = paths[:: max(1, len(paths) // arguments.images)][: arguments.images]
    else:
        folder = Path(str(files("napari_sam_amg"))) / "data" / "samples"
        paths = sorted(folder.glob("*.png"))
    images = [iio.imread(path) for path in paths]
    images = [i if i.ndim == 3 else np.repeat(i[..., None], 3, axis=2) for i in images]
    models = {
        "nuclei-nano": (load_model("nuclei-nano", device="cpu"), 512),
        "Hiera-T, random weights, 256 px": (random_hiera_tiny(arguments.seed), 128),
    }
    for name, (model, side) in models.items():
        rng = np.random.default_rng(arguments.seed)
        ours, floor = [], []
        for index in range(arguments.sets):
            parameters = random_parameters(rng)
            image = images[index % len(images)][:side, : side - index % 7]
            expected = reference(model, image, parameters)
            found = AutomaticMaskGenerator(model, **parameters).generate(image)
            ours.append(compare(expected, found, parameters))
            if index % 4 == 0:
                floor += noise_floor(model, image, parameters)
        result = {"sam2 with itself": summary(floor), "ours with sam2": summary(ours)}
        print(name, json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
