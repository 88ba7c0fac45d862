"""What stands for the model on workers: bright spots are objects, and names of images commands."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from napari_sam_amg.engine import Step
from napari_sam_amg.errors import RunError
from napari_sam_amg.masks import Masks
from napari_sam_amg.models.profiles import InputProfile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np

SHA256 = "5" * 64


@dataclass
class Spots:
    """Stands for `AutomaticMaskGenerator`; `folder` is where commands leave a trace."""

    folder: Path
    contrast: tuple[float, float] | None = None

    profile = InputProfile(percentiles=(1.0, 99.0), map_uint8=True)
    sha256 = SHA256
    architecture = "nuclei-nano"

    @property
    def info(self) -> Spots:
        return self

    def configured(self, *, contrast: tuple[float, float], **_: Any) -> Spots:
        return Spots(self.folder, contrast)

    def steps(self, image: np.ndarray, *, name: str) -> Iterator[Step[Any]]:
        from scipy.ndimage import label

        if "kills-always" in name or ("kills-once" in name and self._first(name)):
            os.kill(os.getpid(), signal.SIGKILL)
        if "fails" in name:
            raise RunError(f"{name}: it was to fail")
        if "slow" in name:
            (self.folder / f"{name}.begun").touch()
            for number in range(600):
                time.sleep(0.05)
                yield Step(number, 601, "decode", None, lambda: None)
            (self.folder / f"{name}.ended").touch()
        low, high = self.contrast or (float(image.min()), float(image.max()))
        labels, count = label(image > (low + high) / 2)
        found = [labels == number for number in range(1, count + 1)]
        provenance = {"source": name, "contrast": [low, high], "input": {"notes": [f"{count}"]}}
        masks = (
            Masks.from_arrays(found, predicted_iou=[0.9] * count, provenance=provenance)
            if found
            else Masks.empty(image.shape[:2], provenance=provenance)
        )
        yield Step(1, 1, "select", masks, lambda: masks)

    def _first(self, name: str) -> bool:
        try:
            os.close(os.open(self.folder / name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


class UseSpots(WorkerPlugin):
    """Has a worker take `Spots` for the model, also after it was started anew."""

    name = "spots"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, worker: Any) -> None:
        from napari_sam_amg.distributed import worker as module

        self.before = module._generator
        module._generator = lambda setup: Spots(self.folder)

    def teardown(self, worker: Any) -> None:
        from napari_sam_amg.distributed import worker as module

        module._generator = self.before
