"""From low-resolution logits to scored candidates: windows, areas, stability."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

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


@dataclass
class Candidates:
    """Masks before NMS, in sam2's order, growing chunk by chunk.

    All arrays have one entry a mask: ``points`` (x, y) and windows in image pixels,
    ``area_high`` and ``area_low`` the pixels of the crop above the raised and the lowered
    cutoff, ``crop_index`` the crop's place in the run.
    """

    shape: tuple[int, int]
    stores: list[MaskStore] = field(default_factory=list)
    predicted_iou: list[float] = field(default_factory=list)
    points: list[tuple[float, float]] = field(default_factory=list)
    area_high: list[int] = field(default_factory=list)
    area_low: list[int] = field(default_factory=list)
    crop_index: list[int] = field(default_factory=list)


def add_candidates(
    candidates: Candidates,
    decoded: Decoded,
    points: npt.NDArray[np.float32],
    *,
    crop: Crop,
    crop_index: int,
    upsampler: Upsampler,
    parameters: AmgParameters,
    cut: Cut,
) -> None:
    """Score the masks of one chunk and add those that are not cut.

    Parameters
    ----------
    candidates : Candidates
        Added to in place.
    decoded : Decoded
        The model's answer to n prompts.
    points : ndarray, float32, nx2
        The prompts, (x, y) in crop pixels.
    crop, crop_index : Crop, int
        Where the chunk belongs.
    upsampler : Upsampler
        To the crop's size.
    parameters : AmgParameters
        ``mask_threshold`` and ``stability_score_offset`` count.
    cut : Cut
        Masks that fail it are dropped, and so are masks without a pixel.
    """
    threshold, offset = parameters.mask_threshold, parameters.stability_score_offset
    iou = decoded.predicted_iou.cpu().numpy()
    x0, y0 = crop.box[:2]
    kept: list[tuple[int, int, npt.NDArray[np.bool_]]] = []
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
        candidates.predicted_iou.append(float(score))
        px, py = points[prompt]
        candidates.points.append((float(px + np.float32(x0)), float(py + np.float32(y0))))
        candidates.area_high.append(high)
        candidates.area_low.append(low)
        candidates.crop_index.append(crop_index)
    candidates.stores.append(MaskStore.from_windows(candidates.shape, kept))
