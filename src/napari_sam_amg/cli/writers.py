"""One writer for each kind of output; each hands on to `napari_sam_amg.formats`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from napari_sam_amg.cli.outputs import is_together, targets
from napari_sam_amg.errors import WriteError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.source import Source


class Writer(Protocol):
    """Takes the masks of one plane after the other."""

    @property
    def finished(self) -> Collection[str]:
        """Names of results that a shared file holds from an earlier run."""

    def begin(self, image: Image, part: Part) -> None:
        """Hear which planes follow."""

    def add(self, found: Found) -> None:
        """Take the masks of a plane."""

    def write(self) -> None:
        """Write the planes that were added since, or keep them for a shared file."""

    def fail(self, result: Source) -> None:
        """Hear that there is no new result: what was added is dropped, an earlier one kept."""

    def close(self, *, complete: bool) -> None:
        """Write what is shared; `complete` is False after an interruption."""


class Ledger:
    """Knows what the run has written, so that no result takes the place of another.

    Parameters
    ----------
    options : Options
    """

    def __init__(self, options: Options) -> None:
        self._where = {
            "output": options.output,
            "output_format": options.output_format,
            "tables": options.tables,
        }
        self._written: dict[tuple[int, int], Source] = {}

    def claim(self, result: Source) -> tuple[Path, ...]:
        """Return where a result goes, its folder made.

        Raises
        ------
        WriteError
            If that is the result of another image of this run, as on a disk that does not
            tell capital letters from small ones.
        """
        written = targets(result, **self._where)  # type: ignore[arg-type]
        for target in written:
            other = self._written.get(_identity(target) or (0, 0))
            if other is not None:
                raise WriteError(
                    f"{target} is the result of {other.path} in this run: the disk takes their "
                    "names for the same. Rename one, or run them with different --output"
                )
        if written:
            written[0].parent.mkdir(parents=True, exist_ok=True)
        return written

    def settle(self, result: Source) -> None:
        """Hear that a result is written."""
        for target in targets(result, **self._where):  # type: ignore[arg-type]
            identity = _identity(target)
            if identity is not None:
                self._written[identity] = result


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what `os.path.samefile` compares; None if nothing is there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


class FileWriter:
    """Writes a result for each plane, replacing an earlier one as a whole.

    Parameters
    ----------
    options : Options
    """

    finished: Collection[str] = ()

    def __init__(self, options: Options) -> None:
        self._form = options.output_format
        self._measure = options.measure
        self._ledger = Ledger(options)
        self._found: Found | None = None

    def begin(self, image: Image, part: Part) -> None:
        """Forget what was added before."""
        self._found = None

    def add(self, found: Found) -> None:
        """Take the masks of a plane."""
        self._found = found

    def write(self) -> None:
        """Write the masks of the plane.

        Raises
        ------
        WriteError
            If it cannot be written, or its target is the result of another image of this run.
        """
        from napari_sam_amg import formats

        found, self._found = self._found, None
        if found is None:
            return
        written = self._ledger.claim(found.result)
        if self._measure:
            # It replaces an earlier one once the result is there: they belong together.
            with formats.staged_table(found.table, written[-1]):
                self._write(found, written[0])
        else:
            self._write(found, written[0])
        self._ledger.settle(found.result)

    def _write(self, found: Found, target: Path) -> None:
        from napari_sam_amg import formats

        masks = found.masks
        if self._form == "png":
            formats.write_png_folder(masks, target, overwrite=True)
        elif self._form == "rle":
            formats.write_rle_json(masks, target)
        elif self._form == "imagej":
            formats.write_imagej_rois(masks, target)
        else:
            table = found.measured if self._measure else None
            formats.write_geojson(masks, target, measurements=table)

    def fail(self, result: Source) -> None:
        """Drop what was added: an earlier result is where it was."""
        self._found = None

    def close(self, *, complete: bool) -> None:
        """Do nothing: everything is written."""


def choose_writer(options: Options) -> Writer:
    """Return the writer of the chosen format."""
    if options.output_format == "coco":
        from napari_sam_amg.cli.dataset import DatasetWriter

        return DatasetWriter(options)
    if is_together(options.output_format):
        from napari_sam_amg.cli.stacks import StackWriter

        return StackWriter(options)
    if options.output_format == "large":
        from napari_sam_amg.cli.large import LargeWriter

        return LargeWriter(options)  # type: ignore[return-value]
    return FileWriter(options)
