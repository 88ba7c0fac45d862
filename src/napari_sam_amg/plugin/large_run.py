"""A run over a plane that does not fit into memory, into a folder."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import Cancelled, SamAmgError
from napari_sam_amg.plugin.jobs import Progress, fault
from napari_sam_amg.plugin.layers import pixel_sides_um
from napari_sam_amg.plugin.placement import PLANE, placement

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.plugin.jobs import Control, Job
    from napari_sam_amg.plugin.planes import Plane
    from napari_sam_amg.plugin.session import Session


@dataclass(frozen=True, eq=False)
class LargeJob:
    """A plane, and the folder of its result.

    Attributes
    ----------
    job : Job
    folder : Path
    """

    job: Job
    folder: Path


def folder_name(plane: Plane) -> str:
    """Return what the folder of a plane's result is called, on any disk."""
    where = [str(place) for place in plane.index if not isinstance(place, slice)]
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "_", plane.name).strip(" .") or "image"
    return "_".join([name, *where]) + " masks"


def run_large(
    session: Session, large: LargeJob, control: Control
) -> Generator[Progress, None, LargeResult | None]:
    """Find the masks of a plane tile by tile, for a generator worker.

    Yields
    ------
    Progress

    Returns
    -------
    LargeResult or None
        None if it was cancelled: what is finished is kept in the folder.

    Raises
    ------
    SamAmgError
        On any fault, never a RuntimeError: napari's workers swallow those.
    """
    from napari_sam_amg.large import steps_large

    job, began, first = large.job, time.monotonic(), None
    stage = "load"
    try:
        yield Progress(0, 0, stage, 0.0, float("nan"))
        yield from session.fetched(job, control, began)
        generator = session.generator(job)
        stage = "contrast"
        yield Progress(0, 0, stage, time.monotonic() - began, float("nan"))
        image, contrast, gamma = job.plane.pixels, None, 1.0
        if job.look is not None:
            image, contrast, gamma = job.look.prepared(
                image, generator.info.profile, lambda: control.stopping
            )
        parameters = dict(job.parameters)
        for step in steps_large(
            generator.configured(contrast=contrast, gamma=gamma, **parameters),
            image,
            large.folder,
            name=job.plane.name,
            pixel_size=pixel_sides_um(job.plane.keywords, job.plane.axes),
            about={PLANE: job.plane.provenance()} | (job.look.provenance() if job.look else {}),
            should_stop=lambda: control.stopping,
        ):
            if step.result is not None:
                return step.result
            if control.stopping:
                return None
            stage, now = "tile", time.monotonic()
            # Tiles that an earlier run finished are no measure of the rest.
            if first is None or step.stage == "kept tile":
                first = now, step.done
            new = step.done - first[1]
            left = (now - first[0]) / new * (step.total - step.done) if new else float("nan")
            yield Progress(step.done, step.total, stage, now - began, left)
    except Cancelled:
        return None
    except SamAmgError:
        raise
    except Exception as error:
        raise fault(stage, job, error) from error
    return None


def placed_layer(
    result: LargeResult, plane: Plane | None = None
) -> tuple[Any, dict[str, Any], str]:
    """Return the lazy Labels layer of a result: data, keywords, kind.

    It lies where the plane lies; by default where that lay when the result was made.
    """
    data, keywords, kind = result.layer()
    index, where = placement(result) if plane is None else (plane.across, dict(plane.keywords))
    if where:
        levels = data if keywords["multiscale"] else [data]
        levels = [level[index] for level in levels]
        data = levels if keywords["multiscale"] else levels[0]
        keywords |= where
    return data, keywords, kind
