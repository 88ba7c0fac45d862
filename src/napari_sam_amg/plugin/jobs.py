"""What a run is to do, how far it is, and how it is told to end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ImageError, RunError
from napari_sam_amg.formats.limits import MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from napari_sam_amg.engine.arguments import Precision
    from napari_sam_amg.masks import Proposals
    from napari_sam_amg.plugin.look import Look
    from napari_sam_amg.plugin.planes import Plane

STAGES = {
    "read": "reading the image",
    "load": "loading the model",
    "download": "downloading the model",
    "contrast": "measuring the brightness",
    "tile": "asking the model, tile by tile",
    "encode": "encoding the image",
    "decode": "asking the model at the points",
    "select": "selecting masks",
    "link": "linking slices and time points",
    "show": "showing the masks",
}
"""What the stages of a run are called in the window."""

HINTS = {
    "read": "check that the layer's data can be read, for example with layer.data[...]",
    "download": "check the connection, or choose the embedded model nuclei-nano",
    "load": "choose the embedded model nuclei-nano to see whether the rest works",
    "contrast": "check that the layer's data can be read, for example with layer.data[...]",
    "tile": "press Run into folder again: finished tiles are kept",
    "encode": "try another device or a smaller region",
    "decode": "try fewer points per batch or another device",
    "select": "try a larger predicted IoU threshold, so that fewer masks are held",
    "link": "press Link again with other settings: the masks of all slices are kept",
    "show": "what was found is kept: move a slider to show it again, or press Run",
}
"""What to try when a stage failed."""


@dataclass(frozen=True)
class Job:
    """Everything that a run needs, read from the window before it begins.

    Attributes
    ----------
    at : mapping of int to int
        Which plane along some axes of the layer was asked for; elsewhere that which the viewer
        showed.
    finest : bool
        Whether the full resolution of a multiscale layer is meant where none is chosen.
    """

    plane: Plane
    model: str | Path
    device: str
    precision: Precision
    parameters: Mapping[str, Any]
    look: Look | None = None
    region: npt.NDArray[np.bool_] | None = None
    model_folder: Path | None = None
    at: Mapping[int, int] = field(default_factory=dict)
    finest: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Steps, or bytes of a download; `total` is 0 until it is known.
    stage : str
        Key of `STAGES`: what is being done.
    elapsed, remaining : float
        Seconds; `remaining` is NaN until it can be told.
    image : str
        Which of several images; empty for a single one.
    """

    done: int
    total: int
    stage: str
    elapsed: float
    remaining: float
    image: str = ""


@dataclass(frozen=True)
class Found:
    """What one of several jobs found."""

    job: Job
    proposals: Proposals


@dataclass
class Control:
    """How the window tells a running job to end."""

    _stop: threading.Event = field(default_factory=threading.Event)
    keep: bool = False
    abandoned: Callable[[], bool] = lambda: False
    """Whether napari itself wants the worker to end."""

    def cancel(self, *, keep: bool) -> None:
        """End the run at the next chance; with `keep`, with what it found so far."""
        self.keep = keep
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """Whether the run is to end."""
        return self._stop.is_set() or self.abandoned()


def check_size(job: Job) -> Job:
    """Return a job; ImageError if its plane would be read and is too large for memory."""
    height, width = job.plane.shape
    here = job.plane.in_memory or job.region is not None or job.finest
    if height * width > MAX_PIXELS and not here:
        raise ImageError(
            f"layer {job.plane.name!r} has {height} x {width} pixels, which are not in memory and "
            "may not fit into it: use Very large image below, or a region"
        )
    return job


def computed_as(provenance: Mapping[str, Any], precision: str) -> str:
    """Say if another precision was used than was asked for; empty if not."""
    used = provenance.get("precision", precision)
    if used == precision:
        return ""
    return f" Computed as {used}: {precision} would be slower on this device."


def fault(stage: str, job: Job, error: Exception) -> RunError:
    """Say which stage of a job failed, how, and what to try."""
    return RunError(
        f"{STAGES[stage]} of {job.plane.name!r} failed: {type(error).__name__}: {error}. "
        f"What to do: {HINTS[stage]}"
    )
