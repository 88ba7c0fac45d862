"""From point prompts and features to low-resolution mask logits and predicted IoU."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from napari_sam_amg.engine.side_by_side import answers
from napari_sam_amg.errors import DeviceError
from napari_sam_amg.models.memory import is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from sam2.modeling.sam2_base import SAM2Base

    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.parameters import AmgParameters

log = logging.getLogger(__name__)

# On a CPU a matrix product can round differently with its number of rows. Prompts go
# through in groups of one fixed size, the last one filled up, so that a result does not
# depend on points_per_batch; small groups also keep temporaries in the caches.
_CPU_GROUP = 16


@dataclass(frozen=True)
class Decoded:
    """What the model says to n prompts.

    Attributes
    ----------
    logits : Tensor, float32, nxMxhxw
        Low-resolution mask logits; M is 3 or 1.
    predicted_iou : Tensor, float32, nxM
    """

    logits: torch.Tensor
    predicted_iou: torch.Tensor


class Decoder:
    """Decodes chunks of prompts on the features of one crop.

    Parameters
    ----------
    model : SAM2Base
    features : Features
        Of the crop.
    parameters : AmgParameters
        ``points_per_batch``, ``multimask_output`` and ``use_m2m`` count.
    fast : bool
        Matrix products in bfloat16.
    """

    def __init__(
        self,
        model: SAM2Base,
        features: Features,
        parameters: AmgParameters,
        *,
        fast: bool = False,
    ) -> None:
        self._model = model
        self._fast = fast
        self._parallel = True
        self._features = features
        self._parameters = parameters
        on_cpu = features.embedding.device.type == "cpu"
        self._group = _CPU_GROUP if on_cpu else parameters.points_per_batch

    def decode(self, points: npt.NDArray[np.float32]) -> Decoded:
        """Decode prompts at `points`, float32 nx2, (x, y) in crop pixels."""
        coordinates = self._coordinates(points)
        first = self._in_groups(
            coordinates, None, multimask_output=self._parameters.multimask_output
        )
        if not self._parameters.use_m2m:
            return first
        count, masks = first.predicted_iou.shape
        hints = first.logits.clamp(-32.0, 32.0).flatten(0, 1)[:, None]
        refined = self._in_groups(
            coordinates.repeat_interleave(masks, dim=0), hints, multimask_output=False
        )
        return Decoded(
            refined.logits.reshape(count, masks, *refined.logits.shape[-2:]),
            refined.predicted_iou.reshape(count, masks),
        )

    def _coordinates(self, points: npt.NDArray[np.float32]) -> torch.Tensor:
        height, width = self._features.frame
        coordinates = torch.tensor(points, device=self._features.embedding.device)
        coordinates[:, 0] = coordinates[:, 0] / width
        coordinates[:, 1] = coordinates[:, 1] / height
        scaled: torch.Tensor = coordinates * self._model.image_size
        return scaled

    def _in_groups(
        self, coordinates: torch.Tensor, hints: torch.Tensor | None, *, multimask_output: bool
    ) -> Decoded:
        def decode(start: int) -> tuple[torch.Tensor, torch.Tensor]:
            group = slice(start, start + self._group)
            return self._decode_group(
                coordinates[group], None if hints is None else hints[group], multimask_output
            )

        done: list[tuple[torch.Tensor, torch.Tensor]] = []
        start = 0
        while start < len(coordinates):
            starts = range(start, len(coordinates), self._group)
            try:
                for decoded in answers(
                    decode,
                    starts,
                    coordinates.device,
                    fast=self._fast,
                    parallel=self._parallel,
                ):
                    done.append(decoded)
                    start += self._group
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)
        return Decoded(torch.cat([d[0] for d in done]), torch.cat([d[1] for d in done]))

    def _halve(self, error: BaseException) -> None:
        """Take less memory: first one group at a time, then smaller ones."""
        on_cpu = self._features.embedding.device.type == "cpu"
        if on_cpu and self._parallel:
            self._parallel = False
            log.warning("out of memory: going on with one group of prompts at a time")
            return
        if self._group == 1:
            raise DeviceError(
                f"{self._features.embedding.device} has too little memory for a single point "
                f"prompt ({error}); close other programs, use a smaller model or the CPU"
            ) from error
        self._group //= 2
        log.warning("out of memory: going on with %d prompts at a time", self._group)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _decode_group(
        self, coordinates: torch.Tensor, hints: torch.Tensor | None, multimask_output: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(coordinates)
        if count < self._group:
            filling = torch.arange(self._group, device=coordinates.device).clamp(max=count - 1)
            coordinates = coordinates[filling]
            hints = None if hints is None else hints[filling]
        model, features = self._model, self._features
        labels = torch.ones(len(coordinates), 1, dtype=torch.int, device=coordinates.device)
        sparse, dense = model.sam_prompt_encoder(
            points=(coordinates[:, None], labels), boxes=None, masks=hints
        )
        logits, predicted_iou, _, _ = model.sam_mask_decoder(
            image_embeddings=features.embedding,
            image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask_output,
            repeat_image=len(coordinates) > 1,
            high_res_features=features.high_res,
        )
        return logits[:count].float(), predicted_iou[:count].float()
