"""A run that is killed in the middle; imported by the processes that it happens to."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.large import plane, steps_large
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from pretend_model import pretending

if TYPE_CHECKING:
    import numpy as np

PARAMETERS = {
    "tile_size": 64,
    "tile_halo": 16,
    "points_per_side": 4,
    "pred_iou_thresh": 0.05,
    "stability_score_thresh": 0.05,
    "min_mask_region_area": 20,
}


def run(image: np.ndarray, folder: str, killed_at: int | None) -> None:
    """Run in a folder, until so many files in it were opened, renamed or removed."""
    from dataclasses import replace

    import torch

    plane.CHUNK = 32
    torch.manual_seed(0)
    model = build(replace(ARCHITECTURES["nuclei-nano"], image_size=128))
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"):
            count += any(folder in str(argument) for argument in arguments)
            if killed_at is not None and count >= killed_at:
                os.kill(os.getpid(), signal.SIGKILL)

    with pretending():
        generator = AutomaticMaskGenerator(model, **PARAMETERS)
        sys.addaudithook(hook)
        for step in steps_large(generator, image, folder):
            result = step.result
    assert result.count > 10
