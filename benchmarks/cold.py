"""How long a fresh process takes from nothing to labels, and what of it is generation.

    python benchmarks/cold.py --threads 2

Runs `nuclei-nano` with its recommended parameters on a real 512x512 image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

CHILD = """
import json, time
began = time.perf_counter()
from importlib.resources import files
import numpy as np
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.formats import read_image
image = read_image(files("napari_sam_amg") / "data" / "samples" / "fluorescence.png")
image = np.ascontiguousarray(image[:512, :512])
generator = AutomaticMaskGenerator("nuclei-nano", device="cpu")
ready = time.perf_counter()
masks = generator.segment(image)
labels = masks.to_labels()
done = time.perf_counter()
print(json.dumps({"loading": ready - began, "generation": done - ready, "masks": len(masks)}))
"""


def main() -> None:
    """Print seconds of each run as JSON; the start of the process is part of the total."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    for _ in range(arguments.runs):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found = {"total": time.perf_counter() - began, **json.loads(done.stdout)}
        print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
