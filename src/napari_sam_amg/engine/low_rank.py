r"""The image that a prompt's tokens have changed, as what all prompts share and a few rows more.

`napari_sam_amg.engine.reassociated` works out each prompt's keys: N x C numbers after every layer,
which are read three times and upscaled once. But a layer adds to the image only what M = H T rows
say, one of each token in each head, with one weight at each position. This module keeps those, and
never forms the keys. N, C, D, d, H and T are those of that module.

**Form.** After a layer, the keys of a prompt are

    Y = a Z + R' W + 1 b

with Z (N x C) and b (C) of all prompts, and a (N), R (K x N) and W (K x C) of one, where K is M
times the number of layers so far. In the beginning a = 1, Z is the image, b = 0 and K = 0.

**A layer.** Image to tokens adds P' U: P (M x N) are the attention's weights, and
U = v_h Wo_h' + bo / H. LayerNorm first subtracts means over C, which is linear and can be taken
of Z, the rows of W, and U; that of b is put into U, for P sums to 1 in each head: b / H is added
to each of its rows. With S = [R; P], Wc the centred [W; U] and Zc the centred Z, the variance at
a position is

    (a^2 |Zc|^2 + 2 a S . (Wc Zc') + S . (G S)) / C,        G = Wc Wc'

where the dot sums over K. With r = 1 / sqrt(variance + eps), and LayerNorm's gamma and beta,

    a <- r a,    R <- r S,    W <- Wc gamma,    Z <- Zc gamma,    b <- beta.

**What is shared.** W of one layer is [v_h, 1] B_h in each head, with B_h ((d + 1) x C) from the
weights of the model alone, now and after further layers. So Wc Zc' = [v_h, 1] (B_h Zc'), whose
right side is computed once an image, as are projections of Z for whoever looks at the keys:

- scores towards them are q (Wk Z') a + (q Wk W') R + q (Wk (E + b)' + bk); b and bk are the same
  at all positions, over which tokens to image takes its softmax: only image to tokens needs them;
- what they say, with shares P over positions, is (P a) (Z Wv') + ((P R') W + b) Wv';
- a product with any matrix is of the same form, such as the first of the upscaling (`MaskHead`).

**Where it does not do.** If what is added cancels what is there, the variance is a small
difference of large numbers, and float32 has few digits of it left. `LowRankKeys.least` has the
smallest share that was left of the squares of the image and of what each head says, and prompts
below `ENOUGH` are worked out with their keys formed.

**What it costs.** `multiplications` counts both ways. With sam2's widths and two layers it takes
0.24 instead of 0.50 billion a prompt for the keys, and the upscaling's first product, of K instead
of C rows, 0.13 of 0.27 billion. There is more to do beside the products, so that it pays from some
0.7 times as many on a CPU; an accelerator would need kernels of its own. Everything is float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from sam2.modeling.sam.transformer import TwoWayTransformer

WORTH = 0.7
"""Share of multiplications that it may take, to be faster.

Hiera takes 0.49 and is faster by a third, nuclei-nano 0.87 and is slower:
``python benchmarks/decoder.py --keys formed low-rank``.
"""

ENOUGH = 0.1
"""Share of the squares that must be left: float32 then keeps all but one digit of a variance."""


@dataclass(frozen=True)
class Form:
    """What the keys of all prompts on an image share after a layer.

    Attributes
    ----------
    image : Tensor, float32, NxC
        Z.
    shift : Tensor, float32, C
        b.
    bases : tuple of Tensor, float32, Hx(d+1)xC
        B of each layer so far.
    """

    image: torch.Tensor
    shift: torch.Tensor
    bases: tuple[torch.Tensor, ...] = ()


@dataclass(frozen=True)
class LowRankKeys:
    """Keys of G prompts, but for what is shared. A slice is a view.

    Attributes
    ----------
    share : Tensor, float32, GxN
        a.
    rows : Tensor, float32, GxKxN
        R.
    weights : Tensor, float32, GxKxC
        W.
    least : Tensor, float32, G
        The smallest share of the squares that was left in a variance.
    said : list of Tensor, float32, GxHxTx(d+1)
        [v, 1] of each layer so far.
    """

    share: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor
    least: torch.Tensor
    said: list[torch.Tensor] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.share)

    def __getitem__(self, at: slice) -> LowRankKeys:
        return LowRankKeys(self.share[at], self.rows[at], self.weights[at], self.least[at])

    @classmethod
    def room(cls, count: int, rank: int, image: torch.Tensor) -> LowRankKeys:
        """Return room for those of `count` prompts with K up to `rank`, on an image (NxC)."""
        positions, width = image.shape
        return cls(
            image.new_empty(count, positions),
            image.new_empty(count, rank, positions),
            image.new_empty(count, rank, width),
            image.new_empty(count),
        )

    def product(
        self, image: torch.Tensor, start: torch.Tensor, weights: torch.Tensor, at: slice
    ) -> torch.Tensor:
        """Return a product of the first prompt's keys with a matrix, at some positions (nxF).

        Parameters
        ----------
        image, start : Tensor, NxF
            Z and b times the matrix; anything may be added to the latter.
        weights : Tensor, KxF
            W times the matrix.
        at : slice
            Of the positions.
        """
        found = torch.addcmul(start[at], image[at], self.share[0, at, None])
        return found.addmm_(self.rows[0, :, at].T, weights)


def multiplications(transformer: TwoWayTransformer, tokens: int, *, low_rank: bool) -> int:
    """Return multiplications per position for one prompt, in all layers and the final attention.

    Parameters
    ----------
    transformer : TwoWayTransformer
    tokens : int
        T.
    low_rank : bool
        This way, or that of `napari_sam_amg.engine.reassociated`.
    """
    final = transformer.final_attn_token_to_image
    width, inner, heads = map(int, (final.embedding_dim, final.internal_dim, final.num_heads))
    m, each = heads * tokens, tokens * inner
    layers = len(transformer.layers)
    if not low_rank:
        attention = min(2 * m * width + each, 2 * width * inner + 2 * each)
        return 3 * each + m * width + (2 * layers - 1) * attention
    found = 2 * each + each
    for layer in range(1, layers + 1):
        before, after = (layer - 1) * m, layer * m
        if before:
            found += (3 * each + 2 * m * before) + (2 * each + m * before)
        found += layer * (each + m) + after * (after + m) // 2 + after
    return found + 3 * each + 2 * m * layers * m
