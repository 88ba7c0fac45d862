"""How much two workers of a scheduler are faster than one, each with one thread.

    python benchmarks/scheduler.py --images 8 --rounds 3

Both run over the same windows of the packaged fluorescence image with `nuclei-nano`, in turns; the
models are loaded before. Prints JSON: seconds of each, the ratio of each round, the median ratio,
the cores, and how much the computer did besides (load average before and after).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from importlib.resources import files

import numpy as np
from distributed import Client, LocalCluster

from napari_sam_amg.distributed import segment_many
from napari_sam_amg.formats import read_image

SIDE = 256


def windows(count: int) -> list[np.ndarray]:
    """Return windows of the sample image that differ."""
    image = read_image(files("napari_sam_amg") / "data" / "samples" / "fluorescence.png")
    rows, columns = (length - SIDE for length in image.shape[:2])
    chance = np.random.default_rng(0)
    places = zip(chance.integers(0, rows, count), chance.integers(0, columns, count), strict=True)
    return [np.ascontiguousarray(image[y : y + SIDE, x : x + SIDE]) for y, x in places]


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points-per-side", type=int, default=16)
    arguments = parser.parse_args()
    images, before = windows(arguments.images), os.getloadavg()[0]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    counts: set[int] = set()
    clusters = {
        count: LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0")
        for count in seconds
    }
    clients = {count: Client(cluster) for count, cluster in clusters.items()}

    def run(count: int, chosen: list[np.ndarray]) -> float:
        began = time.perf_counter()
        found = segment_many(
            chosen,
            client=clients[count],
            device="cpu",
            points_per_side=arguments.points_per_side,
        )
        counts.add(sum(len(masks) for masks in found) if chosen is images else -1)
        return time.perf_counter() - began

    for count in seconds:
        run(count, images[: 2 * count])
    for _ in range(arguments.rounds):
        for count, times in seconds.items():
            times.append(run(count, images))
    for count in seconds:
        clients[count].close()
        clusters[count].close()
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    print(
        json.dumps(
            {
                "seconds_one": [round(value, 2) for value in seconds[1]],
                "seconds_two": [round(value, 2) for value in seconds[2]],
                "ratios": [round(value, 2) for value in ratios],
                "median_ratio": round(statistics.median(ratios), 2),
                "masks": sorted(counts - {-1}),
                "cores": os.cpu_count(),
                "load": [round(before, 1), round(os.getloadavg()[0], 1)],
            }
        )
    )


if __name__ == "__main__":
    main()
