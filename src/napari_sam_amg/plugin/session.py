"""A run in a worker thread: the model kept from run to run, progress, cancel, faults."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import Cancelled, RunError, SamAmgError
from napari_sam_amg.models.registry import list_models
from napari_sam_amg.plugin.downloads import downloading
from napari_sam_amg.plugin.jobs import Control, Found, Job, Progress, fault
from napari_sam_amg.plugin.layers import make_palette
from napari_sam_amg.plugin.torch_import import prepare_torch_import

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.masks import Masks, Proposals


class Session:
    """The generator of the last run, kept so that the next need not load or encode again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[Any, ...] | None = None
        self._generator: AutomaticMaskGenerator | None = None

    def generator(self, job: Job) -> AutomaticMaskGenerator:
        """Return a generator set up for `job`; the model is loaded only if it is another."""
        prepare_torch_import()
        from napari_sam_amg.engine import AutomaticMaskGenerator

        key = _key(job)
        with self._lock:
            if self._generator is None or self._key != key:
                self._generator, self._key = None, None  # first free the memory
                self._generator = AutomaticMaskGenerator(
                    job.model,
                    device=job.device,
                    precision=job.precision,
                    model_folder=job.model_folder,
                )
                self._key = key
            return self._generator.configured(**job.parameters)

    def fetched(self, job: Job, control: Control, began: float) -> Generator[Progress]:
        """Fetch the job's model, if it is one to be fetched and not loaded yet."""
        info = next((m for m in list_models() if m.name == job.model and m.url), None)
        with self._lock:
            loaded = self._generator is not None and self._key == _key(job)
        if info is None or loaded:
            return
        first = time.monotonic()
        for done, total in downloading(info, job.model_folder, lambda: control.stopping):
            yield _progress(began, done, total, "download" if done else "load", first)
        if control.stopping:
            raise Cancelled("the download was stopped; nothing was kept")

    def free_memory(self) -> None:
        """Forget the model and the encoder's output."""
        import sys

        with self._lock:
            self._generator, self._key = None, None
        cuda: Any = getattr(sys.modules.get("torch"), "cuda", None)
        if hasattr(cuda, "is_available") and cuda.is_available():  # else half imported
            cuda.empty_cache()

    def run(self, job: Job, control: Control) -> Generator[Progress, None, Proposals | None]:
        """Find all candidates, for a generator worker.

        Yields
        ------
        Progress

        Returns
        -------
        Proposals or None
            None if it was cancelled without keeping what was found.

        Raises
        ------
        SamAmgError
            On any fault, never a RuntimeError: napari's workers swallow those.
        """
        found, partial = yield from self.found(job, control)
        if found is None and (partial is None or not control.keep):
            return None
        try:
            if partial is not None:
                return _ready(partial(), job, partial=True)
            return _ready(found, job)
        except Exception as error:
            raise fault("select", job, error) from error

    def found(
        self, job: Job, control: Control, *, propose: bool = True
    ) -> Generator[Progress, None, tuple[Any, Callable[[], Any] | None]]:
        """Find all candidates of a job, or its masks alone; yields and raises as `run`.

        Returns
        -------
        Proposals or Masks or None
            None if the run was stopped.
        callable or None
            Returns what had been found when it was stopped, if anything.
        """
        began = time.monotonic()
        stage = "read"
        partial = None
        try:
            yield _progress(began, 0, 0, stage)
            # Which pixels of a region are needed, depends on the model.
            image = None if job.region is not None else job.plane.computed()
            stage = "load"
            yield _progress(began, 0, 0, stage)
            yield from self.fetched(job, control, began)
            generator = self.generator(job)
            stage = "read"
            region = None if job.region is None else generator.region(job.region)
            if image is None:
                image = job.plane.computed(None if region is None else region.slices)
            if job.look is not None:
                image, contrast, gamma = job.look.prepared(
                    image, generator.info.profile, lambda: control.stopping
                )
                generator = generator.configured(contrast=contrast, gamma=gamma, **job.parameters)
            stage = "encode"
            steps = generator.steps(
                image,
                propose=propose,
                name=job.plane.name,
                region=region,
                should_stop=lambda: control.stopping,
            )
            first = time.monotonic()
            for step in steps:
                if step.result is not None and not control.stopping:
                    return step.result, None
                partial = step.partial
                if control.stopping:
                    break
                stage = "select" if step.done + 1 >= step.total else "decode"
                yield _progress(began, step.done, step.total, stage, first)
        except Cancelled:
            pass
        except SamAmgError:
            raise
        except Exception as error:
            raise fault(stage, job, error) from error
        return None, partial

    def run_all(
        self, jobs: Sequence[Job], control: Control, failed: Sequence[str] = ()
    ) -> Generator[Progress | Found, None, int | None]:
        """Run several jobs; a fault in one does not end the others.

        Parameters
        ----------
        jobs : sequence of Job
        control : Control
        failed : sequence of str
            What is said of further images, of which no job could be made.

        Yields
        ------
        Progress or Found

        Returns
        -------
        int or None
            How many are done; None if it was cancelled.

        Raises
        ------
        RunError
            At the end, if some failed: it names each with its fault.
        """
        faults = list(failed)
        for number, job in enumerate(jobs, start=1):
            image = f"{job.plane.name} ({number} of {len(jobs)})"
            run = self.run(job, control)
            found = None
            try:
                while True:
                    yield replace(next(run), image=image)
            except StopIteration as end:
                found = end.value
            except SamAmgError as error:
                faults.append(f"{job.plane.name}: {error}")
            if found is not None:
                yield Found(job, found)
            if control.stopping:
                return None
        if faults:
            raise RunError(
                f"{len(faults)} of {len(jobs) + len(failed)} images failed, the others are done. "
                + "; ".join(faults)
            )
        return len(jobs)


def tell(found: Proposals | Masks, job: Job) -> None:
    """Complete what a result says of how it was made."""
    found.provenance["plane"] = job.plane.provenance()
    if job.look is not None:
        found.provenance.update(job.look.provenance())


def _ready(found: Proposals, job: Job, *, partial: bool = False) -> Proposals:
    """Complete what a run says of itself, and find what re-tuning would have to wait for."""
    tell(found, job)
    if partial:
        found.provenance["partial"] = True
    found.prepare()
    import pandas  # noqa: F401 - takes seconds, in which the window would stand still

    make_palette()
    return found


def _key(job: Job) -> tuple[Any, ...]:
    """Tell models apart: a file that was written anew is another one."""
    written = None
    if isinstance(job.model, Path) and job.model.is_file():
        written = (job.model.stat().st_mtime_ns, job.model.stat().st_size)
    return (str(job.model), written, job.device, job.precision)


def _progress(
    began: float, done: int, total: int, stage: str, first: float | None = None
) -> Progress:
    now = time.monotonic()
    remaining = float("nan")
    if first is not None and done:
        remaining = (now - first) / done * (total - done)
    return Progress(done, total, stage, now - began, remaining)
