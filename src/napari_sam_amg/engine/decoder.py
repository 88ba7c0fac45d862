"""From point prompts and features to low-resolution mask logits and predicted IoU."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from napari_sam_amg.engine.ahead import Ahead
from napari_sam_amg.engine.arriving import sent
from napari_sam_amg.engine.by_sam2 import decode_by_sam2
from napari_sam_amg.engine.decoded import Decoded, filled, joined
from napari_sam_amg.engine.fitting import misfit
from napari_sam_amg.engine.prompts_on_image import PromptsOnImage
from napari_sam_amg.engine.side_by_side import answers
from napari_sam_amg.errors import DeviceError
from napari_sam_amg.models.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt
    from sam2.modeling.sam2_base import SAM2Base

    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.parameters import AmgParameters

__all__ = ["Decoded", "Decoder"]

log = logging.getLogger(__name__)

# On a CPU a matrix product can round differently with its number of rows. Prompts go
# through in groups of one fixed size, the last one filled up, so that a result does not
# depend on points_per_batch; small groups also keep temporaries in the caches.
_CPU_GROUP = 16
_CPU_GROUP_SHARED = 8


class Decoder:
    """Decodes chunks of prompts on the features of one crop.

    Models with exactly sam2's decoder share what prompts have in common, and upscale only what
    passes the floor (`PromptsOnImage`); others, and refinement from mask to mask, go through
    sam2's own modules.

    Parameters
    ----------
    model : SAM2Base
    features : Features
        Of the crop.
    parameters : AmgParameters
        ``points_per_batch``, ``multimask_output`` and ``use_m2m`` count.
    fast : bool
        Matrix products in bfloat16.
    floor : float
        Masks with a predicted IoU of at most this have no logits; 0 keeps all.
    look_ahead : bool
        Whether an accelerator may begin with the next prompts.

    Attributes
    ----------
    short : bool
        Whether there was too little memory for that.
    """

    def __init__(
        self,
        model: SAM2Base,
        features: Features,
        parameters: AmgParameters,
        *,
        fast: bool = False,
        floor: float = 0.0,
        look_ahead: bool = True,
    ) -> None:
        self._model = model
        self._fast = fast
        self._floor = floor
        self._parallel = True
        self._features = features
        self._parameters = parameters
        self._shares = misfit(model) is None
        self._shared: PromptsOnImage | None = None
        on_cpu = features.embedding.device.type == "cpu"
        self._most = _CPU_GROUP if on_cpu else parameters.points_per_batch
        self.short = False
        # On a CPU nothing is begun that is not done at once.
        ahead = self._shares and not on_cpu and not parameters.use_m2m
        self._ahead = Ahead(self._begin) if ahead and look_ahead else None

    def decode(
        self,
        points: npt.NDArray[np.float32],
        following: npt.NDArray[np.float32] | None = None,
    ) -> Decoded:
        """Decode prompts.

        Parameters
        ----------
        points : ndarray, float32, nx2
            (x, y) in crop pixels; at most ``points_per_batch``, on an accelerator.
        following : ndarray, float32, mx2, optional
            The prompts of the next call. An accelerator begins with them before these ones'
            scores are waited for, so that it is never without work.
        """
        if self._ahead is not None:
            try:
                with _no_autocast(self._features.embedding.device):
                    return self._ahead.answer(points, following)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                log.warning("out of memory: going on with one chunk of prompts at a time")
                self._ahead, self.short = None, True
                _let_go()
        coordinates = self._coordinates(points)
        if not self._parameters.use_m2m:
            return self._in_groups(
                coordinates, None, self._floor, multimask_output=self._parameters.multimask_output
            )
        first = self._in_groups(
            coordinates, None, 0.0, multimask_output=self._parameters.multimask_output
        )
        count, masks = first.predicted_iou.shape
        hints = first.logits.clamp(-32.0, 32.0)[:, None]
        refined = self._in_groups(
            coordinates.repeat_interleave(masks, dim=0), hints, self._floor, multimask_output=False
        )
        return Decoded(
            refined.logits,
            refined.prompt // masks,
            refined.prompt % masks,
            refined.predicted_iou.reshape(count, masks),
        )

    def _begin(self, points: npt.NDArray[np.float32]) -> Callable[[], Decoded]:
        coordinates = self._coordinates(points)
        shared = self._shared_by_prompts(self._floor)
        return shared.begin(filled(coordinates, self._most), len(coordinates))

    def _coordinates(self, points: npt.NDArray[np.float32]) -> torch.Tensor:
        height, width = self._features.frame
        coordinates = torch.tensor(points)
        coordinates[:, 0] = coordinates[:, 0] / width
        coordinates[:, 1] = coordinates[:, 1] / height
        scaled: torch.Tensor = coordinates * self._model.image_size
        return sent(scaled, self._features.embedding.device)

    def _in_groups(
        self,
        coordinates: torch.Tensor,
        hints: torch.Tensor | None,
        floor: float,
        *,
        multimask_output: bool,
    ) -> Decoded:
        device = coordinates.device
        shared = None
        if self._shares and hints is None:
            shared = self._shared_by_prompts(floor)

        def decode(start: int) -> Decoded:
            group = slice(start, start + size)
            if shared is not None:
                return self._share(shared, coordinates[group], size)
            return decode_by_sam2(
                self._model,
                self._features,
                filled(coordinates[group], size),
                None if hints is None else filled(hints[group], size),
                len(coordinates[group]),
                floor=floor,
                multimask_output=multimask_output,
            )

        done: list[Decoded] = []
        start = 0
        while start < len(coordinates):
            size = self._most
            if shared is not None and device.type == "cpu":
                size = min(size, _CPU_GROUP_SHARED)
            starts = range(start, len(coordinates), size)
            try:
                for decoded in answers(
                    decode, starts, device, fast=self._fast, parallel=self._parallel
                ):
                    done.append(decoded)
                    start += size
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(size, error)
        return joined(done)

    def _shared_by_prompts(self, floor: float) -> PromptsOnImage:
        if self._shared is None:
            with _no_autocast(self._features.embedding.device):
                self._shared = PromptsOnImage(
                    self._model,
                    self._features,
                    fast=self._fast,
                    floor=floor,
                    multimask_output=self._parameters.multimask_output,
                )
        return self._shared

    def _share(self, shared: PromptsOnImage, coordinates: torch.Tensor, size: int) -> Decoded:
        with _no_autocast(coordinates.device):
            return shared.ask(filled(coordinates, size), len(coordinates))

    def _halve(self, size: int, error: BaseException) -> None:
        """Take less memory: first one group at a time, then smaller ones."""
        on_cpu = self._features.embedding.device.type == "cpu"
        if on_cpu and self._parallel:
            self._parallel = False
            log.warning("out of memory: going on with one group of prompts at a time")
            return
        if size == 1:
            raise DeviceError(
                f"{self._features.embedding.device} has too little memory for a single point "
                f"prompt ({error}); close other programs, use a smaller model or the CPU"
            ) from error
        self._most = size // 2
        log.warning("out of memory: going on with %d prompts at a time", self._most)
        _let_go()


def _let_go() -> None:
    """Give what torch holds but does not use back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _no_autocast(device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, enabled=False)
