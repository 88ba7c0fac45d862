"""``--format large``: planes that are read and written tile by tile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.cli.found import beside
from napari_sam_amg.cli.outputs import targets
from napari_sam_amg.cli.plan import named
from napari_sam_amg.cli.segment import Segmenter, describe
from napari_sam_amg.cli.writers import Ledger
from napari_sam_amg.errors import SamAmgError
from napari_sam_amg.formats.limits import MAX_PIXELS
from napari_sam_amg.measurements import COLOURS
from napari_sam_amg.stack_contrast import shared_contrast

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.large.source import Source as Pixels
    from napari_sam_amg.sources import Plane


@dataclass(frozen=True)
class FoundLarge:
    """The masks of one plane, on disk.

    Attributes
    ----------
    image : Source
        The image that it belongs to.
    masks : LargeResult
    result : Source
        What the result is called.
    plane : Plane
    sides : (float, float) or None
        Height and width of a pixel in micrometres.
    most : int
        How many pixels may be read at once, where a file does not allow anything else.
    """

    image: Source
    masks: LargeResult
    result: Source
    plane: Plane
    sides: tuple[float, float] | None
    most: int

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask."""
        return np.asarray(self.masks.table["area"], dtype=np.int64)

    @property
    def table(self) -> pd.DataFrame:
        """Measurements in all channels, and what else is known of the masks."""
        from napari_sam_amg.sources.rows import lazily

        channels = {name: lazily(plane, self.most) for name, plane in self._planes().items()}
        image: Any = channels
        if len(channels) == 1:
            (image,) = channels.values()
        found = self.masks.measure(image, pixel_size=self.sides)
        names = {
            name: name.removesuffix(f" {colour}") + f"-{number}"  # as in other formats
            for number, colour in enumerate(COLOURS)
            for name in map(str, found)
            if image is channels and name.endswith(f" {colour}")
        }
        return beside(found.rename(columns=names), self.masks.table)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[Any]]]:
        """Yield the same as `Found.blocks`, of a few rows of one channel at a time."""
        from napari_sam_amg.large.source import Source as Pixels
        from napari_sam_amg.sources.rows import lazily

        labels, planes = self.masks.levels[0], self._planes()
        for channel, (name, plane) in enumerate(planes.items()):
            source = Pixels(lazily(plane, self.most), name)
            for top, block in source.blocks():
                inside = np.asarray(labels[top : top + len(block)]) > 0
                channels = block.reshape(*inside.shape, -1)
                for number in range(source.channels):
                    # As the names are sorted: by colour, then by channel.
                    yield number * len(planes) + channel, inside, channels[..., number]
            del source, block, channels  # before more is read

    def _planes(self) -> dict[str, Plane]:
        """Return the plane of each channel, by name; colours are one."""
        source = self.plane.source
        if source.length("C") == 1:
            return {"": self.plane}
        return {
            name: replace(self.plane, channel=number)
            for number, name in enumerate(source.channel_names)
        }


class LargeSegmenter(Segmenter):
    """Finds the masks of one image, and writes them as they come; see `Segmenter`."""

    def found(self, part: Part) -> Iterator[Any]:
        """Go through the planes of a part.

        Yields
        ------
        FoundLarge
        """
        from napari_sam_amg.large import steps_large
        from napari_sam_amg.sources.rows import lazily

        if self._image.error is not None:
            raise self._image.error
        for plane in part.planes:
            generator = self._generator_for(plane)
            source = named(self._image.source, plane)
            result = None
            for step in steps_large(
                generator,
                lazily(plane, self._most),
                large_folder(source, self._options),
                name=source.name,
                pixel_size=self._sides(plane),
                about={"image_plane": describe(plane)},
            ):
                self._report.step(step.done, step.total)
                result = step.result
            if result is None:
                raise SamAmgError("the run ended without a result; please report this")
            self._note(source, result.provenance)
            yield FoundLarge(
                self._image.source, result, part.result, plane, self._sides(plane), self._most
            )

    @property
    def _most(self) -> int:
        """How many pixels may be read at once, where a file does not allow anything else."""
        return self._options.max_pixels or MAX_PIXELS

    def _measured(self, plane: Plane) -> tuple[float, float] | None:
        planes = list(plane.source.planes(channel=self._options.channel))
        stack = _RowsOfAll(planes, self._most)
        profile = self._generator.info.profile
        return shared_contrast(stack, profile, plane_axes=len(stack.shape) - 2)


class LargeWriter:
    """Sees to it that no result takes the place of another; each was written when it was found.

    Parameters
    ----------
    options : Options
    """

    finished: Collection[str] = ()

    def __init__(self, options: Options) -> None:
        self._ledger, self._measure = Ledger(options), options.measure
        self._found: FoundLarge | None = None
        self._written: tuple[Path, ...] = ()

    def begin(self, image: Image, part: Part) -> None:
        """Hear which plane follows.

        Raises
        ------
        WriteError
            If its folder is the result of another image of this run.
        """
        self._found = None
        self._written = self._ledger.claim(part.result)

    def add(self, found: FoundLarge) -> None:
        """Hear that a plane is done."""
        self._found = found

    def write(self) -> None:
        """Write the table of measurements, if it is wanted: the result itself is there."""
        from napari_sam_amg import formats

        if self._found is None:
            return
        if self._measure:
            formats.write_table(self._found.table, self._written[-1])
        self._ledger.settle(self._found.result)

    def fail(self, result: Source) -> None:
        """Keep what there is: another run goes on from it."""

    def close(self, *, complete: bool) -> None:
        """Do nothing: everything is written."""


def large_folder(result: Source, options: Options) -> Path:
    """Return the folder of a result."""
    where: dict[str, Any] = {
        "output": options.output,
        "output_format": options.output_format,
        "tables": options.tables,
    }
    return targets(result, **where)[0]


class _RowsOfAll:
    """Planes as one stack, of which rows are read."""

    def __init__(self, planes: list[Plane], most: int) -> None:
        self._most = most
        self._planes = planes
        self._open: tuple[int, Pixels] | None = None
        first = self._pixels(0)
        self.dtype = first.dtype
        self.shape = (len(planes), *first.shape)
        self.chunks = ((1,) * len(planes), *first.chunks, first.shape[1:])

    def __getitem__(self, place: tuple[slice, ...]) -> NDArray[Any]:
        number, rows = place[:2]
        return np.asarray(self._pixels(number.start)[rows])

    def _pixels(self, number: int) -> Pixels:
        """Return a plane; no other is open or in memory then."""
        from napari_sam_amg.large.source import Source as Pixels
        from napari_sam_amg.sources.rows import lazily

        if self._open is None or self._open[0] != number:
            plane = self._planes[number]
            self._open = None
            self._open = number, Pixels(lazily(plane, self._most), str(plane.source.path))
        return self._open[1]
