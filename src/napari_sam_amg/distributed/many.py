"""`segment_many`: many images on many machines, from a script."""

from __future__ import annotations

import contextlib
import functools
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.distributed.connection import connected, prepare_workers
from napari_sam_amg.distributed.ordered import Ordered, Request
from napari_sam_amg.distributed.setup import Setup
from napari_sam_amg.distributed.worker import find

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    from distributed import Client, Future

    from napari_sam_amg.distributed.planes import RemotePlane
    from napari_sam_amg.masks import Masks


def segment_many(
    images: Iterable[str | Path | npt.ArrayLike],
    model: str | Path = "nuclei-nano",
    *,
    client: Client | str,
    **settings: Any,
) -> Iterator[Masks]:
    """Find the masks of many images on the workers of a Dask scheduler.

    Parameters
    ----------
    images : iterable of path or array
        Files of one plane each, which the workers read from the same path, or pixels as
        `AutomaticMaskGenerator.generate` takes them, which are sent. Taken a few at a time.
    model : str or Path
        A name from `list_models`, or the path of a checkpoint, which the workers read too.
    client : Client or str
        Of ``distributed``, or the address of a scheduler.
    **settings
        Of `AutomaticMaskGenerator`: device, precision, contrast and any parameter.

    Yields
    ------
    Masks
        Of one image after the other, the same as on one machine.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be used, or workers have other versions than are here.
    SamAmgError
        What went wrong with an image or the model, and on which worker.
    """
    setup = Setup.of(model, settings)
    with connected(client) if isinstance(client, str) else contextlib.nullcontext(client) as found:
        prepare_workers(found, setup)
        requests = (
            Request(number, functools.partial(submit_plane, found, setup, *_plane(image, number)))
            for number, image in enumerate(images)
        )
        with Ordered(found, requests) as tasks:
            group = 0
            while results := list(tasks.results(group)):
                yield from results
                group += 1


def submit_plane(
    client: Client,
    setup: Setup,
    plane: RemotePlane | npt.NDArray[Any] | str,
    name: str,
    contrast: Future | None = None,
    **keywords: Any,
) -> Future:
    """Hand a plane over to a worker; arguments as for `find`, and of ``Client.submit``."""
    import dask

    # Of pixels that are sent it would say that they had better lie in a file.
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"}):
        return client.submit(find, setup, plane, name, contrast, **keywords)


def _plane(image: str | Path | npt.ArrayLike, number: int) -> tuple[npt.NDArray[Any] | str, str]:
    if isinstance(image, str | os.PathLike):
        return os.path.abspath(image), os.path.basename(image)
    return np.asarray(image), f"image {number}"
