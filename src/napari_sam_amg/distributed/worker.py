"""What runs on a worker. Each process has one model, and computes one plane at a time."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import platform
import threading
from typing import TYPE_CHECKING, Any

from napari_sam_amg.distributed.planes import RemotePlane, only_plane
from napari_sam_amg.distributed.setup import Setup, differing, local_versions
from napari_sam_amg.distributed.threads import compute_as_several, threads
from napari_sam_amg.errors import Cancelled, ModelError, SamAmgError, SchedulerError
from napari_sam_amg.stack_contrast import source_contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.masks import Masks

Contrast = tuple[float, float]

# Whatever the worker's number of threads: torch uses them all for one plane.
_computing = threading.Lock()


async def ready(setup: Setup) -> str:
    """Load the model ahead of the first plane, and return the name of its architecture."""

    def load() -> str:
        with _computing:
            return _generator(setup).info.architecture

    # Not in the worker's own loop, which has to answer meanwhile.
    return await asyncio.to_thread(load)


def contrast_of(setup: Setup, plane: RemotePlane) -> Contrast | None:
    """Measure the contrast of the stack of a plane; None if it is seen as it is."""
    with _named_here():
        with _computing:
            profile = _generator(setup).info.profile
        with plane.opened() as source:
            return source_contrast(source, plane.channel, profile)


def find(
    setup: Setup,
    plane: RemotePlane | npt.NDArray[Any] | str,
    name: str,
    contrast: Contrast | None = None,
) -> Masks:
    """Find the masks of a plane.

    Parameters
    ----------
    setup : Setup
    plane : RemotePlane, ndarray or str
        Where it is, its pixels, or the path of a file that holds one plane.
    name : str
        Said in errors and provenance.
    contrast : (float, float), optional
        That of the whole stack, instead of the settings'.

    Raises
    ------
    SamAmgError
        Naming the worker.
    """
    worker = _worker()
    with _named_here():
        if isinstance(plane, str):
            plane = only_plane(plane)
        pixels = plane.read() if isinstance(plane, RemotePlane) else plane
        with _computing, threads(1 if worker is None else worker.state.nthreads):
            generator = _generator(setup)
            if contrast is not None:
                parameters = {k: v for k, v in setup.settings.items() if k not in _OWN}
                generator = generator.configured(contrast=contrast, **parameters)
            masks: Masks | None = None
            for step in generator.steps(pixels, name=name):
                if _is_given_up(worker):
                    raise Cancelled("nobody waits for this plane any more")
                masks = step.result
    if masks is None:
        raise SamAmgError("the run ended without a result; please report this")
    return masks


_OWN = ("device", "precision", "contrast", "gamma", "model_folder")
"""Settings of a generator that are no parameters."""


@functools.lru_cache(maxsize=1)
def _generator(setup: Setup) -> AutomaticMaskGenerator:
    from napari_sam_amg.engine import AutomaticMaskGenerator

    # A worker that came late has not been asked before.
    if differences := differing(setup.versions, local_versions()):
        raise SchedulerError(
            f"this worker's software is another one than where the run was started: {differences}"
        )
    generator = AutomaticMaskGenerator(setup.model, **setup.settings)
    if generator.info.sha256 != setup.sha256:
        raise ModelError(
            f"{setup.model} has other weights than where the run was started: SHA-256 "
            f"{generator.info.sha256}, there {setup.sha256}"
        )
    if generator.precision != (wanted := setup.settings.get("precision", "exact")):
        raise SchedulerError(
            f"precision {wanted}: this worker would compute as {generator.precision}, because "
            f"{wanted} is slower on its device, and results would depend on which worker computes "
            f"what: choose precision {generator.precision}, or leave such workers out"
        )
    compute_as_several(generator.model)
    return generator


def _worker() -> Any:
    """Return the worker that runs the task; None outside of one."""
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


@contextlib.contextmanager
def _named_here() -> Iterator[None]:
    """Say in errors which worker they come from."""
    try:
        yield
    except SamAmgError as error:
        worker = _worker()
        where = platform.node() if worker is None else worker.address
        raise type(error)(f"{error} (on worker {where})") from error


def _is_given_up(worker: Any) -> bool:
    """Return whether the task was cancelled: Dask cannot end what runs in a thread."""
    if worker is None:
        return False
    task = worker.state.tasks.get(worker.get_current_task())
    return task is None or task.state == "cancelled"
