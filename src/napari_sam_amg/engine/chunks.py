"""The candidates of chunks of prompts, on their way to those of a run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_sam_amg.engine.unpacked import UnpackedMasks
from napari_sam_amg.masks import MaskStore
from napari_sam_amg.masks.nms import near_duplicates
from napari_sam_amg.masks.selection import cut_off

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam_amg.engine.grid import Crop


_AGREEMENT = 0.8
"""How much of their boxes and areas near-duplicates have in common."""


class Candidate(NamedTuple):
    """A mask before NMS.

    ``point`` is (x, y) in image pixels, ``area_high`` and ``area_low`` are the pixels of the
    crop above the raised and the lowered cutoff, ``crop_index`` is the crop's place in the run.
    """

    predicted_iou: float
    point: tuple[float, float]
    area_high: int
    area_low: int
    crop_index: int

    @property
    def stability(self) -> np.float32:
        """The stability score, rounded as torch does."""
        return np.float32(np.float32(self.area_high) / np.float32(self.area_low))


class Chunk:
    """The candidates of one chunk of prompts: their pixels and their rows, N each.

    Parameters
    ----------
    find : callable
        Returns both; called once, when they are first asked for.
    """

    def __init__(self, find: Callable[[], tuple[MaskStore, list[Candidate]]]) -> None:
        self._find: Callable[[], tuple[MaskStore, list[Candidate]]] | None = find
        self._lock = threading.Lock()

    def settled(self) -> tuple[MaskStore, list[Candidate]]:
        """Return both, and let go of what they were found from."""
        with self._lock:  # `Step.partial` may be called from another thread
            if self._find is not None:
                self._found = self._find()
                self._find = None
            return self._found

    @property
    def store(self) -> MaskStore:
        """The pixels, which may be `UnpackedMasks`."""
        return self.settled()[0]

    @property
    def rows(self) -> list[Candidate]:
        """The rows."""
        return self.settled()[1]


def tidied(chunks: Sequence[Chunk], crop: Crop, near: int) -> Chunk:
    """Put a tile's chunks together, without what thresholds have no use for.

    That is masks that the tile's edge cuts off, which a neighbour sees whole, and
    near-duplicates (`near_duplicates`). With points as dense as tiles have them, most
    candidates are; whether they go before or after a threshold of the scores is all the same.
    A ``box_nms_thresh`` above `_AGREEMENT` would have kept some of the latter.

    Parameters
    ----------
    chunks : sequence of Chunk
        All of one tile, at least one.
    crop : Crop
        The tile.
    near : int
        How near to the tile's edge a mask counts as cut off, in pixels.
    """
    store = together(chunks[0].store.shape, chunks)
    rows = [row for chunk in chunks for row in chunk.rows]
    crops = np.broadcast_to(np.array(crop.xywh, dtype=np.int64), (len(store), 4))
    whole = np.flatnonzero(~cut_off(store.boxes, crops, store.shape, near))
    removed = near_duplicates(
        store.boxes[whole],
        store.areas[whole],
        np.array([rows[i].predicted_iou for i in whole], dtype=np.float32),
        np.array([rows[i].stability for i in whole], dtype=np.float32),
        _AGREEMENT,
    )
    kept = whole[~removed]
    found = store.take(kept), [rows[i] for i in kept]
    return Chunk(lambda: found)


def together(shape: tuple[int, int], chunks: Sequence[Chunk]) -> MaskStore:
    """Return the masks of chunks of an image of `shape`, unpacked if they all are."""
    stores = [chunk.store for chunk in chunks]
    unpacked = [store for store in stores if isinstance(store, UnpackedMasks)]
    if len(unpacked) == len(stores):
        return UnpackedMasks.together(shape, unpacked)
    return MaskStore.concatenate(stores)


def packed(chunk: Chunk) -> Chunk:
    """Return the same candidates with their pixels."""
    store, rows = chunk.settled()
    found = (store.packed if isinstance(store, UnpackedMasks) else store), rows
    return Chunk(lambda: found)
