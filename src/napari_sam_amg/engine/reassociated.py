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

Where that takes many multiplications less, keys are not formed at all:
`napari_sam_amg.engine.low_rank`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from napari_sam_amg.engine.cross_attention import ImageToTokens, TokensToImage
from napari_sam_amg.engine.low_rank import WORTH, Form, LowRankKeys, multiplications
from napari_sam_amg.engine.low_rank_attention import LowRankImageToTokens, LowRankTokensToImage

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import TwoWayTransformer


Keys = torch.Tensor | LowRankKeys


def low_rank_is_faster(transformer: TwoWayTransformer, tokens: int) -> bool:
    """Whether it is faster on a CPU, in float32, not to form the keys."""
    formed, not_formed = (
        multiplications(transformer, tokens, low_rank=low_rank) for low_rank in (False, True)
    )
    return not_formed <= WORTH * formed


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
    low_rank : bool
        Never form the keys; one prompt at a time, in float32.

    Attributes
    ----------
    form : Form or None
        What keys that are not formed share.
    """

    def __init__(
        self,
        transformer: TwoWayTransformer,
        image: torch.Tensor,
        pe: torch.Tensor,
        *,
        dtype: torch.dtype,
        at_once: int,
        low_rank: bool = False,
    ) -> None:
        self._transformer = transformer
        self._at_once = at_once
        self._image = image.to(dtype)
        self.form = Form(image, image.new_zeros(image.shape[1])) if low_rank else None
        shared: torch.Tensor | None = image
        self._layers: list[Any] = []
        for layer in transformer.layers:
            look: Any = TokensToImage(
                layer.cross_attn_token_to_image, pe, dtype=dtype, image=shared
            )
            tell: Any
            if self.form is None:
                tell = ImageToTokens(layer, pe, dtype=dtype, image=shared)
            else:
                if shared is None:
                    look = LowRankTokensToImage(layer.cross_attn_token_to_image, pe, self.form)
                tell = LowRankImageToTokens(layer, pe, self.form)
                self.form = tell.form
            self._layers.append((layer, look, tell))
            shared = None
        final = transformer.final_attn_token_to_image
        self._final: Any
        if self.form is None:
            self._final = TokensToImage(final, pe, dtype=dtype)
        else:
            self._final = LowRankTokensToImage(final, pe, self.form)

    def room(self, count: int, tokens: int) -> Keys:
        """Return room for the keys of `count` prompts of `tokens` each; it may be used again."""
        if self.form is None:
            return torch.empty_like(self._image).expand(count, -1, -1).contiguous()
        heads = self._transformer.final_attn_token_to_image.num_heads
        return LowRankKeys.room(count, len(self._layers) * heads * tokens, self._image)

    def __call__(self, tokens: torch.Tensor, room: Keys) -> torch.Tensor:
        """Return the tokens that sam2's transformer returns.

        Parameters
        ----------
        tokens : Tensor, float32, GxTxC
            Of G prompts.
        room : Tensor, GxNxC, or LowRankKeys
            A new slice of `room`; gets the keys.

        Returns
        -------
        Tensor, float32, GxTxC
        """
        queries = tokens
        keys: Any = room
        if self.form is None:
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
