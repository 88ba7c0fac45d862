"""Whether a model's mask decoder is the one that is computed in another order here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam2_base import SAM2Base


def misfit(model: SAM2Base) -> str | None:
    """Return why `model`'s prompts have to go through sam2's own modules; None if need not.

    Only exactly sam2's classes fit, as they are called: a sub-class, an adapter in place of a
    layer, a hook, a method set on a module, or a compiled module may do something else.

    Parameters
    ----------
    model : SAM2Base

    Returns
    -------
    str or None
        For the log.
    """
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import TwoWayTransformer

    decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    if type(decoder) is not MaskDecoder or type(prompts) is not PromptEncoder:
        return f"its decoder is a {type(decoder).__name__} with a {type(prompts).__name__}"
    if type(decoder.transformer) is not TwoWayTransformer:
        return f"its transformer is a {type(decoder.transformer).__name__}"
    if decoder.training or prompts.training:
        return "it is in training mode"
    known = _known()
    for part in (decoder, prompts):
        for name, module in part.named_modules():
            if name in _OF_THE_IMAGE:
                continue
            where = f"{type(part).__name__}.{name}".rstrip(".")
            if type(module) not in known:
                return f"{where} is a {type(module).__name__}"
            if _changed(module):
                return f"{where} was changed, compiled or has hooks"
    return _misfit_of_parts(decoder)


_OF_THE_IMAGE = ("conv_s0", "conv_s1")
"""Parts of the decoder that are applied to the image as it is encoded, by sam2 itself."""


def _known() -> set[type[nn.Module]]:
    from sam2.modeling.position_encoding import PositionEmbeddingRandom
    from sam2.modeling.sam.mask_decoder import MaskDecoder
    from sam2.modeling.sam.prompt_encoder import PromptEncoder
    from sam2.modeling.sam.transformer import (
        Attention,
        TwoWayAttentionBlock,
        TwoWayTransformer,
    )
    from sam2.modeling.sam2_utils import MLP, LayerNorm2d

    own = {MaskDecoder, PromptEncoder, PositionEmbeddingRandom, TwoWayTransformer}
    own |= {TwoWayAttentionBlock, Attention, MLP, LayerNorm2d}
    usual = {nn.Linear, nn.LayerNorm, nn.Embedding, nn.Conv2d, nn.ConvTranspose2d}
    return own | usual | {nn.Sequential, nn.ModuleList, nn.GELU, nn.ReLU, nn.SiLU}


def _changed(module: nn.Module) -> bool:
    """Whether calling a module may do more than its class says."""
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    own = vars(module)
    replaced = any(callable(value) and hasattr(type(module), key) for key, value in own.items())
    return any(hooks) or replaced or own.get("_compiled_call_impl") is not None


def _misfit_of_parts(decoder: MaskDecoder) -> str | None:
    from sam2.modeling.sam2_utils import LayerNorm2d

    layers = list(decoder.transformer.layers)
    if not layers or not layers[0].skip_first_layer_pe:
        return "its first layer is not that of sam2"
    if any(layer.skip_first_layer_pe for layer in layers[1:]):
        return "a later layer leaves out the positions"
    width = decoder.transformer_dim
    cross = [layer.cross_attn_token_to_image for layer in layers]
    cross += [layer.cross_attn_image_to_token for layer in layers]
    cross.append(decoder.transformer.final_attn_token_to_image)
    if any(a.embedding_dim != width or a.kv_in_dim != width for a in cross):
        return "an attention has another width"
    kinds = [type(step) for step in decoder.output_upscaling]
    if len(kinds) != 5 or kinds[:2] != [nn.ConvTranspose2d, LayerNorm2d]:
        return "its upscaling has other steps"
    if kinds[3] is not nn.ConvTranspose2d:
        return "its upscaling has other steps"
    for step in (decoder.output_upscaling[0], decoder.output_upscaling[3]):
        if (step.kernel_size, step.stride) != ((2, 2), (2, 2)):
            return "its upscaling does not double the size"
        if step.padding != (0, 0) or step.output_padding != (0, 0) or step.groups != 1:
            return "its upscaling has padding or groups"
    if any(p.dtype != torch.float32 for p in decoder.parameters()):
        return "its weights are not in float32"
    return None
