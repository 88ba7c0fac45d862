"""Slices linked and time points tracked in one job."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from napari_sam_amg.linking.parameters import LinkParameters, TrackParameters
from napari_sam_amg.linking.slices import link_step_count, link_steps
from napari_sam_amg.linking.steps import LinkStep, finished
from napari_sam_amg.linking.tracking import track_step_count, track_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_sam_amg.linking.sizes import PixelSize
    from napari_sam_amg.linking.tracks import Tracks
    from napari_sam_amg.linking.volume import Volume
    from napari_sam_amg.masks import Masks


def link_and_track(
    stacks: Sequence[Sequence[Masks]],
    *,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
    **parameters: Any,
) -> Tracks:
    """Link the slices of each time point into objects, and follow those through time.

    Parameters
    ----------
    stacks : sequence of sequences of Masks
        For each time point, the masks of its slices.
    pixel_size : (float, float, float), optional
        Distance of slices, height and width of a pixel.
    unit : str
        What `pixel_size` is in.
    link, track : mapping or LinkParameters and TrackParameters, optional
        How to link, and how to track; see `link_slices` and `track_objects`.

    Returns
    -------
    Tracks
        Of volumes, which are ``tracks.frames.items``.

    Raises
    ------
    ImageError
        If there is no time point or slice, or they differ in shape.
    ParameterError
        If a parameter is unknown or out of range.
    """
    return finished(link_and_track_steps(stacks, pixel_size=pixel_size, unit=unit, **parameters))


def link_and_track_steps(
    stacks: Sequence[Sequence[Masks]],
    *,
    link: LinkParameters | dict[str, Any] | None = None,
    track: TrackParameters | dict[str, Any] | None = None,
    pixel_size: PixelSize | None = None,
    unit: str = "um",
) -> Iterator[LinkStep[Tracks]]:
    """Do the same as `link_and_track`, step by step over the whole job; stop to cancel.

    Yields
    ------
    LinkStep
        The last has the `Tracks`.
    """
    linking = link if isinstance(link, LinkParameters) else LinkParameters(**(link or {}))
    tracking = track if isinstance(track, TrackParameters) else TrackParameters(**(track or {}))
    jobs = [
        link_steps(slices, pixel_size=pixel_size, unit=unit, **linking.model_dump())
        for slices in stacks
    ]
    total = sum(map(link_step_count, stacks)) + track_step_count(len(stacks))
    return _steps(jobs, tracking, total, pixel_size, unit)


def planes_steps(
    planes: Sequence[Masks],
    *,
    points: int,
    link: LinkParameters,
    track: TrackParameters,
    pixel_size: Any = None,
) -> Iterator[LinkStep[Any]]:
    """Link the masks of an image's planes along the axes that it has, step by step.

    Parameters
    ----------
    planes : sequence of Masks
        Time point by time point, in each slice by slice.
    points : int
        How many time points; of one, slices are linked, and of one slice each, its masks are
        followed.
    link, track
        As for `link_and_track`.
    pixel_size : tuple of float, optional
        As for `link_slices`, `track_objects` or `link_and_track`, whichever it is.

    Yields
    ------
    LinkStep
        The last has the `Volume` or the `Tracks`.
    """
    slices = len(planes) // points
    if points == 1:
        return link_steps(planes, pixel_size=pixel_size, **link.model_dump())
    if slices == 1:
        return track_steps(planes, pixel_size=pixel_size, **track.model_dump())
    stacks = [planes[i : i + slices] for i in range(0, len(planes), slices)]
    return link_and_track_steps(stacks, link=link, track=track, pixel_size=pixel_size)


def _steps(
    jobs: list[Iterator[LinkStep[Volume]]],
    tracking: TrackParameters,
    total: int,
    size: PixelSize | None,
    unit: str,
) -> Iterator[LinkStep[Tracks]]:
    done = 0
    volumes: list[Volume] = []
    for job in jobs:
        for step in job:
            done += 1
            if step.result is not None:
                volumes.append(step.result)
            yield LinkStep(done, total, step.stage)
    steps = track_steps(volumes, pixel_size=size, unit=unit, **tracking.model_dump())
    for last in steps:
        yield dataclasses.replace(last, done=done + last.done, total=total)
