"""Prompts through sam2's own modules, for models that do not fit, and from mask to mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from napari_sam_amg.engine.arriving import sent
from napari_sam_amg.engine.decoded import Decoded

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from napari_sam_amg.engine.encoder import Features


def decode_by_sam2(
    model: SAM2Base,
    features: Features,
    coordinates: torch.Tensor,
    hints: torch.Tensor | None,
    count: int,
    *,
    floor: float,
    multimask_output: bool,
) -> Decoded:
    """Decode a group of prompts.

    Parameters
    ----------
    model : SAM2Base
    features : Features
    coordinates : Tensor, float32, Gx2
        (x, y) in pixels of the model's square.
    hints : Tensor, Gx1xhxw, optional
        Logits that each prompt starts from.
    count : int
        The first of them to answer; the rest only fill the group up.
    floor : float
        Masks with a predicted IoU of at most this are left out, if it is above 0.
    multimask_output : bool
        As for sam2.
    """
    labels = torch.ones(len(coordinates), 1, dtype=torch.int, device=coordinates.device)
    sparse, dense = model.sam_prompt_encoder(
        points=(coordinates[:, None], labels), boxes=None, masks=hints
    )
    logits, scores, _, _ = model.sam_mask_decoder(
        image_embeddings=features.embedding,
        image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask_output,
        repeat_image=len(coordinates) > 1,
        high_res_features=features.high_res,
    )
    scores = scores[:count].float().cpu()
    passing = scores > floor if floor > 0 else torch.ones_like(scores, dtype=torch.bool)
    prompt, mask = passing.nonzero(as_tuple=True)
    kept = sent(prompt * scores.shape[1] + mask, logits.device)
    return Decoded(logits.flatten(0, 1)[kept].float(), prompt, mask, scores)
