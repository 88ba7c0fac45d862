"""``--scheduler``: planes as tasks on other machines, in the order of the images."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.models import check_agreement, default_name, say_default
from napari_sam_amg.cli.plan import named
from napari_sam_amg.cli.segment import Segmenter, Segmenters, has_stack_contrast
from napari_sam_amg.cli.streams import say
from napari_sam_amg.distributed.connection import connected, prepare_workers
from napari_sam_amg.distributed.many import submit_plane
from napari_sam_amg.distributed.ordered import Ordered, Request
from napari_sam_amg.distributed.planes import RemotePlane
from napari_sam_amg.distributed.setup import Setup
from napari_sam_amg.distributed.worker import contrast_of
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client, Future

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.report import Report

_STEPS = 1000


class RemoteSegmenter(Segmenter):
    """Finds the masks of one image on other machines.

    Parameters
    ----------
    image : Image
    options : Options
    report : Report
        Hears of every plane that is finished, also of those of later images.
    tasks : Ordered
        Of all images.
    groups : dict
        Their number among `tasks`, for each part by its identity.
    """

    def __init__(
        self,
        image: Image,
        options: Options,
        report: Report,
        tasks: Ordered,
        groups: dict[int, int],
    ) -> None:
        self._image = image
        self._options = options
        self._report = report
        self._tasks = tasks
        self._groups = groups

    def found(self, part: Part) -> Iterator[Found]:
        """Go through the planes of a part; see `Segmenter`."""
        if self._image.error is not None:
            raise self._image.error
        done = 0

        def tell(ahead: float) -> None:
            self._report.step(round(_STEPS * (done / len(part.planes) + ahead)), _STEPS)

        results = self._tasks.results(self._groups[id(part)], tell)
        with contextlib.closing(results):
            for plane, masks in zip(part.planes, results, strict=True):
                done += 1
                # The worker has read the pixels; here they are needed for tables alone.
                yield self._found(part, plane, masks, None)


@contextlib.contextmanager
def remote_segmenters(options: Options, images: list[Image]) -> Iterator[Segmenters]:
    """Connect to the scheduler, and find masks on its workers within this context.

    Parameters
    ----------
    options : Options
    images : list of Image
        All of the run.

    Yields
    ------
    Segmenters

    Raises
    ------
    SamAmgError
        If the scheduler cannot be used, or a worker cannot have the model.
    """
    say_default(options)
    settings: dict[str, Any] = {
        "device": options.device,
        "precision": options.precision,
        "contrast": options.contrast,
        **options.parameters,
    }
    setup = Setup.of(options.checkpoint or options.model or default_name(), settings)
    with connected(str(options.scheduler)) as client:
        architectures = prepare_workers(client, setup)
        for architecture in architectures:
            check_agreement(options, architecture)
        if not options.quiet:
            count = len(architectures)
            say(f"{counted(count, 'worker')} at {options.scheduler}")
        groups = {
            id(part): number
            for number, part in enumerate(part for image in images for part in image.parts)
        }
        with Ordered(client, _requests(client, setup, options, images, groups)) as tasks:
            yield lambda image, report: RemoteSegmenter(image, options, report, tasks, groups)


def _requests(
    client: Client,
    setup: Setup,
    options: Options,
    images: list[Image],
    groups: dict[int, int],
) -> Iterator[Request]:
    limit = MAX_PIXELS if options.max_pixels is None else options.max_pixels
    for image in images:
        measured: functools.partial[Future] | None = None
        for part in image.parts:
            for plane in part.planes:
                there = RemotePlane.of(plane, axes=options.axes, max_pixels=limit)
                if measured is None and has_stack_contrast(image, options):
                    measured = functools.partial(_once, [], client, setup, there)
                name = named(image.source, plane).name
                yield Request(
                    groups[id(part)],
                    functools.partial(_submit, client, setup, there, name, measured),
                    1 / len(part.planes),
                )


def _once(made: list[Future], client: Client, setup: Setup, plane: RemotePlane) -> Future:
    """Have the contrast of a stack measured, the first time that it is asked for."""
    if not made:
        made.append(client.submit(contrast_of, setup, plane, pure=False))
    return made[0]


def _submit(
    client: Client,
    setup: Setup,
    plane: RemotePlane,
    name: str,
    measured: functools.partial[Future] | None,
    **keywords: Any,
) -> Future:
    contrast = None if measured is None else measured()
    return submit_plane(client, setup, plane, name, contrast, **keywords)
