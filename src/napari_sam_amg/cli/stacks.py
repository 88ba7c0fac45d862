"""Results that hold all planes of an image: label TIFF and OME-Zarr."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.link import Linker
from napari_sam_amg.cli.writers import Ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.formats import LabelStack
    from napari_sam_amg.formats.ome_zarr import Channels
    from napari_sam_amg.sources import ImageSource, Plane

_COLOURS = ("red", "green", "blue", "alpha")


class StackWriter:
    """Collects the label images of an image, and writes them once all are there.

    A run that is ended in between leaves nothing of the image.

    Parameters
    ----------
    options : Options
    """

    finished: Collection[str] = ()

    def __init__(self, options: Options) -> None:
        self._form = options.output_format
        self._measure = options.measure
        self._own_size = options.pixel_size
        self._linking = options.linking
        self._ledger = Ledger(options)
        self._drop()

    def _drop(self) -> None:
        self._part: Part | None = None
        self._single = False
        self._found: Found | None = None
        self._stack: LabelStack | None = None
        self._linker: Linker | None = None
        self._tables: list[pd.DataFrame] = []

    def begin(self, image: Image, part: Part) -> None:
        """Hear which planes follow."""
        self._drop()
        self._part = part
        self._single = self._form == "labels" and not (image.is_stack or self._linking)
        self._linker = (
            None if self._linking is None else Linker(self._linking, measure=self._measure)
        )
        if image.opened is not None and not self._single:
            self._stack = label_stack(image.opened, part.planes, image.source.name, self._own_size)

    def add(self, found: Found) -> None:
        """Take the masks of a plane; unless they are to be linked, label images alone are kept."""
        if self._measure:
            self._tables.append(found.table)
        if self._linker is not None:
            self._linker.add(found)
        elif self._stack is not None:
            self._stack.add(found.masks, found.plane.index)
        else:
            self._found = found

    def write(self) -> None:
        """Write the label images that were added.

        Raises
        ------
        WriteError
            If they cannot be written, or their target is the result of another image of this
            run.
        """
        import pandas as pd

        from napari_sam_amg import formats

        if self._part is None:
            return
        result = self._part.result
        written = self._ledger.claim(result)
        tables: list[pd.DataFrame] = []
        if self._linker is not None and self._stack is not None:
            tables += self._linker.into(self._stack)
        if self._measure:
            tables.append(pd.concat(self._tables, ignore_index=True))
        with contextlib.ExitStack() as staged:
            # They replace earlier ones once the result is there: all belong together.
            for table, path in zip(tables, written[1:], strict=True):
                staged.enter_context(formats.staged_table(table, path))
            self._write(written[0])
        self._ledger.settle(result)
        self._drop()

    def _write(self, target: Path) -> None:
        from napari_sam_amg import formats

        if self._found is not None:
            formats.write_labels(self._found.masks, target, pixel_size=self._found.sides)
        elif self._stack is not None and self._form == "labels":
            formats.write_label_stack(self._stack, target)
        elif self._stack is not None and self._part is not None:
            copied = channels_of(self._part.planes)
            formats.write_ome_zarr(self._stack, target, channels=copied, overwrite=True)

    def fail(self, result: Source) -> None:
        """Drop what was added: an earlier result is where it was."""
        self._drop()

    def close(self, *, complete: bool) -> None:
        """Do nothing: everything is written."""


def label_stack(
    source: ImageSource, planes: tuple[Plane, ...], name: str, pixel_size: float | None
) -> LabelStack:
    """Return an empty stack for the label images of planes of an image.

    Parameters
    ----------
    source : ImageSource
    planes : tuple of Plane
    name : str
        Of the image.
    pixel_size : float or None
        Side of a pixel in micrometres instead of the file's own.
    """
    from napari_sam_amg.formats import LabelStack

    lengths = {axis: source.length(axis) for axis in "YX"}
    sizes = dict(source.pixel_size)
    if pixel_size is not None:
        sizes |= {"Y": pixel_size, "X": pixel_size}
    step = source.time_step
    for axis in "TZ":
        if axis not in source.axes:
            continue
        places = sorted({plane.index[axis] for plane in planes})
        lengths[axis] = len(places)
        # Of every other plane, those that are left lie twice as far apart.
        apart = places[1] - places[0] if len(places) > 1 else 1
        if axis == "T" and step is not None:
            step *= apart
        elif axis in sizes:
            sizes[axis] *= apart
    return LabelStack(lengths, pixel_size=sizes, time_step=step, name=name)


def channels_of(planes: tuple[Plane, ...]) -> Channels:
    """Return all channels of planes of one image, read again one by one."""
    from napari_sam_amg.formats.ome_zarr import Channels

    source = planes[0].source
    colour = "C" not in source.axes and "S" in source.axes
    if colour:
        names: tuple[str, ...] = _COLOURS[: source.length("S")]
    else:
        names = source.value_names or source.channel_names

    def read() -> Iterator[npt.NDArray[Any]]:
        for plane in planes:
            pixels = plane.read_channels()
            yield pixels.reshape(*pixels.shape[:2], -1) if names else pixels

    return Channels(read(), source.dtype, names, colour)
