"""Attention between a prompt's tokens and keys that are never formed.

The derivation is that of `napari_sam_amg.engine.low_rank`. Each prompt is worked on alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from napari_sam_amg.engine.cross_attention import (
    asked,
    by_each_head,
    by_head,
    looked_at,
    out_by_head,
    rows_by_head,
    split,
)
from napari_sam_amg.engine.low_rank import Form

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import Attention, TwoWayAttentionBlock

    from napari_sam_amg.engine.low_rank import LowRankKeys


class LowRankTokensToImage:
    """Tokens that look at the image: an attention's answer to them.

    Parameters
    ----------
    attention : Attention
        sam2's.
    pe : Tensor, float32, NxC
        Encodings of the positions.
    form : Form
        Of the keys.
    """

    def __init__(self, attention: Attention, pe: torch.Tensor, form: Form) -> None:
        self._attention = attention
        self._towards = _Towards(attention.k_proj.weight, attention, form.image, pe)
        self._values = by_head(F.linear(form.image, attention.v_proj.weight), attention)
        self._values = self._values.contiguous()
        self._shift = form.shift

    def of_each(self, queries: torch.Tensor, keys: LowRankKeys) -> torch.Tensor:
        """Return the answer (GxTxC) to queries (GxTxC), each about its own keys."""
        attention = self._attention
        q = asked(queries, attention)
        rank = len(keys.said) * q.shape[1] * q.shape[2]
        weights = keys.weights[:, :rank]
        to_rows = self._towards.rows(q, weights)
        seen, own = [], []
        for i in range(len(keys)):
            rows = keys.rows[i, :rank]
            shares = self._towards(q[i], to_rows[i], keys.share[i], rows).softmax(-1)
            seen.append(shares.flatten(0, 1) @ rows.T)
            own.append(torch.bmm(shares.mul_(keys.share[i]), self._values))
        heads = torch.bmm(torch.stack(seen), weights) + self._shift  # G, M, C
        heads = torch.unflatten(heads, 1, q.shape[1:3])
        v = rows_by_head(attention.v_proj.weight, attention)
        values = (by_each_head(heads, v.mT) + torch.stack(own)).transpose(1, 2).flatten(2)
        answer: torch.Tensor = attention.out_proj(values + attention.v_proj.bias)
        return answer


class LowRankImageToTokens:
    """The image that looks at tokens: what each prompt's keys are after it.

    Parameters
    ----------
    layer : TwoWayAttentionBlock
        sam2's.
    pe : Tensor, float32, NxC
        Encodings of the positions.
    form : Form
        Of the keys.

    Attributes
    ----------
    form : Form
        Of the keys that it leaves.
    """

    def __init__(self, layer: TwoWayAttentionBlock, pe: torch.Tensor, form: Form) -> None:
        self._attention = attention = layer.cross_attn_image_to_token
        self._eps = layer.norm4.eps
        self._gamma = layer.norm4.weight
        weight, bias = attention.q_proj.weight, attention.q_proj.bias
        asking = pe + form.shift
        self._towards = _Towards(weight, attention, form.image, asking, bias, alone=not form.bases)
        out = out_by_head(attention)
        constant = (attention.out_proj.bias + form.shift) / attention.num_heads
        basis = torch.cat([out, constant.expand(len(out), 1, -1)], dim=1)
        self._bases = [_centred(b) for b in (*form.bases, basis)]
        image = _centred(form.image)
        self._squares = image.square().sum(-1)
        self._products = [(b @ image.T).contiguous() for b in self._bases]  # H, d + 1, N
        self.form = Form(
            image * self._gamma, layer.norm4.bias, tuple(b * self._gamma for b in self._bases)
        )

    def __call__(self, tokens: torch.Tensor, values: torch.Tensor, keys: LowRankKeys) -> None:
        """Put each prompt's new keys in place of its `keys`.

        Parameters
        ----------
        tokens, values : Tensor, float32, GxTxC
            With and without the prompt's own encoding.
        keys : LowRankKeys
        """
        attention = self._attention
        k = looked_at(tokens, attention)
        v = split(attention.v_proj(values), attention)
        keys.said.append(F.pad(v, (0, 1), value=1.0))
        pairs = zip(keys.said, self._bases, strict=True)
        weights = torch.cat([by_each_head(v, b).flatten(1, 2) for v, b in pairs], dim=1)
        m = weights.shape[1] // len(self._bases)
        before = weights.shape[1] - m
        to_rows = self._towards.rows(k, keys.weights[:, :before])
        gram = torch.bmm(weights, weights.mT)
        for i in range(len(keys)):
            share, rows = keys.share[i], keys.rows[i, : before + m]
            if not before:
                share.fill_(1.0)
                keys.least[i] = 1.0
            scores = self._towards(k[i], to_rows[i], share, rows[:before])
            torch.softmax(scores, 1, out=torch.unflatten(rows[before:], 0, scores.shape[:2]))
            norm, left = self._norm([v[i] for v in keys.said], gram[i], share, rows)
            keys.least[i] = torch.minimum(keys.least[i], left)
            rows.mul_(norm)
            share.mul_(norm)
        keys.weights[:, : before + m] = weights * self._gamma

    def _norm(
        self,
        said: list[torch.Tensor],
        gram: torch.Tensor,
        share: torch.Tensor,
        rows: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return 1 / sqrt(variance + eps) at each position (N), and its `LowRankKeys.least`."""
        m = len(rows) // len(said)
        variance = self._squares * share.square()
        # What a head says is at most as long as if its tokens said the same.
        lengths = gram.diagonal().sqrt().view(-1, 1, said[0].shape[1])
        heads = torch.bmm(lengths, rows.view(len(lengths), -1, rows.shape[1]))
        squares = variance + heads.square_().sum((0, 1))
        for number, (v, products) in enumerate(zip(said, self._products, strict=True)):
            own = slice(number * m, (number + 1) * m)
            # Twice what it has in common with the image and with later rows, and its own once.
            found = torch.bmm(v, products).flatten(0, 1).mul_(2 * share)
            later = 2 * gram[own, own.start :]
            later[:, :m] /= 2
            found.addmm_(later, rows[own.start :])
            variance += found.mul_(rows[own]).sum(0)
        variance.clamp_(min=0)
        left = (variance / squares.clamp_(min=torch.finfo(squares.dtype).tiny)).amin()
        return torch.rsqrt(variance / self._gamma.shape[0] + self._eps), left


class _Towards:
    """Scores between tokens and keys.

    Parameters
    ----------
    weight : Tensor, DxC
        Of the keys' projection.
    attention : Attention
    image : Tensor, NxC
        Z.
    beside : Tensor, NxC
        What is added to the keys.
    bias : Tensor, D, optional
        Of the projection.
    alone : bool
        Whether the keys are nothing but Z.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        attention: Attention,
        image: torch.Tensor,
        beside: torch.Tensor,
        bias: torch.Tensor | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._weight = rows_by_head(weight, attention)
        self._image: torch.Tensor | None = None
        if alone:
            beside = beside + image
        else:
            self._image = by_head(F.linear(image, weight), attention).mT.contiguous()
        self._beside = by_head(F.linear(beside, weight, bias), attention).mT.contiguous()

    def rows(self, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return what tokens (GxHxTxd) have to do with rows (GxKxC): GxMxK."""
        return torch.bmm(by_each_head(tokens, self._weight).flatten(1, 2), weights.mT)

    def __call__(
        self,
        tokens: torch.Tensor,
        to_rows: torch.Tensor,
        share: torch.Tensor,
        rows: torch.Tensor,
    ) -> torch.Tensor:
        """Return scores (HxTxN) of one prompt's tokens (HxTxd)."""
        if self._image is None:
            return torch.bmm(tokens, self._beside)
        found = torch.bmm(tokens, self._image).mul_(share)
        found.baddbmm_(tokens, self._beside)
        found.flatten(0, 1).addmm_(to_rows, rows)
        return found


def _centred(values: torch.Tensor) -> torch.Tensor:
    return values - values.mean(-1, keepdim=True)
