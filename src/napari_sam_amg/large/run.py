"""A very large plane from pixels to files, tile by tile."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import Cancelled, ParameterError
from napari_sam_amg.large.brightness import Greys, NonFinite, mapping_of
from napari_sam_amg.large.candidates import Candidates
from napari_sam_amg.large.output import Output
from napari_sam_amg.large.result import LargeResult
from napari_sam_amg.large.selection import END, StreamedSelection
from napari_sam_amg.large.source import Source, Strip
from napari_sam_amg.large.work import Work, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.engine.tiles import Tile
    from napari_sam_amg.formats.atomic import AnyPath

_CHUNK = 512
_MOST_UNTILED = 1 << 24


@dataclasses.dataclass(frozen=True)
class LargeStep:
    """Progress of a run; stop asking for more to end it, and start it again to go on.

    Attributes
    ----------
    done, total : int
        Steps finished and steps in all; `done` grows by one from step to step.
    stage : str
        What was just finished: "contrast", "tile", "kept tile" (of an earlier run) or "write".
    result : LargeResult or None
        Set on the last step only.
    """

    done: int
    total: int
    stage: str
    result: LargeResult | None


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
    sizes = _sizes(pixel_size)
    count = 0
    for row in generator.tile_rows(source.shape):
        count += len(row)
        if row[0].seam is None and source.shape[0] * source.shape[1] > _MOST_UNTILED:
            raise ParameterError(
                f"an image of {source.shape[0]} x {source.shape[1]} pixels would be seen as a "
                "whole: give object_diameter, or tile_size"
            )
    described = generator.describe({}, name)
    identity = {
        "image": [list(source.full_shape), str(source.dtype)],
        "weights": generator.info.sha256 or generator.weights_digest(),
        "brightness": dataclasses.asdict(generator.brightness),
        "pixel_size": [*sizes, None if pixel_size is None else unit],
        **{key: described[key] for key in ("versions", "model", "parameters", "precision")},
        "device": generator.device.type,
    }
    folder = Path(output).absolute()
    work = Work.found(folder, identity, resume=resume)
    return _steps(generator, source, folder, work, identity, count, described, should_stop)


def _steps(
    generator: AutomaticMaskGenerator,
    source: Source,
    folder: Path,
    work: Work | None,
    identity: dict[str, Any],
    count: int,
    described: dict[str, Any],
    should_stop: Callable[[], bool],
) -> Iterator[LargeStep]:
    total = count + 2
    if work is None:
        mapping = mapping_of(source, generator.brightness, should_stop=should_stop)
        record = {"identity": identity, "mapping": mapping, "date": described["date"]}
        work = Work.begun(folder, record)
    yield LargeStep(1, total, "contrast", None)
    mapping = work.record["mapping"]
    greys, counts = Greys.of(mapping), NonFinite()
    *sizes, unit = identity["pixel_size"]
    writer = Output(
        folder,
        source.shape,
        overlap=generator.parameters.overlap,
        chunk=_CHUNK,
        pixel_size=(sizes[0], sizes[1]),
        unit=unit,
    )
    selection = StreamedSelection(source.shape, generator.parameters)
    strip = Strip(source, counts)
    done = 1
    for row, following in itertools.pairwise([*generator.tile_rows(source.shape), None]):
        found = [Candidates.none(source.shape)]
        for tile in row or []:
            if should_stop():
                raise Cancelled("the run was ended between two tiles; it can be gone on with")
            strip.hold(tile.slices[0].start, tile.slices[0].stop)
            pixels = strip.window(*tile.slices)
            key = digest(pixels)
            kept = work.load(tile, key)
            if kept is None:
                found.append(candidates(generator, greys, pixels, tile, should_stop=should_stop))
                work.save(tile, key, found[-1])
            else:
                found.append(kept)
            done += 1
            yield LargeStep(done, total, "tile" if kept is None else "kept tile", None)
        frontier = following[0].crop.box[1] if following else END
        writer.add(*selection.add(Candidates.concatenate(found), frontier))
    strip.finish()
    provenance = {
        **described,
        "input": counts.recorded(mapping),
        "date": work.record["date"],
        "tiles": {"count": count},
        "masks": writer.count,
        "pixel_size": sizes,
        "unit": unit,
    }
    work.finish(provenance)
    yield LargeStep(total, total, "write", LargeResult.open(folder))


def candidates(
    generator: AutomaticMaskGenerator,
    greys: Greys,
    pixels: NDArray[np.generic],
    tile: Tile,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> Candidates:
    """Return the candidates of one tile, which depend on nothing but the arguments.

    So that it does not matter where or when it is called.

    Parameters
    ----------
    generator : AutomaticMaskGenerator
    greys : Greys
        How the image becomes 8-bit.
    pixels : ndarray, hxw or hxwxC
        The tile's, in the image's own values.
    tile : Tile
    should_stop : callable, optional
        As for `steps_large`.
    """
    found = generator.find_in_tile(greys(pixels), tile, should_stop=should_stop)
    return Candidates.of_tile(found, tile.number)


def _sizes(pixel_size: float | tuple[float, float] | None) -> tuple[float, float]:
    if pixel_size is None:
        return 1.0, 1.0
    height, width = pixel_size if isinstance(pixel_size, tuple) else (pixel_size, pixel_size)
    if not (height > 0 and width > 0):
        raise ParameterError(f"pixel_size={pixel_size!r}: give lengths above 0")
    return float(height), float(width)
