"""Scored masks of one image that know where they come from, in memory and in files."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ReadError
from napari_sam_amg.masks import MaskStore, MaskTable
from napari_sam_amg.masks.scored import ScoredMasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_sam_amg.masks import Proposals

_TILE = 32
"""Bits of a place that say which candidate of its tile it is."""

_COLUMNS = ("predicted_iou", "stability_score", "points", "crop_boxes")


class Candidates(ScoredMasks):
    """N masks, their scores, and the order in which one run over the image would find them.

    Parameters
    ----------
    store, table : MaskStore, MaskTable
    places : ndarray, int64, N
        Number of the tile, and in the lower 32 bits the place among its candidates.
    """

    def __init__(self, store: MaskStore, table: MaskTable, places: npt.NDArray[np.int64]) -> None:
        self.store, self.table, self.places = store, table, places

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Candidates:
        """Return no candidates of an image."""
        store = MaskStore.from_windows(shape, [])
        return cls(store, MaskTable.unknown(store), np.empty(0, dtype=np.int64))

    @classmethod
    def of_tile(cls, proposals: Proposals, number: int) -> Candidates:
        """Return the candidates of the tile of that number."""
        places = (number << _TILE) + np.arange(len(proposals), dtype=np.int64)
        return cls(proposals.store, proposals.table, places)

    @classmethod
    def concatenate(cls, parts: Sequence[Candidates]) -> Candidates:
        """Return the candidates of several parts, at least one, in their order."""
        tables = [part.table for part in parts]
        return cls(
            MaskStore.concatenate([part.store for part in parts]),
            MaskTable(
                *(
                    np.concatenate([getattr(table, column) for table in tables])
                    for column in _COLUMNS
                )
            ),
            np.concatenate([part.places for part in parts]),
        )

    def take(self, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return some of them, in that order."""
        return self.with_pixels(self.store.take(rows), rows)

    def with_pixels(self, store: MaskStore, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return some of them with other pixels (M masks for M rows)."""
        return Candidates(store, self.table.take(rows), self.places[rows])

    @property
    def tops(self) -> npt.NDArray[np.int64]:
        """First row of each, int64 N."""
        return self.store.windows[:, 1]

    @property
    def bottoms(self) -> npt.NDArray[np.int64]:
        """Last row of each, int64 N."""
        bottoms: npt.NDArray[np.int64] = self.store.windows[:, [1, 3]].sum(axis=1) - 1
        return bottoms


def packed(found: Candidates, **more: npt.NDArray[np.generic]) -> bytes:
    """Return candidates as the bytes of a NumPy archive, always the same for the same ones."""
    store, table = found.store, found.table
    file = io.BytesIO()
    columns = {column: getattr(table, column) for column in _COLUMNS}
    arrays: dict[str, Any] = {
        "shape": np.array(store.shape),
        "windows": store.windows,
        "areas": store.areas,
        "bits": store.buffer,
        "places": found.places,
    }
    np.savez_compressed(file, **{**arrays, **columns, **more})
    return file.getvalue()


def unpacked(path: Path) -> tuple[Candidates, dict[str, npt.NDArray[np.generic]]]:
    """Read candidates, and what else was packed with them.

    Raises
    ------
    ReadError
        If the file is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            arrays = dict(archive)
        height, width = arrays.pop("shape").tolist()
        store = MaskStore(
            (height, width), arrays.pop("windows"), arrays.pop("areas"), arrays.pop("bits")
        )
        table = MaskTable(*(arrays.pop(column) for column in _COLUMNS))
        return Candidates(store, table, arrays.pop("places")), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ReadError(f"{path}: no candidates can be read from it ({error})") from error
