"""Where a run on an accelerator spends its time: host, kernels, and where one waits for the other.

    python benchmarks/kernels.py --model sam2.1_hiera_large
    python benchmarks/kernels.py --model sam2.1_hiera_tiny --precision exact --chunks 64 256 1024

The image, the points and the random weights are those of `speed.py`. For each precision it prints
warm seconds by `points_per_batch`, what torch's profiler says of kernels and calls, where the host
waited (torch's own debug mode, which does not see all), and Python's profile of the host. On a CPU
there are no kernels, and nobody waits.
"""

from __future__ import annotations

import argparse
import collections
import cProfile
import pstats
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile

from napari_sam_amg import AutomaticMaskGenerator
from speed import prepared
from speed_models import calibrated

if TYPE_CHECKING:
    from collections.abc import Callable


def finished(device: str) -> float:
    """Return the time once the device has done all work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds(run: Callable[[], object], device: str, rounds: int) -> list[float]:
    """Time some runs."""
    found = []
    for _ in range(rounds):
        began = finished(device)
        run()
        found.append(finished(device) - began)
    return found


def waits(run: Callable[[], object]) -> collections.Counter[str]:
    """Count the lines of Python at which the host waited for CUDA."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return collections.Counter(f"{Path(w.filename).name}:{w.lineno}" for w in seen)


def report(run: Callable[[], object], device: str, rows: int) -> None:
    """Print the profiles of a run."""
    kinds = [ProfilerActivity.CPU]
    sort = "self_cpu_time_total"
    if device.startswith("cuda"):
        kinds.append(ProfilerActivity.CUDA)
        sort = "self_device_time_total"
        print("waits:", dict(waits(run).most_common(12)))
    with profile(activities=kinds) as profiled:
        took = seconds(run, device, 1)[0]
    averages = profiled.key_averages()
    print(f"profiled: {took:.3f} s")
    print(averages.table(sort_by=sort, row_limit=rows, max_name_column_width=60))
    host = cProfile.Profile()
    host.enable()
    run()
    finished(device)
    host.disable()
    pstats.Stats(host, stream=sys.stdout).sort_stats("tottime").print_stats(rows)


def main() -> None:
    """Print where the time goes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sam2.1_hiera_large")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", nargs="+", default=["exact", "fast"])
    parser.add_argument("--chunks", nargs="+", type=int, default=[64, 256], metavar="PROMPTS")
    parser.add_argument("--points", type=int, default=32, help="a side")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=25, help="of each table")
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    image = prepared(None, 1024)
    model = calibrated(arguments.model, image, device=arguments.device)
    for precision in arguments.precision:
        for chunk in arguments.chunks:
            generator = AutomaticMaskGenerator(
                model,
                precision=precision,
                points_per_side=arguments.points,
                points_per_batch=chunk,
            )

            def run(generator: AutomaticMaskGenerator = generator) -> object:
                generator.clear_cache()
                return generator.segment(image).to_labels()

            run()
            times = " ".join(f"{t:.3f}" for t in seconds(run, arguments.device, arguments.rounds))
            print(f"\n{precision}, points_per_batch={chunk}: {times} s", flush=True)
            if chunk == arguments.chunks[0]:
                report(run, arguments.device, arguments.rows)


if __name__ == "__main__":
    main()
