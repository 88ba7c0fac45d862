"""One side of `speed.py`: a process that runs one mask generator whenever it is told to.

It reads a job (JSON) from its first line of input, then commands, and answers each on one line.
Measuring both sides in processes of their own keeps their peak memory, allocator and caches
apart; only one of them works at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sam2.modeling.sam2_base import SAM2Base

Record = dict[str, Any]


class Stages:
    """Seconds by stage, without those of stages within it."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inner = [0.0]

    def now(self) -> float:
        """Return the time once the device has done all work."""
        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextlib.contextmanager
    def watching(self, places: list[tuple[Any, str, str]]) -> Iterator[None]:
        """Time calls of functions, given as (owner, name, stage)."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
        for owner, name, stage in places:
            setattr(owner, name, self._timed(getattr(owner, name), stage))
        try:
            yield
        finally:
            for owner, name, function in before:
                setattr(owner, name, function)

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            self._inner.append(0.0)
            began = self.now()
            try:
                return function(*arguments, **keywords)
            finally:
                took = self.now() - began
                self.seconds[stage] += took - self._inner.pop()
                self._inner[-1] += took

        return call


def painted(records: list[Record], shape: tuple[int, int]) -> np.ndarray:
    """Draw sam2's records into a label image, the smallest on top."""
    labels = np.zeros(shape, dtype=np.uint16 if len(records) < 65536 else np.uint32)
    for index in sorted(range(len(records)), key=lambda i: (-records[i]["area"], -i)):
        labels[records[index]["segmentation"]] = index + 1
    return labels


class Stock:
    """sam2's own generator, on the whole image or on each of the given tiles."""

    def __init__(self, model: SAM2Base, job: dict[str, Any]) -> None:
        from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

        self._make = SAM2AutomaticMaskGenerator
        self._model, self._job = model, job
        self._records: list[Record] = []

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the label image."""
        rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        if self._job["tiles"]:
            self._records = self._tiled(rgb)
        else:
            self._records = self._generator().generate(rgb)
        return painted(self._records, rgb.shape[:2])

    def _generator(self, **other: Any) -> Any:
        generator = self._make(self._model, **{**self._job["parameters"], **other})
        size = self._model.image_size
        generator.predictor._bb_feat_sizes = [(size // n, size // n) for n in (4, 8, 16)]
        return generator

    def _tiled(self, rgb: np.ndarray) -> list[Record]:
        """Run on each tile as on an image, and remove what edges cut off and duplicates."""
        from torchvision.ops import batched_nms

        height, width = rgb.shape[:2]
        records = []
        for tile in self._job["tiles"]:
            x0, y0, x1, y1 = tile["box"]
            size = np.array([x1 - x0, y1 - y0])
            grid = np.array(tile["points"]) / size
            generator = self._generator(points_per_side=None, point_grids=[grid])
            for record in generator.generate(np.ascontiguousarray(rgb[y0:y1, x0:x1])):
                x, y, w, h = record["bbox"]
                inner = np.array([x0 + x, y0 + y, x0 + x + w, y0 + y + h])
                near = abs(inner - [x0, y0, x1, y1]) <= tile["seam"]
                near &= abs(inner - [0, 0, width, height]) > tile["seam"]
                if near.any():
                    continue
                whole = np.zeros((height, width), dtype=bool)
                whole[y0:y1, x0:x1] = record["segmentation"]
                box = [inner[0], inner[1], w, h]
                records.append(record | {"segmentation": whole, "bbox": [float(v) for v in box]})
        boxes = torch.tensor([r["bbox"] for r in records]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        scores = torch.tensor([r["predicted_iou"] for r in records])
        kept = batched_nms(boxes, scores, torch.zeros(len(boxes)), 0.7)
        return [records[i] for i in kept.tolist()]

    def records(self) -> list[Record]:
        """Return the records of the last run."""
        return self._records

    @property
    def places(self) -> list[tuple[Any, str, str]]:
        """What to time for the table of stages."""
        from sam2 import automatic_mask_generator as amg
        from sam2.sam2_image_predictor import SAM2ImagePredictor
        from sam2.utils.transforms import SAM2Transforms

        return [
            (SAM2ImagePredictor, "set_image", "encode"),
            (SAM2ImagePredictor, "_predict", "decode"),
            (SAM2Transforms, "postprocess_masks", "upsample"),
            (amg, "calculate_stability_score", "stability"),
            (amg, "batched_mask_to_box", "boxes"),
            (amg, "mask_to_rle_pytorch", "pack masks"),
            (amg, "rle_to_mask", "records"),
            (amg.MaskData, "filter", "filter, cat"),
            (amg.MaskData, "cat", "filter, cat"),
            (amg, "batched_nms", "select"),
            (sys.modules[__name__], "painted", "label image"),
        ]


class Ours:
    """The package's generator."""

    def __init__(self, model: SAM2Base, job: dict[str, Any]) -> None:
        from napari_sam_amg import AutomaticMaskGenerator

        extra = {"tile_size": job["tile_size"]} if job["tiles"] else {}
        self._generator = AutomaticMaskGenerator(
            model, precision=job["precision"], **job["parameters"], **extra
        )
        self._masks: Any = None
        self._propose = bool(job.get("propose"))

    def run(self, image: np.ndarray) -> np.ndarray:
        """Return the label image; nothing is kept of an earlier run on the same image."""
        self._generator.clear_cache()
        if self._propose:
            self._masks = self._generator.propose(image).select()
        else:
            self._masks = self._generator.segment(image)
        labels: np.ndarray = self._masks.to_labels()
        return labels

    def records(self) -> list[Record]:
        """Return the records of the last run."""
        records: list[Record] = self._masks.records("binary_mask")
        return records

    @property
    def places(self) -> list[tuple[Any, str, str]]:
        """What to time for the table of stages."""
        from napari_sam_amg.engine import unpacked
        from napari_sam_amg.engine.decoder import Decoder
        from napari_sam_amg.engine.scoring import Scorer
        from napari_sam_amg.masks import Masks, Proposals

        return [
            (type(self._generator), "_encode", "encode"),
            (Decoder, "decode", "decode"),
            (Scorer, "candidates", "score masks"),
            (unpacked, "_packed", "pack masks"),
            (Proposals, "select", "select"),
            (Masks, "to_labels", "label image"),
        ]


def built(job: dict[str, Any]) -> SAM2Base:
    """Make the job's model, from the file of its weights if there is one."""
    from napari_sam_amg import load_model
    from napari_sam_amg.models.architecture import ARCHITECTURES, build

    if job["weights"] is None:
        return load_model(job["model"], device=job["device"])
    model = build(ARCHITECTURES[job["model"]])
    model.load_state_dict(torch.load(job["weights"], map_location="cpu", weights_only=True))
    return model.to(job["device"])


class Memory:
    """The most memory used since it was made, in MiB: of the device, else of the process."""

    def __init__(self, device: str) -> None:
        self._cuda = device.startswith("cuda")
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            self._before = torch.cuda.memory_allocated() / 2**20
        else:
            with contextlib.suppress(OSError):  # Linux forgets the peak so far
                Path("/proc/self/clear_refs").write_text("5")
            self._before = self._resident("VmRSS:")

    def _resident(self, field: str) -> float:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path("/proc/self/status").read_text().splitlines()
            return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def above(self) -> float:
        """Return how far the peak is above what was used at first."""
        if self._cuda:
            return torch.cuda.max_memory_allocated() / 2**20 - self._before
        return self._resident("VmHWM:") - self._before


def serve() -> None:
    """Answer commands until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    began = time.perf_counter()
    job = json.loads(sys.stdin.readline())
    device = job["device"]
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job["tf32"]
    model = built(job)
    side = (Stock if job["kind"] == "stock" else Ours)(model, job)
    image = np.load(job["image"])
    clock = Stages(device)
    answer(ready=clock.now() - began)
    for line in sys.stdin:
        memory = Memory(device)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        stages = Stages(device)
        with stages.watching(side.places if line.strip() == "stages" else []):
            start = clock.now()
            side.run(image)
            seconds = clock.now() - start
        after = resource.getrusage(resource.RUSAGE_SELF)
        found = {
            "seconds": seconds,
            "cpu": after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime,
            "system": after.ru_stime - usage.ru_stime,
            "faults": after.ru_minflt - usage.ru_minflt,
            "memory": memory.above(),
        }
        if line.strip() == "stages":
            found["stages"] = stages.seconds | {"other": seconds - sum(stages.seconds.values())}
        if line.strip() == "records":
            save(side.records(), Path(job["records"]))
        answer(**found)


def save(records: list[Record], path: Path) -> None:
    """Write records for `loaded`."""
    packed = [np.packbits(r["segmentation"]) for r in records]
    shape = records[0]["segmentation"].shape if records else (0, 0)
    scalars = ("predicted_iou", "stability_score", "area", "bbox")
    np.savez(
        path,
        masks=np.array(packed, dtype=np.uint8),
        shape=np.array(shape),
        **{name: np.array([r[name] for r in records]) for name in scalars},
    )


def loaded(path: Path) -> list[Record]:
    """Read records back, without masks that have no pixel."""
    data = np.load(path)
    shape = tuple(data["shape"].tolist())
    size = int(np.prod(shape))
    return [
        {
            "segmentation": np.unpackbits(data["masks"][i], count=size)
            .astype(bool)
            .reshape(shape),
            "predicted_iou": float(data["predicted_iou"][i]),
            "stability_score": float(data["stability_score"][i]),
            "area": int(data["area"][i]),
            "bbox": data["bbox"][i].tolist(),
        }
        for i in range(len(data["masks"]))
        if data["area"][i] > 0
    ]


if __name__ == "__main__":
    serve()
