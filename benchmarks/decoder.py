"""CPU time of the mask decoder for each prompt: sam2's modules, and ours, on one thread.

`python benchmarks/decoder.py` prints a line for each model, precision and share of prompts of
which some mask passes the threshold of predicted IoU. Hiera-T has random weights.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time

import numpy as np
import torch

from napari_sam_amg import load_model
from napari_sam_amg.engine import decoder as module
from napari_sam_amg.engine.encoder import encode
from napari_sam_amg.engine.guard import settings
from napari_sam_amg.parameters import AmgParameters
from parity_tools import random_hiera_tiny

CPU = torch.device("cpu")
SHARES = (1.0, 0.5, 0.0)


def _models() -> dict:
    return {
        "nuclei-nano": lambda: load_model("nuclei-nano", device="cpu"),
        "Hiera-T": lambda: random_hiera_tiny(seed=1, image_size=1024),
    }


def _timed(decoder: module.Decoder, points: np.ndarray) -> tuple[float, module.Decoded]:
    """CPU milliseconds a prompt, the second time."""
    decoder.decode(points)
    start = time.process_time()
    decoded = decoder.decode(points)
    return 1e3 * (time.process_time() - start) / len(points), decoded


def _sam2_modules(*args: object, **keywords: object) -> module.Decoder:
    """Make a decoder that takes the model for one it does not know."""
    known, module.misfit = module.misfit, lambda _: "asked for"
    try:
        return module.Decoder(*args, **keywords)
    finally:
        module.misfit = known


def _ours(keys: str, *args: object, **keywords: object) -> module.Decoder:
    """Make a decoder that forms keys or does not, or does as is faster."""
    decoder = module.Decoder(*args, **keywords)
    if keys != "auto":
        made = functools.partial(module.PromptsOnImage, low_rank=keys == "low-rank")
        before, module.PromptsOnImage = module.PromptsOnImage, made
        try:
            decoder.decode(np.zeros((1, 2), dtype=np.float32))
        finally:
            module.PromptsOnImage = before
    return decoder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--model", choices=_models(), action="append")
    parser.add_argument("--keys", nargs="+", choices=["auto", "formed", "low-rank"])
    options = parser.parse_args()
    options.keys = options.keys or ["auto"]
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (512, 512, 3), dtype=np.uint8)
    points = rng.uniform(0, 512, (options.prompts, 2)).astype(np.float32)
    for name in options.model or _models():
        model = _models()[name]()
        for fast in (False, True):
            label = f"{name:12} {'fast' if fast else 'exact'}"
            with settings(CPU, fast=fast):
                features = encode(model, image, "stretch")
                arguments = (model, features, AmgParameters())
                theirs, decoded = _timed(_sam2_modules(*arguments, fast=fast), points)
                sys.stdout.write(f"{label:18} sam2's modules  {theirs:7.2f} ms\n")
                best = decoded.predicted_iou.amax(dim=1).numpy()
                for share in SHARES:
                    floor = float(np.quantile(best, 1 - share)) if 0 < share < 1 else 9 - 9 * share
                    for keys in ["auto"] if fast else options.keys:
                        ours, _ = _timed(_ours(keys, *arguments, fast=fast, floor=floor), points)
                        said = f"{label:18} ours, {share:4.0%} pass {ours:7.2f} ms"
                        sys.stdout.write(f"{said}  {theirs / ours:4.1f}x  {keys}\n")


if __name__ == "__main__":
    main()
