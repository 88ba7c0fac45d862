"""Memory, reads and time of very large planes: mosaics of real nuclei on disk, as zarr.

    python benchmarks/large.py overhead DATA/train --megapixels 4 16 64 100 400
    python benchmarks/large.py model DATA/train --megapixels 4 64 400

DATA is laid out like BBBC038. `overhead` takes what is bright in a tile at three levels for its
candidates instead of asking the model, so that what is measured is everything around it; `model`
asks nuclei-nano as it is recommended, or at a grid of --points in --tile. Each size is done in a
process of its own. Memory is the peak of the resident set above that of the same process after a
run over one tile. Reads are those of the mosaic's chunks.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import zarr
from scipy import ndimage

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.large import segment_large
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.masks.selection import cut_off
from pretend_model import tiles_of

if TYPE_CHECKING:
    from napari_sam_amg.engine.tiles import Tile

CELL = 256


def mosaic(data: Path, path: Path, side: int, chunk: int) -> None:
    """Write a square mosaic of real fields of 256 x 256 pixels, turned at random, as uint16."""
    images = []
    for file in sorted((data / "images").glob("*.png")):
        image = iio.imread(file)
        grey = image if image.ndim == 2 else image[..., :3].mean(axis=-1)
        if grey.shape == (CELL, CELL) and np.median(grey) < 60:
            # Fields of one brightness, so that no tile is without objects.
            low, high = np.percentile(grey, (0.1, 99.9))
            images.append((np.clip((grey - low) / max(high - low, 1), 0, 1) * 4000).astype("u2"))
    cells = tiles_of(images)
    array = zarr.create_array(path, shape=(side, side), chunks=(chunk, chunk), dtype="uint16")
    for top in range(0, side, chunk):
        rows = np.zeros((min(chunk, side - top), side), np.uint16)
        for y in range(0, rows.shape[0], CELL):
            for x in range(0, side, CELL):
                part = rows[y : y + CELL, x : x + CELL]
                part[...] = next(cells)[: part.shape[0], : part.shape[1]]
        array[top : top + chunk] = rows


class Counting(zarr.storage.WrapperStore):
    """Counts how often each chunk is read."""

    async def get(self, key, prototype, byte_range=None):
        """Return a chunk's bytes."""
        if "c/" in key:
            self.reads[key] += 1
        return await super().get(key, prototype, byte_range)


class Bright(AutomaticMaskGenerator):
    """Takes bright regions for candidates, in little time and always the same."""

    seconds = 0.0

    def find_in_tile(self, rgb: np.ndarray, tile: Tile, **_: object) -> Proposals:
        """Return the regions of a tile at three levels of brightness, but those cut off."""
        began = time.process_time()
        grey = ndimage.uniform_filter(rgb[..., 1], 3)
        left, top = tile.crop.box[:2]
        items, scores = [], []
        for level in (60, 100, 150):
            regions, _count = ndimage.label(grey > level)
            for number, place in enumerate(ndimage.find_objects(regions), start=1):
                window = regions[place] == number
                area = int(window.sum())
                if area > 30:
                    items.append((left + place[1].start, top + place[0].start, window))
                    scores.append(0.4 + 0.6 * math.modf(area * 0.618)[0])
        store = MaskStore.from_windows(tile.shape, items)
        crops = np.broadcast_to(np.array(tile.crop.xywh), (len(store), 4))
        rows = np.flatnonzero(~cut_off(store.boxes, crops, tile.shape, tile.seam))
        store = store.take(rows)
        table = MaskTable.unknown(store, predicted_iou=np.array(scores)[rows])
        found = Proposals(
            store,
            table,
            area_high=store.areas,
            area_low=store.areas,
            crop_index=np.zeros(len(store)),
            crop_boxes_all=[tile.crop.xywh],
            parameters=self.parameters,
            seam=tile.seam,
        )
        Bright.seconds += time.process_time() - began
        return found


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Peak(threading.Thread):
    """Looks at the resident set every 20 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.highest, self._ended = _resident(), threading.Event()

    def run(self) -> None:
        """Look until it is ended."""
        while not self._ended.wait(0.02):
            self.highest = max(self.highest, _resident())

    def end(self) -> int:
        """Return the highest that was seen, in bytes."""
        self._ended.set()
        self.join()
        return max(self.highest, _resident())


def _given(keywords: dict[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in keywords.items() if value is not None}


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Run over one mosaic."""
    side = math.isqrt(round(arguments.megapixels[0] * 1e6))
    folder = Path(tempfile.mkdtemp(prefix="large", dir=arguments.scratch))
    try:
        mosaic(arguments.data, folder / "image.zarr", side, arguments.chunk)
        store = Counting(zarr.storage.LocalStore(folder / "image.zarr", read_only=True))
        store.reads = collections.Counter()
        image = zarr.open_array(store, mode="r")
        keywords = {"points_per_side": arguments.points, "tile_size": arguments.tile}
        if arguments.what == "overhead":
            kind, keywords = Bright, {"points_per_side": 16, "tile_size": 512} | _given(keywords)
        else:
            kind, keywords = AutomaticMaskGenerator, _given(keywords)
        generator = kind("nuclei-nano", device="cpu", **keywords)
        segment_large(generator, np.asarray(image[:700, :700]), folder / "warm")
        store.reads.clear()
        baseline, peak = _resident(), Peak()
        peak.start()
        began, cpu, Bright.seconds = time.perf_counter(), time.process_time(), 0.0
        result = segment_large(generator, image, folder / "out")
        cpu = time.process_time() - cpu
        seconds = time.perf_counter() - began
        size = sum(f.stat().st_size for f in (folder / "out").rglob("*") if f.is_file())
        megapixels = side * side / 1e6
        return {
            "side": side,
            "megapixels": round(megapixels, 1),
            "tiles": result.provenance["tiles"]["count"],
            "masks": result.count,
            "seconds": round(seconds, 1),
            "seconds / Mpx": round(seconds / megapixels, 4),
            "CPU seconds / Mpx": round(cpu / megapixels, 4),
            "of them stand-in": round(Bright.seconds / megapixels, 4),
            "baseline MiB": round(baseline / 2**20),
            "peak above it MiB": round((peak.end() - baseline) / 2**20),
            "chunks": len(store.reads),
            "reads of a chunk": sorted(set(store.reads.values())),
            "result MiB": round(size / 2**20, 1),
        }
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["overhead", "model"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[4, 16, 64])
    parser.add_argument("--chunk", type=int, default=1024, help="of the image")
    parser.add_argument("--points", type=int, help="a side of a tile")
    parser.add_argument("--tile", type=int)
    parser.add_argument("--scratch", type=Path, help="where mosaics and results are put")
    arguments = parser.parse_args()
    if len(arguments.megapixels) == 1:
        print(json.dumps(measure(arguments)), flush=True)
        return
    index = sys.argv.index("--megapixels") if "--megapixels" in sys.argv else len(sys.argv)
    others = sys.argv[1:index] + sys.argv[index + 1 + len(arguments.megapixels) :]
    for size in arguments.megapixels:
        subprocess.run([sys.executable, __file__, *others, "--megapixels", str(size)], check=True)


if __name__ == "__main__":
    main()
