"""Very large planes: from an array to a folder, tile by tile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.large.claim import check_free
from napari_sam_amg.large.identity import identity_of
from napari_sam_amg.large.plane import PlaneRun
from napari_sam_amg.large.result import LargeResult, LargeStep, finished
from napari_sam_amg.large.source import Source
from napari_sam_amg.large.work import WORK, Work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.formats.atomic import AnyPath

_MOST_UNTILED = 1 << 24


def segment_large(
    generator: AutomaticMaskGenerator,
    image: Any,
    output: AnyPath,
    *,
    name: str = "image",
    pixel_size: float | tuple[float, float] | None = None,
    unit: str = "micrometer",
    resume: bool = True,
) -> LargeResult:
    """Find all masks of a plane that need not fit into memory, and write them as they come.

    Arguments and errors are those of `steps_large`.
    """
    result = None
    for step in steps_large(
        generator, image, output, name=name, pixel_size=pixel_size, unit=unit, resume=resume
    ):
        result = step.result
    if result is None:
        raise RuntimeError("the last step has no result")
    return result


def steps_large(
    generator: AutomaticMaskGenerator,
    image: Any,
    output: AnyPath,
    *,
    name: str = "image",
    pixel_size: float | tuple[float, float] | None = None,
    unit: str = "micrometer",
    resume: bool = True,
    about: Mapping[str, Any] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[LargeStep]:
    """Run over a very large plane, tile by tile.

    The masks are those of ``generator.segment(image)`` with the same contrast. Each chunk of
    the image is read once, and once more before if its contrast is to be measured. Memory goes
    with the width of the image: a few rows of tiles, of the image's chunks and of labels.

    Parameters
    ----------
    generator : AutomaticMaskGenerator
        Its parameters say how the image is tiled.
    image : array, HxW, HxWx1, HxWx3 or HxWx4
        NumPy, a memory map, zarr, dask, or anything that has ``shape`` and ``dtype`` and can
        be cut into slices.
    output : path
        The folder that is made. An unfinished run in it is gone on with.
    name : str
        Of the image, in errors and provenance.
    pixel_size : float or (float, float), optional
        Side of a pixel, or its height and width, for the label image.
    unit : str
        What `pixel_size` is in, as OME-Zarr calls it.
    resume : bool
        If not, an unfinished run in `output` is removed first.
    about : mapping, optional
        What else its ``run.json`` is to say (JSON).
    should_stop : callable
        Asked often; once it returns True, the run ends with `Cancelled`. What is finished by
        then is kept, as it is if the process is killed.

    Yields
    ------
    LargeStep
        After each tile; the last one has the result.

    Raises
    ------
    Cancelled
        If `should_stop` said so.
    ImageError
        If it is no image, cannot be read, or is not that of the unfinished run.
    ParameterError
        If the parameters do not tile the image, or the size of a pixel is not above 0.
    WriteError
        If `output` holds anything else, or an unfinished run that was made otherwise.
    """
    source = Source(image, name)
    count = sum(map(len, generator.tile_rows(source.shape)))
    tiling = generator.tiling(source.shape)
    if tiling is None and source.shape[0] * source.shape[1] > _MOST_UNTILED:
        raise ParameterError(
            f"an image of {source.shape[0]} x {source.shape[1]} pixels would be seen as a whole: "
            "give object_diameter, or tile_size"
        )
    identity = identity_of(generator, source, pixel_size, unit)
    folder = Path(output).absolute()
    described = {**(about or {}), **generator.describe({}, name)}
    if tiling is not None:
        described["tiles"] = tiling.provenance(count)
    run = PlaneRun(generator, source, folder, identity, described, count, should_stop)
    if resume and (provenance := finished(folder, identity)) is not None:
        return run.compared(provenance)
    Work.found(folder, identity, resume=resume)  # refuses now what is refused
    check_free(folder / WORK)
    return run.steps(resume=resume)
