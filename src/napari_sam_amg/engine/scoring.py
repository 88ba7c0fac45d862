"""From low-resolution logits to scored candidates: windows, areas, stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks import MaskStore
from napari_sam_amg.masks.nms import near_duplicates
from napari_sam_amg.masks.selection import cut_off

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.engine.decoder import Decoded
    from napari_sam_amg.engine.grid import Crop
    from napari_sam_amg.engine.upsampling import Upsampler
    from napari_sam_amg.parameters import AmgParameters


_AGREEMENT = 0.8
"""How much of their boxes and areas near-duplicates have in common."""


@dataclass(frozen=True)
class Cut:
    """What to drop before NMS: thresholds as sam2 applies them, 0 for none."""

    pred_iou: float
    stability: float


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


@dataclass(frozen=True)
class Chunk:
    """The candidates of one chunk of prompts: their pixels and their rows, N each."""

    store: MaskStore
    rows: list[Candidate]


def candidates(
    decoded: Decoded,
    points: npt.NDArray[np.float32],
    *,
    shape: tuple[int, int],
    crop: Crop,
    crop_index: int,
    upsampler: Upsampler,
    parameters: AmgParameters,
    cut: Cut,
) -> Chunk:
    """Score the masks of one chunk, without those that are cut.

    Parameters
    ----------
    decoded : Decoded
        The model's answer to n prompts.
    points : ndarray, float32, nx2
        The prompts, (x, y) in crop pixels.
    shape : tuple of int
        Height and width of the image.
    crop, crop_index : Crop, int
        Where the chunk belongs.
    upsampler : Upsampler
        To the crop's size.
    parameters : AmgParameters
        ``mask_threshold`` and ``stability_score_offset`` count.
    cut : Cut
        Masks that fail it are dropped, and so are masks without a pixel.

    Returns
    -------
    Chunk
        In sam2's order: by prompt, by mask.
    """
    threshold, offset = parameters.mask_threshold, parameters.stability_score_offset
    iou = decoded.predicted_iou.cpu().numpy()
    x0, y0 = crop.box[:2]
    kept: list[tuple[int, int, npt.NDArray[np.bool_]]] = []
    rows: list[Candidate] = []
    pairs = zip(decoded.prompt.tolist(), decoded.mask.tolist(), decoded.logits, strict=True)
    for prompt, index, low_logits in pairs:
        score = iou[prompt, index]
        if cut.pred_iou > 0 and not score > np.float32(cut.pred_iou):
            continue
        found = upsampler.window(low_logits, threshold - offset)
        if found is None:
            continue
        left, top, logits = found
        mask = (logits > threshold).cpu().numpy()
        if not mask.any():
            continue
        low = int((logits > threshold - offset).sum())
        high = int((logits > threshold + offset).sum())
        px, py = points[prompt]
        point = (float(px + np.float32(x0)), float(py + np.float32(y0)))
        row = Candidate(float(score), point, high, low, crop_index)
        if cut.stability > 0 and not row.stability >= np.float32(cut.stability):
            continue
        kept.append((x0 + left, y0 + top, mask))
        rows.append(row)
    return Chunk(MaskStore.from_windows(shape, kept), rows)


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
    store = MaskStore.concatenate([chunk.store for chunk in chunks])
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
    return Chunk(store.take(kept), [rows[i] for i in kept])
