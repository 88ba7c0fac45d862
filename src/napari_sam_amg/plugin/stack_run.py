"""A run over all slices and time points of a layer, whose masks are then linked."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import SamAmgError
from napari_sam_amg.plugin.jobs import Progress, fault
from napari_sam_amg.plugin.layers import lengths_um
from napari_sam_amg.plugin.session import tell

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_sam_amg.linking import LinkParameters, TrackParameters, Tracks, Volume
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.plugin.jobs import Control, Job
    from napari_sam_amg.plugin.session import Session


@dataclass(frozen=True, eq=False)
class StackJob:
    """Planes of one layer, and how what is found in them is linked.

    Attributes
    ----------
    jobs : tuple of Job
        One for each plane: time point by time point, in each slice by slice.
    z, t : int or None
        The layer's axes along which slices and time points lie; one of them at least.
    slices : int
        How many slices there are; 1 without `z`.
    link : LinkParameters
    track : TrackParameters
    """

    jobs: tuple[Job, ...]
    z: int | None
    t: int | None
    slices: int
    link: LinkParameters
    track: TrackParameters

    @property
    def first(self) -> Job:
        """The job of the first plane."""
        return self.jobs[0]

    @property
    def axes(self) -> list[int]:
        """The layer's axes in the order of time, slices, rows and columns."""
        return [axis for axis in (self.t, self.z) if axis is not None] + self.first.plane.axes

    def place(self, number: int) -> str:
        """Say which plane one of the jobs is about."""
        time_point, slice_ = divmod(number, self.slices)
        count = len(self.jobs) // self.slices
        parts = [] if self.t is None else [f"time point {time_point + 1} of {count}"]
        parts += [] if self.z is None else [f"slice {slice_ + 1} of {self.slices}"]
        return ", ".join(parts)

    @property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Distance of pixels in micrometres, of slices too if there are; None if not known."""
        axes = self.axes if self.t is None else self.axes[1:]
        return lengths_um(self.first.plane.keywords, axes)


@dataclass(frozen=True, eq=False)
class LinkedStack:
    """What was found in the planes of a stack, and linked.

    Attributes
    ----------
    job : StackJob
    masks : tuple of Masks
        Of each plane.
    linked : Volume or Tracks
    partial : bool
        Whether the run was ended before it had seen all planes.
    """

    job: StackJob
    masks: tuple[Masks, ...]
    linked: Volume | Tracks
    partial: bool


def run_stack(
    session: Session, stack: StackJob, control: Control
) -> Generator[Progress, None, LinkedStack | None]:
    """Find the masks of all planes and link them, for a generator worker.

    Yields
    ------
    Progress
        Over the whole job.

    Returns
    -------
    LinkedStack or None
        None if it was cancelled; if what was found is to be kept, planes that were not looked
        at are empty.

    Raises
    ------
    SamAmgError
        On any fault, never a RuntimeError: napari's workers swallow those.
    """
    clock = _Clock(len(stack.jobs))
    masks: list[Masks] = []
    for number, job in enumerate(stack.jobs):
        # The stack's contrast is measured once: looks at planes of one stack are alike.
        run = session.found(replace(job, look=stack.first.look), control, propose=False)
        while True:
            try:
                news = next(run)
            except StopIteration as end:
                found, _ = end.value
                break
            yield clock.plane(number, news, f"{job.plane.name}, {stack.place(number)}")
        if found is None:
            break
        tell(found, job)
        masks.append(found)
    if len(masks) < len(stack.jobs) and not (control.keep and masks):
        return None
    return (yield from relink(stack, masks))


def relink(
    stack: StackJob, masks: Sequence[Masks], control: Control | None = None
) -> Generator[Progress, None, LinkedStack | None]:
    """Link the masks of planes; those of the last may be missing. Otherwise as `run_stack`.

    Parameters
    ----------
    stack : StackJob
    masks : sequence of Masks
    control : Control, optional
        May end it.
    """
    from napari_sam_amg.linking.together import planes_steps

    began = time.monotonic()
    planes = list(masks)
    missing = len(stack.jobs) - len(planes)
    planes += [masks[0][[]]] * missing
    try:
        linked: Any = None
        for step in planes_steps(
            planes,
            points=len(planes) // stack.slices,
            link=stack.link,
            track=stack.track,
            pixel_size=stack.pixel_size,
        ):
            if control is not None and control.stopping:
                return None
            linked = step.result
            name = stack.first.plane.name
            seconds = time.monotonic() - began
            yield Progress(step.done, step.total, "link", seconds, float("nan"), name)
        return LinkedStack(stack, tuple(masks), linked, partial=missing > 0)
    except SamAmgError:
        raise
    except Exception as error:
        raise fault("link", stack.first, error) from error


class _Clock:
    """Progress over many planes of as many steps each.

    Parameters
    ----------
    planes : int
    """

    def __init__(self, planes: int) -> None:
        self._planes = planes
        self._began = time.monotonic()
        self._first: float | None = None
        self._total = 1

    def plane(self, number: int, news: Progress, name: str) -> Progress:
        """Return the news of one plane's run as news of the whole."""
        now = time.monotonic()
        if not number and not (news.total and news.stage != "download"):
            return replace(news, elapsed=now - self._began, image=name)
        # From when the first plane was ready: loading a model is no measure of the rest.
        self._first = self._first or now
        self._total = news.total or self._total
        done, whole = number * self._total + news.done, self._planes * self._total
        left = (now - self._first) / done * (whole - done) if done else float("nan")
        # The model is there already: what takes time after its turn is the encoder.
        stage = "encode" if number and news.stage == "load" else news.stage
        return Progress(done, whole, stage, now - self._began, left, name)
