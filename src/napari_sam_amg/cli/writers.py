"""One writer for each output format; each hands on to `napari_sam_amg.formats`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_sam_amg.cli.outputs import DATASET, targets
from napari_sam_amg.errors import ParameterError, ReadError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from napari_sam_amg.cli.inputs import Source
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.masks import Masks


class Writer(Protocol):
    """Takes the masks of one image after the other."""

    @property
    def finished(self) -> Collection[str]:
        """Names of images that a shared file holds from an earlier run."""

    def write(self, source: Source, masks: Masks) -> None:
        """Write, or keep for a shared file, the masks of an image."""

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

    def write(self, source: Source, masks: Masks) -> None:
        """Write the masks of an image."""
        from napari_sam_amg import formats

        form = self._options.output_format
        target = targets(source, output=self._options.output, output_format=form)[0]
        target.parent.mkdir(parents=True, exist_ok=True)
        if form == "png":
            formats.write_png_folder(masks, target, overwrite=True)
        elif form == "rle":
            formats.write_rle_json(masks, target)
        else:
            formats.write_labels(masks, target)

    def close(self, *, complete: bool) -> None:
        """Do nothing: everything is written."""


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
        self._masks: dict[str, Masks] = {}
        self._continues = options.skip_existing and self._path.exists()
        if self._continues:
            self._masks = _existing(self._path)
        self.finished: Collection[str] = frozenset(self._masks)

    def write(self, source: Source, masks: Masks) -> None:
        """Keep the masks of an image."""
        self._masks[source.name] = masks

    def close(self, *, complete: bool) -> None:
        """Write the dataset.

        After an interruption, an earlier dataset of other content is left as it is: part
        of a run must not replace a whole one.
        """
        from napari_sam_amg import formats

        if len(self._masks) == len(self.finished):
            return
        if complete or self._continues or not self._path.exists():
            formats.write_coco(self._masks, self._path, segmentation=self._segmentation)


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
