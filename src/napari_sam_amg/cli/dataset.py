"""``--format coco``: one dataset for all images."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from napari_sam_amg.cli.outputs import DATASET
from napari_sam_amg.cli.writers import Ledger
from napari_sam_amg.errors import ParameterError, ReadError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pandas as pd

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.masks import Masks

log = logging.getLogger(__name__)


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
        self._measure = options.measure
        self._ledger = Ledger(options)
        self._found: Found | None = None
        # None keeps the place of an image that failed.
        self._masks: dict[str, Masks | None] = {}
        self._continues = options.skip_existing and os.path.exists(self._path)
        if self._continues:
            self._masks.update(_existing(self._path))
        self.finished: Collection[str] = frozenset(self._masks)
        self._is_new = False
        self._tables: dict[Source, pd.DataFrame] = {}

    def begin(self, image: Image, part: Part) -> None:
        """Forget what was added before."""
        self._found = None

    def add(self, found: Found) -> None:
        """Take the masks of a plane."""
        self._found = found

    def write(self) -> None:
        """Keep the masks of the plane, and their measurements."""
        found, self._found = self._found, None
        if found is None:
            return
        if self._measure:
            self._tables[found.result] = found.table
        self._masks[found.result.name] = found.masks
        self._is_new = True

    def fail(self, result: Source) -> None:
        """Keep the place of an image whose earlier entry is to stay."""
        self._found = None
        self._masks[result.name] = None

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
            for result, table in self._tables.items():
                formats.write_table(table, self._ledger.claim(result)[-1])
                self._ledger.settle(result)

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
