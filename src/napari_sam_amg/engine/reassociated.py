r"""sam2's two-way transformer for many prompts on one image, with its products re-ordered.

The transformer lets the few tokens of a prompt (T, 8 with the usual point prompt) and the many
positions of the image (N, 4096 at 1024 pixels) look at each other, in H heads of width d = D / H,
with features of width C. sam2 treats each prompt as an image of its own: most of its work is to
project all N positions of each prompt, 7 times N x C x D multiplications in two layers, and as
many for what the tokens tell the image. The weights are the same here, and so are the sums; the
order in which they are taken is not.

**Shared.** A point prompt adds the same to every position (the embedding for "no mask"), so the
first layer's keys X are those of all prompts. Their projections are computed once an image:
K = (X + E) Wk' + bk and V = X Wv' + bv (tokens to image), Q = (X + E) Wq' + bq (image to
tokens); E are the positions' encodings.

**Positions.** (Y + E) W' = Y W' + E W': E W' is computed once an image for each attention, and
keys plus positions are never formed.

**Tokens to image.** Per head, with q (T x d) and keys Y (N x C):
softmax(q (Y Wk' + E Wk' + bk)' ) (Y Wv' + bv) = P Y Wv' + bv with
P = softmax((q Wk) Y' + q (E Wk')'). Multiplied from the tokens' side, all heads at once are
two products of M = H T rows, N and C. bk adds the same to a token's scores at all positions, so
it cancels in the softmax over positions; rows of P sum to 1, so bv passes.

**Image to tokens.** Per head, with k and v (T x d): scores (Y Wq' + E Wq' + bq) k' =
Y (k Wq)' + (E Wq' + bq) k'. bq stays: k differs from token to token, over which the softmax
goes. The answer, P v Wo' + bo summed over heads, is P U with U = v_h Wo_h' + bo / H, M x C: each
position's P sums to 1 in each head.

**What it costs.** For one attention in multiplications per position: 2 M C + T D from the tokens'
side, 2 C D + 2 T D sam2's way. The cheaper one is taken: with sam2's widths (C 256, D 128, M 64)
and `nuclei-nano`'s (128, 64, 64) the former. In all, with sam2's widths, 0.52 instead of 1.41
billion multiplications a prompt.

Scores are scaled by 1 / sqrt(d) on the tokens' side. Tokens, their LayerNorms and all that is
computed from them alone stay in float32; what has N rows is of the type asked for, with
LayerNorm's and the softmax's sums in float32 on every device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import (
        Attention,
        TwoWayAttentionBlock,
        TwoWayTransformer,
    )


_BLOCK = 1024
"""Positions that a CPU works on at once, so that its caches hold what is between the products."""

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
            self._k = weight.unflatten(0, (attention.num_heads, -1))
            self._positions = _by_head(F.linear(pe, weight), attention).mT.to(dtype).contiguous()
        else:
            self._keys = _by_head(F.linear(image + pe, weight), attention).to(dtype)[None]
            self._values = _by_head(F.linear(image, attention.v_proj.weight), attention)[None]
            self._values = self._values.to(dtype)

    def of_shared(self, queries: torch.Tensor) -> torch.Tensor:
        """Return the answer (GxTxC) to queries (GxTxC) about the shared keys."""
        attention = self._attention
        q = _queries(queries, attention).transpose(0, 1)  # H, G, T, d
        rows = q.flatten(1, 2)[None].to(self._dtype)
        found = F.scaled_dot_product_attention(rows, self._keys, self._values, scale=1.0)
        found = found[0].float().unflatten(1, q.shape[1:3]).permute(1, 2, 0, 3).flatten(2)
        answer: torch.Tensor = attention.out_proj(found + attention.v_proj.bias)
        return answer

    def of_each(self, queries: torch.Tensor, keys: list[torch.Tensor]) -> torch.Tensor:
        """Return the answer (GxTxC) to queries (GxTxC), each about its own keys (NxC)."""
        attention = self._attention
        tokens = queries.shape[1]
        if not from_tokens_is_cheaper(attention, tokens):
            return torch.cat(
                [attention(queries[at], y.float() + self._pe, y.float()) for at, y in _parts(keys)]
            )
        q = _queries(queries, attention)
        towards = (q @ self._k).flatten(1, 2).to(self._dtype)  # G, M, C
        q = q.to(self._dtype)
        seen = []
        for at, y in keys:
            scores = (q[at] @ self._positions).flatten(1, 2)
            scores = torch.baddbmm(scores, towards[at], y.mT)
            seen.append(torch.bmm(scores.softmax(-1), y).float())
        heads = torch.cat(seen).unflatten(1, (-1, tokens))  # G, H, T, C
        v = attention.v_proj.weight.unflatten(0, (attention.num_heads, -1))
        values = (heads @ v.mT).transpose(1, 2).flatten(2) + attention.v_proj.bias
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
        self._norm_weights = [w.to(dtype) for w in (layer.norm4.weight, layer.norm4.bias)]
        self._dtype = dtype
        self._pe = pe
        self._image = None if image is None else image.to(dtype)[None]
        weight, bias = attention.q_proj.weight, attention.q_proj.bias
        self._scale = (attention.internal_dim // attention.num_heads) ** -0.5
        self._q = weight.unflatten(0, (attention.num_heads, -1))
        asking = pe if image is None else image + pe
        self._asking = _by_head(F.linear(asking, weight, bias), attention).mT
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
        k = self._split(F.linear(tokens, attention.k_proj.weight)) * self._scale  # bias cancels
        towards = (k @ self._q).flatten(1, 2).to(self._dtype)
        v = self._split(attention.v_proj(values))
        out = attention.out_proj.weight.unflatten(1, (attention.num_heads, -1)).permute(1, 2, 0)
        told = (v @ out + attention.out_proj.bias / attention.num_heads).flatten(1, 2)
        k, told = k.to(self._dtype), told.to(self._dtype)
        for at, y in keys:
            step = _BLOCK if y.device.type == "cpu" else y.shape[1]
            for start in range(0, y.shape[1], step):
                block = slice(start, start + step)
                scores = k[at] @ self._asking[..., block]  # b, H, T, n
                old = y[:, block]
                if self._image is None:
                    scores = torch.baddbmm(scores.flatten(1, 2), towards[at], old.mT)
                    scores = scores.unflatten(1, (-1, count))
                else:
                    old = self._image[:, block]
                shares = scores.softmax(2).flatten(1, 2)
                summed = torch.baddbmm(old, shares.mT, told[at])
                width = (summed.shape[-1],)
                y[:, block] = F.layer_norm(summed, width, *self._norm_weights, self._norm.eps)

    def _split(self, tokens: torch.Tensor) -> torch.Tensor:
        """GxTxD to GxHxTxd."""
        return tokens.unflatten(-1, (self._attention.num_heads, -1)).transpose(1, 2)


class Transformer:
    """The two-way transformer on one image.

    Parameters
    ----------
    transformer : TwoWayTransformer
        sam2's; its weights are used as they are.
    image : Tensor, float32, NxC
        Features of the image, with what point prompts add to every position.
    pe : Tensor, float32, NxC
        Encodings of the positions.
    dtype : torch.dtype
        Of what has a row for each position: float32, or bfloat16 where that is faster.
    at_once : int
        Prompts whose image is worked on at once. On a CPU one, which the caches hold.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        image: torch.Tensor,
        pe: torch.Tensor,
        *,
        dtype: torch.dtype,
        at_once: int,
    ) -> None:
        self._transformer = transformer
        self._at_once = at_once
        self._image = image.to(dtype)
        shared: torch.Tensor | None = image
        self._layers = []
        for layer in transformer.layers:
            look = TokensToImage(layer.cross_attn_token_to_image, pe, dtype=dtype, image=shared)
            tell = ImageToTokens(layer, pe, dtype=dtype, image=shared)
            self._layers.append((layer, look, tell))
            shared = None
        self._final = TokensToImage(transformer.final_attn_token_to_image, pe, dtype=dtype)

    def room(self, count: int) -> torch.Tensor:
        """Return room for the keys of `count` prompts, which may be used again."""
        return torch.empty_like(self._image).expand(count, -1, -1).contiguous()

    def __call__(self, tokens: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
        """Return the tokens that sam2's transformer returns.

        Parameters
        ----------
        tokens : Tensor, float32, GxTxC
            Of G prompts.
        room : Tensor, GxNxC
            Gets the keys.

        Returns
        -------
        Tensor, float32, GxTxC
        """
        queries = tokens
        starts = range(0, len(tokens), self._at_once)
        slices = [slice(start, start + self._at_once) for start in starts]
        keys = [(at, room[at]) for at in slices]
        for layer, look, tell in self._layers:
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(q=queries, k=queries, v=queries)
            else:
                q = queries + tokens
                queries = queries + layer.self_attn(q=q, k=q, v=queries)
            queries = layer.norm1(queries)
            if layer.skip_first_layer_pe:
                queries = queries + look.of_shared(queries + tokens)
            else:
                queries = queries + look.of_each(queries + tokens, keys)
            queries = layer.norm2(queries)
            queries = layer.norm3(queries + layer.mlp(queries))
            tell(queries + tokens, queries, keys)
        queries = queries + self._final.of_each(queries + tokens, keys)
        found: torch.Tensor = self._transformer.norm_final_attn(queries)
        return found


def _by_head(projected: torch.Tensor, attention: Attention) -> torch.Tensor:
    """NxD to HxNxd."""
    return projected.unflatten(-1, (attention.num_heads, -1)).transpose(0, 1)


def _queries(queries: torch.Tensor, attention: Attention) -> torch.Tensor:
    """Project and scale: GxTxC to GxHxTxd."""
    scale = (attention.internal_dim // attention.num_heads) ** -0.5
    q: torch.Tensor = attention.q_proj(queries) * scale
    return q.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
