"""From low-resolution logits to scored candidates: windows, areas, stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks import MaskStore

if TYPE_CHECKING:
    from napari_sam_amg.engine.decoder import Decoded
    from napari_sam_amg.engine.grid import Crop
    from napari_sam_amg.engine.upsampling import Upsampler
    from napari_sam_amg.parameters import AmgParameters


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
    for prompt, index in np.ndindex(*iou.shape):
        score = iou[prompt, index]
        if cut.pred_iou > 0 and not score > np.float32(cut.pred_iou):
            continue
        found = upsampler.window(decoded.logits[prompt, index], threshold - offset)
        if found is None:
            continue
        left, top, logits = found
        mask = (logits > threshold).cpu().numpy()
        if not mask.any():
            continue
        low = int((logits > threshold - offset).sum())
        high = int((logits > threshold + offset).sum())
        stability = np.float32(high) / np.float32(low)
        if cut.stability > 0 and not stability >= np.float32(cut.stability):
            continue
        kept.append((x0 + left, y0 + top, mask))
        px, py = points[prompt]
        point = (float(px + np.float32(x0)), float(py + np.float32(y0)))
        rows.append(Candidate(float(score), point, high, low, crop_index))
    return Chunk(MaskStore.from_windows(shape, kept), rows)
