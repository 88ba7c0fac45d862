"""One writer for each output format; each hands on to `napari_sam_amg.formats`."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam_amg.cli.outputs import DATASET, targets
from napari_sam_amg.errors import ParameterError, ReadError, WriteError
from napari_sam_amg.image import without_alpha

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.cli.arguments import OutputFormat
    from napari_sam_amg.cli.inputs import Source
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.masks import Masks

log = logging.getLogger(__name__)


class Writer(Protocol):
    """Takes the masks of one image after the other."""

    @property
    def finished(self) -> Collection[str]:
        """Names of images that a shared file holds from an earlier run."""

    def write(self, source: Source, masks: Masks, image: npt.NDArray[Any]) -> None:
        """Write, or keep for a shared file, the masks of an image (HxW or HxWxC)."""

    def fail(self, source: Source) -> None:
        """Hear that an image has no new result: it keeps an earlier one."""

    def close(self, *, complete: bool) -> None:
        """Write what is shared; `complete` is False after an interruption."""


class FileWriter:
    """Writes a result for each image, replacing an earlier one as a whole.

    Parameters
    ----------
    options : Options
    """

    finished: Collection[str] = ()

    def __init__(self, options: Options) -> None:
        self._options = options
        self._written: dict[tuple[int, int], Source] = {}

    def write(self, source: Source, masks: Masks, image: npt.NDArray[Any]) -> None:
        """Write the masks of an image.

        Raises
        ------
        WriteError
            If it cannot be written, or its target is the result of another image of this
            run, as on a disk that does not tell capital letters from small ones.
        """
        from napari_sam_amg import formats

        form = self._options.output_format
        written = targets(
            source,
            output=self._options.output,
            output_format=form,
            measure=self._options.measure,
        )
        for target in written:
            other = self._written.get(_identity(target) or (0, 0))
            if other is not None:
                raise WriteError(
                    f"{target} is the result of {other.path} in this run: the disk takes their "
                    "names for the same. Rename one, or run them with different --output"
                )
        target = written[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        if self._options.measure:
            table = _measured(masks, image, self._options.pixel_size)
            # It replaces an earlier one once the result is there: they belong together.
            with formats.staged_table(_with_features(table, masks), written[-1]):
                _write_result(form, masks, target, table)
        else:
            _write_result(form, masks, target, None)
        for target in written:
            identity = _identity(target)
            if identity is not None:
                self._written[identity] = source

    def fail(self, source: Source) -> None:
        """Do nothing: an earlier result is where it was."""

    def close(self, *, complete: bool) -> None:
        """Do nothing: everything is written."""


def _write_result(
    form: OutputFormat, masks: Masks, target: Path, measurements: pd.DataFrame | None
) -> None:
    from napari_sam_amg import formats

    if form == "png":
        formats.write_png_folder(masks, target, overwrite=True)
    elif form == "rle":
        formats.write_rle_json(masks, target)
    elif form == "imagej":
        formats.write_imagej_rois(masks, target)
    elif form == "geojson":
        formats.write_geojson(masks, target, measurements=measurements)
    else:
        formats.write_labels(masks, target)


def _measured(masks: Masks, image: npt.NDArray[Any], pixel_size: float | None) -> pd.DataFrame:
    """Measure masks; transparency is no channel, as it is none for the model."""
    return masks.measure(without_alpha(image), pixel_size=pixel_size)


def _with_features(table: pd.DataFrame, masks: Masks) -> pd.DataFrame:
    """Return measurements, and what else is known of the masks."""
    features = masks.features
    return table.join(features[[n for n in features if n not in table]])


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what `os.path.samefile` compares; None if nothing is there."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if status.st_ino else None


class DatasetWriter:
    """Collects all images and writes one COCO dataset at the end.

    Parameters
    ----------
    options : Options

    Raises
    ------
    ParameterError
        If the existing dataset, which is to be continued, cannot be read.
    """

    def __init__(self, options: Options) -> None:
        self._path: Path = options.output / DATASET
        self._segmentation = options.segmentation
        self._measure, self._pixel_size = options.measure, options.pixel_size
        # None keeps the place of an image that failed.
        self._masks: dict[str, Masks | None] = {}
        self._continues = options.skip_existing and os.path.exists(self._path)
        if self._continues:
            self._masks.update(_existing(self._path))
        self.finished: Collection[str] = frozenset(self._masks)
        self._is_new = False
        self._tables: dict[Path, pd.DataFrame] = {}

    def write(self, source: Source, masks: Masks, image: npt.NDArray[Any]) -> None:
        """Keep the masks of an image, and their measurements."""
        if self._measure:
            (path,) = targets(source, output=self._path.parent, output_format="coco", measure=True)
            table = _measured(masks, image, self._pixel_size)
            self._tables[path] = _with_features(table, masks)
        self._masks[source.name] = masks
        self._is_new = True

    def fail(self, source: Source) -> None:
        """Keep the place of an image whose earlier entry is to stay."""
        self._masks[source.name] = None

    def close(self, *, complete: bool) -> None:
        """Write the dataset, then the tables that belong to it.

        Images that failed have the entry that they had. After an interruption, an earlier
        dataset of other content is left as it is: part of a run must not replace a whole one.
        """
        from napari_sam_amg import formats

        if not self._is_new:
            return
        if complete or self._continues or not os.path.exists(self._path):
            failed = [name for name, masks in self._masks.items() if masks is None]
            entries = self._masks | self._earlier(failed)
            found = [(name, masks) for name, masks in entries.items() if masks is not None]
            formats.write_coco(found, self._path, segmentation=self._segmentation)
            for path, table in self._tables.items():
                formats.write_table(table, path)

    def _earlier(self, names: list[str]) -> dict[str, Masks]:
        from napari_sam_amg import formats

        if not names or not os.path.exists(self._path):
            return {}
        try:
            earlier = formats.read_coco(self._path)
        except ReadError as error:
            # Nobody can read it: the new results are worth more.
            log.warning("no entry of an earlier run is kept: %s", error)
            return {}
        return {name: earlier[name] for name in names if name in earlier}


def _existing(path: Path) -> dict[str, Masks]:
    from napari_sam_amg import formats

    try:
        return dict(formats.read_coco(path))
    except ReadError as error:
        raise ParameterError(
            f"--skip-existing cannot continue {path}: {error}; move it away or leave "
            "--skip-existing out"
        ) from error


def choose_writer(options: Options) -> Writer:
    """Return the writer of the chosen format."""
    return DatasetWriter(options) if options.output_format == "coco" else FileWriter(options)
