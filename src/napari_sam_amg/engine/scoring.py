"""From low-resolution logits to scored candidates: boxes, areas, stability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from napari_sam_amg.engine import at_once
from napari_sam_amg.engine.arriving import arriving, sent
from napari_sam_amg.engine.cells import Cells
from napari_sam_amg.engine.cells_cpu import CellsOnCpu
from napari_sam_amg.engine.chunks import Candidate, Chunk
from napari_sam_amg.engine.unpacked import Part, UnpackedMasks

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam_amg.engine.decoder import Decoded
    from napari_sam_amg.engine.grid import Crop
    from napari_sam_amg.engine.upsampling import Box, Upsampler
    from napari_sam_amg.masks import MaskStore
    from napari_sam_amg.parameters import AmgParameters


@dataclass(frozen=True)
class Cut:
    """What to drop before NMS: thresholds as sam2 applies them, 0 for none."""

    pred_iou: float
    stability: float


class Scorer:
    """Scores the masks of the chunks of one crop.

    Parameters
    ----------
    upsampler : Upsampler
        To the crop's size.
    shape : tuple of int
        Height and width of the image.
    crop, crop_index : Crop, int
        Where the chunks belong.
    parameters : AmgParameters
        ``mask_threshold`` and ``stability_score_offset`` count.
    cut : Cut
        Masks that fail it are dropped, and so are masks without a pixel.
    """

    def __init__(
        self,
        upsampler: Upsampler,
        *,
        shape: tuple[int, int],
        crop: Crop,
        crop_index: int,
        parameters: AmgParameters,
        cut: Cut,
    ) -> None:
        self._upsampler = upsampler
        quick = upsampler.device.type == "cpu" and not upsampler.small
        self._cells = CellsOnCpu(upsampler) if quick else Cells(upsampler)
        self._shape, self._crop, self._crop_index = shape, crop, crop_index
        self._threshold = parameters.mask_threshold
        offset = parameters.stability_score_offset
        self._cutoffs = (self._threshold - offset, self._threshold, self._threshold + offset)
        self._cut = cut

    def candidates(self, decoded: Decoded, points: npt.NDArray[np.float32]) -> Chunk:
        """Score the masks of one chunk, without those that are cut.

        On CUDA it does not wait for the figures: the chunk does when it is looked at.

        Parameters
        ----------
        decoded : Decoded
            The model's answer to n prompts.
        points : ndarray, float32, nx2
            The prompts, (x, y) in crop pixels.

        Returns
        -------
        Chunk
            In sam2's order: by prompt, by mask.
        """
        logits, prompt, scores = _survivors(decoded, self._cut.pred_iou)
        areas, boxes = self._cells.measure(logits, self._cutoffs)
        figures = _on_its_way(areas, boxes)
        chunk = Chunk(lambda: self._kept(logits, points[prompt], scores, figures()))
        if logits.device.type != "cuda":
            chunk.settled()
        return chunk

    def _kept(
        self,
        logits: torch.Tensor,
        points: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        figures: npt.NDArray[np.int64],
    ) -> tuple[MaskStore, list[Candidate]]:
        """Drop K masks that are cut, and copy what is needed of the others' logits."""
        origin = np.array(self._crop.box[:2])
        low, area, high = figures[:, :3].T
        boxes = figures[:, 3:] + [0, 0, 1, 1]
        kept = area > 0
        if self._cut.stability > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                stability = high.astype(np.float32) / low.astype(np.float32)
            kept &= stability >= np.float32(self._cut.stability)
        chosen = np.flatnonzero(kept)
        windows: list[Box] = [tuple(box) for box in boxes[chosen].tolist()]
        sources = [self._upsampler.source(window) for window in windows]
        if at_once.pays(logits.device):
            cut = at_once.cut_out(logits, chosen, sources)
        else:
            cut = [logits[i][at].clone() for i, at in zip(chosen, sources, strict=True)]
        parts = [
            Part(own, window, self._upsampler, self._threshold)
            for own, window in zip(cut, windows, strict=True)
        ]
        prompts = (points + origin.astype(np.float32))[chosen].tolist()
        rows = [
            Candidate(float(scores[i]), (x, y), int(high[i]), int(low[i]), self._crop_index)
            for i, (x, y) in zip(chosen.tolist(), prompts, strict=True)
        ]
        corner, end = boxes[chosen, :2], boxes[chosen, 2:]
        places = np.concatenate([corner + origin, end - corner], axis=1)
        return UnpackedMasks(self._shape, places, area[chosen], parts), rows


def _survivors(
    decoded: Decoded, floor: float
) -> tuple[torch.Tensor, npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return logits (Kxhxw), prompts and predicted IoU of the masks that pass the floor."""
    prompt = decoded.prompt.numpy()
    scores = decoded.predicted_iou.numpy()[prompt, decoded.mask.numpy()]
    if floor > 0:
        passing = scores > np.float32(floor)
        if not passing.all():
            chosen = sent(torch.from_numpy(np.flatnonzero(passing)), decoded.logits.device)
            return decoded.logits[chosen], prompt[passing], scores[passing]
    return decoded.logits, prompt, scores


def _on_its_way(*columns: Any) -> Callable[[], npt.NDArray[np.int64]]:
    """Begin to bring columns to the host; what is returned waits for them."""
    if not isinstance(columns[0], torch.Tensor) or columns[0].device.type != "cuda":
        here = np.concatenate(
            [
                np.asarray(part.cpu() if isinstance(part, torch.Tensor) else part)
                for part in columns
            ],
            axis=1,
        )
        return lambda: here
    wait = arriving(torch.cat(columns, dim=1))
    return lambda: wait().numpy()
