"""sam2's own generator and ours, side by side: time, memory, and whether the masks are the same.

    python benchmarks/speed.py --quick                             # a quarter of the points
    python benchmarks/speed.py --models sam2.1_hiera_tiny nuclei-nano --rounds 3
    python benchmarks/speed.py --device cuda --models sam2.1_hiera_tiny sam2.1_hiera_large
    python benchmarks/speed.py --tiles --models nuclei-nano        # 2048x2048, in the same tiles
    python benchmarks/speed.py --sides ours propose                # propose and select

A run goes from a uint8 image to a label image. Each side is a process of its own, all started by
this one with the same number of threads, the same weights and the same image; they take turns,
and only one works at a time. Sides: ``stock`` is sam2 as it comes; ``tuned`` is sam2 with glibc
told to keep memory instead of returning it (which no user does, but a program could); ``ours`` and
``fast`` are `segment` in the two precisions, ``propose`` is `propose` and `select`.

The image is the packaged sample of nuclei, mirrored to size, or --image. nuclei-nano is the
embedded model as trained, with its own thresholds and brightness, on all sides; others have random
weights that `speed_models` makes answer like a trained model, and sam2's thresholds. TF32 is off
on all sides. The first run of a process counts as cold, without the time to import and load, which
is in a column of its own; ratios are of warm runs, one a round. Memory is the peak above what the
process, or on CUDA torch, held once the model was loaded.

In tiles, sam2 is run on each of our tiles with the same points; masks that a tile's edge cuts off
and duplicates between tiles are then removed as we do. sam2 has removed duplicates within each
tile before that, so that near an edge another one may stay: agreement there need not be 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.formats import read_image
from parity_tools import compare
from speed_models import calibrated
from speed_worker import loaded

TUNED = {
    "MALLOC_MMAP_MAX_": "0",  # everything from the heap ...
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),  # ... which never shrinks
    "MALLOC_TOP_PAD_": str(64 << 20),
}
SIDES: dict[str, dict[str, Any]] = {
    "stock": {"kind": "stock"},
    "tuned": {"kind": "stock"},
    "ours": {"kind": "ours"},
    "fast": {"kind": "ours", "precision": "fast"},
    "propose": {"kind": "ours", "propose": True},
}


class Side:
    """A process that runs one generator."""

    def __init__(self, name: str, job: dict[str, Any], folder: Path) -> None:
        self.name = name
        self.records = folder / f"{name}.npz"
        environment = dict(os.environ)
        if job["threads"]:
            environment["OMP_NUM_THREADS"] = str(job["threads"])
        if name == "tuned":
            environment |= TUNED
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("speed_worker.py"))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._input: Any = self._process.stdin
        self._output: Any = self._process.stdout
        self._say(
            json.dumps({"precision": "exact", "records": str(self.records)} | job | SIDES[name])
        )
        self._hear()
        self.start = time.perf_counter() - began
        self.cold: dict[str, Any] = {}
        self.warm: list[dict[str, Any]] = []
        self.stages: dict[str, float] = {}

    def _say(self, line: str) -> None:
        self._input.write(line + "\n")
        self._input.flush()

    def _hear(self) -> dict[str, Any]:
        line = self._output.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with exit status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def run(self, command: str = "run") -> dict[str, Any]:
        """Run once; "records" also keeps the records, "stages" also times stages."""
        self._say(command)
        return self._hear()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def prepared(image: Path | None, side: int) -> np.ndarray:
    """Return an image, uint8 HxWx3, mirrored or cut to a square."""
    path = image or Path(str(files("napari_sam_amg"))) / "data" / "samples" / "fluorescence.png"
    pixels = np.asarray(read_image(path))
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    missing = [(0, max(0, side - n)) for n in pixels.shape[:2]]
    return np.ascontiguousarray(np.pad(pixels, (*missing, (0, 0)), mode="symmetric")[:side, :side])


def tiles_of(generator: AutomaticMaskGenerator, shape: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the tiles that ours cuts an image into, for sam2."""
    return [
        {
            "box": list(tile.crop.box),
            "points": tile.points.astype(float).tolist(),
            "seam": 0 if tile.seam is None else tile.seam,
        }
        for row in generator.tile_rows(shape)
        for tile in row
    ]


def job_for(name: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Prepare what all sides of a model are given."""
    rgb = prepared(arguments.image, arguments.side)
    weights = None
    parameters: dict[str, Any] = {"points_per_side": arguments.points}
    if name == "nuclei-nano":
        trained = AutomaticMaskGenerator(name, device="cpu")
        rgb = trained.preview(rgb)
        for given in ("pred_iou_thresh", "stability_score_thresh", "box_nms_thresh"):
            parameters[given] = getattr(trained.parameters, given)
    np.save(folder / "image.npy", rgb)
    if name != "nuclei-nano":
        weights = (arguments.cache or folder) / f"{name}-{arguments.seed}.pt"
        if not weights.exists():
            model = calibrated(
                name, rgb[:1024, :1024], device=arguments.device, seed=arguments.seed
            )
            torch.save({k: v.cpu() for k, v in model.state_dict().items()}, weights)
    job = {
        "model": name,
        "weights": None if weights is None else str(weights),
        "image": str(folder / "image.npy"),
        "device": arguments.device,
        "threads": arguments.threads,
        "tf32": False,
        "parameters": parameters,
        "tiles": [],
        "tile_size": None,
    }
    if arguments.tiles:
        from speed_worker import built

        job["tile_size"] = arguments.tile_size or (512 if name == "nuclei-nano" else 1024)
        generator = AutomaticMaskGenerator(
            built(job | {"device": "cpu"}), tile_size=job["tile_size"], **parameters
        )
        job["tiles"] = tiles_of(generator, rgb.shape[:2])
    return job


def spread(values: list[float]) -> str:
    """Return min / median / max."""
    return f"{min(values):.2f} / {np.median(values):.2f} / {max(values):.2f}"


def report(sides: list[Side], parameters: dict[str, Any]) -> dict[str, Any]:
    """Print the tables of one model, and return their figures."""
    print(
        f"\n{'':<9}{'start':>7}{'cold':>8}{'warm, s: min / median / max':>30}{'CPU-s':>8}"
        f"{'system':>8}{'faults':>11}{'MiB':>8}"
    )
    for side in sides:
        middle = sorted(side.warm, key=lambda run: run["seconds"])[len(side.warm) // 2]
        print(
            f"{side.name:<9}{side.start:>7.1f}{side.cold['seconds']:>8.2f}"
            f"{spread([r['seconds'] for r in side.warm]):>30}{middle['cpu']:>8.1f}"
            f"{middle['system']:>8.1f}{middle['faults']:>11,}{side.cold['memory']:>8.0f}"
        )
    ratios: dict[str, Any] = {}
    base, *others = sides
    for one in sides:
        for other in sides:
            if sides.index(one) < sides.index(other):
                values = [
                    a["seconds"] / b["seconds"] for a, b in zip(one.warm, other.warm, strict=True)
                ]
                memory = one.cold["memory"] / max(other.cold["memory"], 1e-3)
                ratios[f"{one.name} / {other.name}"] = values
                print(
                    f"{one.name} / {other.name}: time {spread(values)}, "
                    f"cold {one.cold['seconds'] / other.cold['seconds']:.2f}, memory {memory:.2f}"
                )
    expected = loaded(base.records)
    for other in others:
        result = compare(expected, loaded(other.records), parameters)
        print(
            f"{other.name} with {base.name}: {result.counts[1]} and {result.counts[0]} masks, "
            f"F1@0.99 {result.f1(0.99):.4f}, F1@0.9 {result.f1(0.9):.4f}, "
            f"mean IoU {result.mean_iou:.6f}, scores differ by {result.score_difference:.1e}, "
            f"unexplained {result.unexplained}"
        )
    names = list(dict.fromkeys(stage for side in sides for stage in side.stages))
    print(f"{'seconds in':<14}" + "".join(f"{side.name:>9}" for side in sides))
    for stage in sorted(names, key=lambda n: n == "other"):
        print(f"{stage:<14}" + "".join(f"{s.stages.get(stage, 0):>9.3f}" for s in sides))
    return {
        "sides": {
            s.name: {"start": s.start, "cold": s.cold, "warm": s.warm, "stages": s.stages}
            for s in sides
        },
        "ratios": ratios,
    }


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one model on all sides, in turns."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        job = job_for(name, arguments, folder)
        prompts = sum(len(t["points"]) for t in job["tiles"]) or arguments.points**2
        print(
            f"\n{name}, {arguments.side}x{arguments.side}, {prompts} prompts"
            + (f" in {len(job['tiles'])} tiles" if job["tiles"] else "")
            + f", {arguments.device}, {arguments.threads or torch.get_num_threads()} threads, "
            f"torch {torch.__version__}",
            flush=True,
        )
        sides = [Side(side, job, folder) for side in arguments.sides]
        try:
            for side in sides:
                side.cold = side.run("records")
            for _ in range(arguments.rounds):
                for side in sides:
                    side.warm.append(side.run())
            for side in sides:
                side.stages = side.run("stages")["stages"]
            return report(sides, job["parameters"])
        finally:
            for side in sides:
                side.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models", nargs="+", default=["sam2.1_hiera_tiny", "nuclei-nano"], metavar="MODEL"
    )
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), metavar="SIDE")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="by default torch's own number")
    parser.add_argument("--points", type=int, help="a side; 32, or 16 with --quick")
    parser.add_argument(
        "--side", type=int, help="of the image, in pixels; 1024, 2048 with --tiles"
    )
    parser.add_argument("--rounds", type=int, help="warm runs; 5, or 1 with --quick")
    parser.add_argument("--image", type=Path, help="take this image")
    parser.add_argument("--tiles", action="store_true", help="in tiles of the model's input")
    parser.add_argument("--tile-size", type=int)
    parser.add_argument("--seed", type=int, default=0, help="of the random weights")
    parser.add_argument("--cache", type=Path, help="keep calibrated weights in this folder")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--quick", action="store_true", help="fewer points and rounds")
    arguments = parser.parse_args()
    on_cuda = arguments.device.startswith("cuda")
    # On CUDA the encoder and the start of processes take the time: points are cheap there.
    arguments.points = arguments.points or (16 if arguments.quick and not on_cuda else 32)
    arguments.rounds = arguments.rounds or ((3 if on_cuda else 1) if arguments.quick else 5)
    arguments.side = arguments.side or (2048 if arguments.tiles else 1024)
    everything = ["stock", "ours", "fast"] if on_cuda else ["stock", "tuned", "ours", "fast"]
    arguments.sides = arguments.sides or everything
    found = {name: measure(name, arguments) for name in arguments.models}
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
