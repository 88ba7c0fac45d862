"""Attention between a prompt's tokens and the image, multiplied from the tokens' side.

The derivation is that of `napari_sam_amg.engine.reassociated`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock

_BLOCK = 2 << 20
"""Bytes of one prompt's keys to work on at once: caches hold what is between the products."""

Parts = list[tuple[slice, torch.Tensor]]
"""Keys (bxNxC), each with the prompts that they are of."""


def from_tokens_is_cheaper(attention: Attention, tokens: int) -> bool:
    """Whether multiplying from the tokens' side takes fewer multiplications."""
    width, inner = attention.embedding_dim, attention.internal_dim
    rows = attention.num_heads * tokens
    return bool(2 * rows * width + tokens * inner <= 2 * width * inner + 2 * tokens * inner)


class TokensToImage:
    """Tokens that look at the image: an attention's answer to them.

    Parameters
    ----------
    attention : Attention
        sam2's.
    pe : Tensor, float32, NxC
        Encodings of the positions.
    image : Tensor, float32, NxC, optional
        Keys that all prompts have in common, for the first layer.
    dtype : torch.dtype
        Of what has a row for each position.
    """

    def __init__(
        self,
        attention: Attention,
        pe: torch.Tensor,
        *,
        dtype: torch.dtype,
        image: torch.Tensor | None = None,
    ) -> None:
        self._attention = attention
        self._dtype = dtype
        self._pe = pe
        weight = attention.k_proj.weight
        if image is None:
            self._k = rows_by_head(weight, attention)
            self._positions = by_head(F.linear(pe, weight), attention).mT.to(dtype).contiguous()
        else:
            self._keys = by_head(F.linear(image + pe, weight), attention).to(dtype)[None]
            self._values = by_head(F.linear(image, attention.v_proj.weight), attention)[None]
            self._values = self._values.to(dtype)

    def of_shared(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the answer (GxTxC) to queries (GxTxC) about the shared keys."""
        attention = self._attention
        q = asked(queries, attention).transpose(0, 1)  # H, G, T, d
        rows = q.flatten(1, 2)[None].to(self._dtype)
        found = F.scaled_dot_product_attention(rows, self._keys, self._values, scale=1.0)
        found = torch.unflatten(found[0].float(), 1, q.shape[1:3]).permute(1, 2, 0, 3).flatten(2)
        answer: torch.Tensor = attention.out_proj(found + attention.v_proj.bias)
        return answer

    def of_each(self, queries: torch.Tensor, keys: Parts) -> torch.Tensor:
        """Return the answer (GxTxC) to queries (GxTxC), each about its own keys."""
        attention = self._attention
        tokens = queries.shape[1]
        if not from_tokens_is_cheaper(attention, tokens):
            pairs = [(queries[at], y.float()) for at, y in keys]
            return torch.cat([attention(q, y + self._pe, y) for q, y in pairs])
        q = asked(queries, attention)
        towards = by_each_head(q, self._k).flatten(1, 2).to(self._dtype)  # G, M, C
        q = q.to(self._dtype)
        seen = []
        for at, y in keys:
            scores = by_each_head(q[at], self._positions).flatten(1, 2)
            scores.baddbmm_(towards[at], y.mT)
            seen.append(torch.bmm(scores.softmax(-1), y).float())
        heads = torch.unflatten(torch.cat(seen), 1, (-1, tokens))  # G, H, T, C
        v = rows_by_head(attention.v_proj.weight, attention)
        values = by_each_head(heads, v.mT).transpose(1, 2).flatten(2) + attention.v_proj.bias
        answer: torch.Tensor = attention.out_proj(values)
        return answer


class ImageToTokens:
    """The image that looks at tokens: new keys for each prompt.

    Parameters
    ----------
    layer : TwoWayAttentionBlock
        sam2's.
    pe, image, dtype
        As for `TokensToImage`.
    """

    def __init__(
        self,
        layer: TwoWayAttentionBlock,
        pe: torch.Tensor,
        *,
        dtype: torch.dtype,
        image: torch.Tensor | None = None,
    ) -> None:
        self._attention = attention = layer.cross_attn_image_to_token
        self._norm = layer.norm4
        self._norm_weights = (layer.norm4.weight.to(dtype), layer.norm4.bias.to(dtype))
        self._dtype = dtype
        self._pe = pe
        self._image = None if image is None else image.to(dtype)[None]
        weight, bias = attention.q_proj.weight, attention.q_proj.bias
        self._q = rows_by_head(weight, attention)
        asking = pe if image is None else image + pe
        self._asking = by_head(F.linear(asking, weight, bias), attention).mT
        self._asking = self._asking.to(dtype).contiguous()

    def __call__(self, tokens: torch.Tensor, values: torch.Tensor, keys: Parts) -> None:
        """Put each prompt's new keys in place of its `keys`.

        Parameters
        ----------
        tokens, values : Tensor, float32, GxTxC
            With and without the prompt's own encoding.
        keys : list
            What is in them does not count if there are keys that all have in common.
        """
        attention = self._attention
        count = tokens.shape[1]
        if self._image is None and not from_tokens_is_cheaper(attention, count):
            for at, y in keys:
                told = attention(q=y.float() + self._pe, k=tokens[at], v=values[at])
                y.copy_(self._norm(y.float() + told))
            return
        k = looked_at(tokens, attention)
        towards = by_each_head(k, self._q).flatten(1, 2).to(self._dtype)
        v = split(attention.v_proj(values), attention)
        out = out_by_head(attention)
        told = (by_each_head(v, out) + attention.out_proj.bias / attention.num_heads).flatten(1, 2)
        k, told = k.to(self._dtype), told.to(self._dtype)
        width = (attention.embedding_dim,)
        weight, bias = self._norm_weights
        for at, y in keys:
            for block, old in _blocks(y):
                scores = by_each_head(k[at], self._asking[..., block])  # b, H, T, n
                if self._image is None:
                    scores = scores.flatten(1, 2).baddbmm_(towards[at], old.mT)
                    scores = torch.unflatten(scores, 1, (-1, count))
                shares = scores.softmax(2).flatten(1, 2)
                before = old if self._image is None else self._image[:, block]
                after = torch.baddbmm(before, shares.mT, told[at])
                old.copy_(F.layer_norm(after, width, weight, bias, self._norm.eps))


def by_head(projected: torch.Tensor, attention: Attention) -> torch.Tensor:
    """NxD to HxNxd."""
    return torch.unflatten(projected, -1, (attention.num_heads, -1)).transpose(0, 1)


def split(tokens: torch.Tensor, attention: Attention) -> torch.Tensor:
    """GxTxD to GxHxTxd."""
    return torch.unflatten(tokens, -1, (attention.num_heads, -1)).transpose(1, 2)


def asked(queries: torch.Tensor, attention: Attention) -> torch.Tensor:
    """Project queries (GxTxC) and scale them for scores: GxHxTxd."""
    return _scaled(split(attention.q_proj(queries), attention), attention)


def looked_at(tokens: torch.Tensor, attention: Attention) -> torch.Tensor:
    """Project tokens (GxTxC) that are keys and scale them for scores: GxHxTxd.

    Without the bias, which adds the same for all tokens and cancels.
    """
    return _scaled(split(F.linear(tokens, attention.k_proj.weight), attention), attention)


def _scaled(tokens: torch.Tensor, attention: Attention) -> torch.Tensor:
    scale: float = (attention.internal_dim // attention.num_heads) ** -0.5
    return tokens * scale


def rows_by_head(weight: torch.Tensor, attention: Attention) -> torch.Tensor:
    """Weights of a projection, DxC, to HxdxC."""
    return torch.unflatten(weight, 0, (attention.num_heads, -1))


def out_by_head(attention: Attention) -> torch.Tensor:
    """Weights of the output's projection, HxdxC."""
    weight = torch.unflatten(attention.out_proj.weight, 1, (attention.num_heads, -1))
    return weight.permute(1, 2, 0)


def by_each_head(rows: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
    """GxHxTxa times Hxaxb: GxHxTxb, without a copy of the matrices for each of G."""
    count, _, tokens, _ = rows.shape
    found = torch.bmm(rows.transpose(0, 1).flatten(1, 2), matrices)
    return torch.unflatten(found, 1, (count, tokens)).transpose(0, 1)


def _blocks(keys: torch.Tensor) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the positions (slice) and the keys to work on at once."""
    if len(keys) > 1:  # whoever takes several prompts at once is no CPU with its caches
        yield slice(None), keys
        return
    step = max(1, _BLOCK // (keys.shape[2] * keys.element_size()))
    for start in range(0, keys.shape[1], step):
        block = slice(start, start + step)
        yield block, keys[0, block][None]  # with the strides of an array of its own
