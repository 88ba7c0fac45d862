"""A start from which a point prompt finds its own place.

With ordinary random weights a prompt's attention is spread over the whole image, and it
takes thousands of steps before it even knows whether its point lies on an object: eight
random dimensions a head cannot tell a thousand places apart. Here some channels of the
position encoding carry sines and cosines of chosen wavelengths, and each head starts with
queries and keys that compare one fine and one coarse wavelength along x and y: its logit
is highest at the prompt's own place and falls off around it. Nothing is frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from batches import centre_phases

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

FINE = (64.0, 96.0, 128.0, 192.0)
COARSE = (320.0, 448.0, 640.0, 1024.0)
GAIN = 5.0
"""Logit falls by some GAIN^2 / sqrt(8) * 0.3 an axis over one cell of 16 px (at 128 px)."""


def _columns() -> dict[tuple[float, int], int]:
    """Column of the frequency matrix for each (wavelength in px, axis)."""
    return {
        (wavelength, axis): index
        for index, (wavelength, axis) in enumerate((w, a) for w in FINE + COARSE for a in (0, 1))
    }


def _address_channels(model: SAM2Base) -> torch.Tensor:
    half = model.hidden_dim // 2
    columns = torch.tensor(list(_columns().values()))
    return torch.cat([columns, columns + half])


@torch.no_grad()
def clear_address_channels(model: SAM2Base) -> None:
    """Keep image features out of the channels that carry positions."""
    channels = _address_channels(model)
    convs = model.image_encoder.neck.convs
    for level in (0, 1):  # strides 32 and 16: what the decoder's tokens are made of
        convs[level].conv.weight[channels] = 0
        convs[level].conv.bias[channels] = 0


@torch.no_grad()
def initialise(model: SAM2Base) -> None:
    """Set the weights that decide where a prompt looks first.

    Parameters
    ----------
    model : SAM2Base
        Freshly built; changed in place.
    """
    matrix = model.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    matrix.zero_()
    for (wavelength, axis), column in _columns().items():
        matrix[axis, column] = model.image_size / (2 * wavelength)
    clear_address_channels(model)
    channels = _address_channels(model)

    decoder, prompts = model.sam_mask_decoder, model.sam_prompt_encoder
    small = [decoder.iou_token, decoder.mask_tokens, decoder.obj_score_token]
    small += [prompts.not_a_point_embed, prompts.no_mask_embed, *prompts.point_embeddings]
    for embedding in small:
        embedding.weight.mul_(0.1)
    prompts.no_mask_embed.weight[:, channels] = 0
    model.no_mem_embed[..., channels] = 0

    transformer = decoder.transformer
    first = transformer.layers[0].self_attn
    for projection in (first.v_proj, first.out_proj):
        # Every token starts as a copy of the point's position.
        nn.init.eye_(projection.weight)
        nn.init.zeros_(projection.bias)
    looking = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        looking.append(layer.cross_attn_token_to_image)
        _answer_only_nearby(layer.cross_attn_image_to_token, model)
        layer.cross_attn_image_to_token.out_proj.weight[channels] = 0
        layer.cross_attn_image_to_token.out_proj.bias[channels] = 0
        layer.cross_attn_token_to_image.out_proj.weight[channels] *= 0.1
        layer.mlp.layers[-1].weight[channels] *= 0.1
    for attention in looking:
        _look_at_own_place(attention, model)

    nn.init.trunc_normal_(model.image_encoder.trunk.pos_embed_window, std=0.2)
    model.image_encoder.trunk.pos_embed.zero_()
    write_positions(model)


@torch.no_grad()
def write_positions(model: SAM2Base) -> None:
    """Tell the encoder where each place is: phases of `data.WAVELENGTHS`, one a channel."""
    embedding = model.image_encoder.trunk.pos_embed
    side = embedding.shape[2]
    centre = (torch.arange(side) + 0.5) * (model.image_size / side)
    x, y = torch.meshgrid(centre, centre, indexing="xy")
    planes = centre_phases(torch.stack([x, y])[None])[0]
    embedding[0, : len(planes)] = 0.5 * planes


def _compare(
    attention: nn.Module, model: SAM2Base, waves: list[list[tuple[float, int]]]
) -> torch.Tensor:
    """Projection whose head h compares the (wavelength, axis) pairs ``waves[h]``."""
    half = model.hidden_dim // 2
    columns = _columns()
    weight = 0.02 * torch.randn_like(attention.q_proj.weight)
    per_head = attention.internal_dim // attention.num_heads
    for head, pairs in enumerate(waves):
        rows = head * per_head + 2 * torch.arange(len(pairs))
        for row, pair in zip(rows.tolist(), pairs, strict=True):
            weight[row, columns[pair]] = GAIN
            weight[row + 1, columns[pair] + half] = GAIN
    return weight


def _look_at_own_place(attention: nn.Module, model: SAM2Base) -> None:
    """Token to image: the logit is highest where the token's position is."""
    waves = [
        [(FINE[h % 4], 0), (FINE[h % 4], 1), (COARSE[h // 2 % 4], 0), (COARSE[h // 2 % 4], 1)]
        for h in range(attention.num_heads)
    ]
    weight = _compare(attention, model, waves)
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.copy_(weight)
        projection.bias.zero_()


def _answer_only_nearby(attention: nn.Module, model: SAM2Base) -> None:
    """Image to token: near the point its token wins, elsewhere the other tokens do.

    The point token carries its position more strongly than the others. Three comparisons
    say how near a place is (3 at the point), and a channel that is 1 in every position
    encoding subtracts 2.2 of them, so that far places, where they happen to be positive,
    do not take the point for their own.
    """
    waves = [
        [(FINE[h % 4], 0), (FINE[h % 4], 1), (COARSE[h // 2 % 4], h % 2)]
        for h in range(attention.num_heads)
    ]
    weight = _compare(attention, model, waves)
    constant = model.hidden_dim // 2 + len(_columns())  # cosine of a zero frequency
    per_head = attention.internal_dim // attention.num_heads
    rows = torch.arange(attention.num_heads) * per_head + 6
    for projection, sign in ((attention.q_proj, -1.0), (attention.k_proj, 1.0)):
        projection.weight.copy_(weight)
        projection.weight[rows, constant] = sign * GAIN * 2.2**0.5
        projection.bias.zero_()
