"""sam2's upscaling and mask product, for the prompts that need them.

A transposed convolution with kernel and stride 2 gives each position four of its own, without
looking at neighbours: it is a product of N x C and C x 4 C'. Here channels stay last and the four
(then sixteen) new positions stay beside each other, so that no array of features is ever moved:
only the finished logits are brought into rows and columns. The image's own features at strides
8 and 4, and the biases, are brought into that order once an image, and each product starts from
them.

LayerNorm follows the first product. Its mean can be taken off the product's weights and biases
instead, once an image: rows of the centred product have mean 0. An accelerator is then left with
the length of each row: its own LayerNorm is made for long rows, and with it all LayerNorms took a
sixth of the time of Hiera-L's kernels in float32, a quarter in bfloat16 (H200, PyTorch 2.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable

    from sam2.modeling.sam.mask_decoder import MaskDecoder

    from napari_sam_amg.engine.low_rank import Form
    from napari_sam_amg.engine.reassociated import Keys


_BLOCK = 1 << 20
"""Bytes of one prompt's keys to work on at once: caches hold what is between the products."""


class MaskHead:
    """From keys and mask tokens to low-resolution logits, on one image.

    Parameters
    ----------
    decoder : MaskDecoder
        sam2's.
    high_res : list of Tensor
        Features at strides 4 and 8, 1xcxhxw; empty for models without.
    size : tuple of int
        Height and width of the keys.
    dtype : torch.dtype
        Of the products.
    form : Form, optional
        Of keys that are not formed.
    centred : bool, optional
        Whether to take the mean off the weights; by default on accelerators. Not with `form`.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        high_res: list[torch.Tensor],
        size: tuple[int, int],
        *,
        dtype: torch.dtype,
        form: Form | None = None,
        centred: bool | None = None,
    ) -> None:
        self._size = size
        first, norm, self._act1, second, self._act2 = decoder.output_upscaling
        self._norm = (norm.weight.to(dtype), norm.bias.to(dtype))
        self._eps = norm.eps
        self._dtype = dtype
        h, w = size
        (self._weight1, start1), (self._weight2, start2) = map(_as_product, (first, second))
        if decoder.use_high_res_features:
            s0, s1 = (level[0].float() for level in high_res)
            s1 = s1.reshape(-1, h, 2, w, 2)  # c, h, i, w, j
            start1 = start1 + s1.permute(1, 3, 2, 4, 0).reshape(h * w, -1)
            s0 = s0.reshape(-1, h, 2, 2, w, 2, 2)  # c, h, i, k, w, j, l
            start2 = start2 + s0.permute(1, 4, 2, 5, 3, 6, 0).reshape(4 * h * w, -1)
        self._image1: torch.Tensor | None = None
        if form is not None:
            self._image1 = form.image @ self._weight1
            start1 = start1 + form.shift @ self._weight1
        if centred is None:
            centred = form is None and start1.device.type != "cpu"
        elif centred and form is not None:
            raise ValueError("the mean is not taken off weights for keys that are not formed")
        self._centred = centred
        if self._centred:
            self._weight1, start1 = (
                _centred(v, len(norm.weight)) for v in (self._weight1, start1)
            )
        start1, start2 = start1.expand(h * w, -1), start2.expand(4 * h * w, -1)
        self._weight1, self._weight2 = self._weight1.to(dtype), self._weight2.to(dtype)
        self._start1, self._start2 = start1.to(dtype), start2.to(dtype)

    def __call__(self, keys: Keys, hyper: torch.Tensor, logits: torch.Tensor) -> None:
        """Compute logits.

        Parameters
        ----------
        keys : Tensor, bxNxC, or LowRankKeys
            Of b prompts; those that are not formed of one.
        hyper : Tensor, float32, bxkxc
            What the hypernetworks made of k mask tokens of each.
        logits : Tensor, float32, bxkx4hx4w
            Gets them.
        """
        h, w = self._size
        # Pairs of neighbours in a row are moved as one, whatever type of their size says so.
        placed = logits.view(torch.int64).view(*hyper.shape[:2], h, 2, 2, w, 2)
        hyper = hyper.to(self._dtype)
        rows = h
        if len(keys) == 1:
            rows = max(1, _BLOCK // (w * len(self._weight1) * self._weight1.element_size()))
        first = self._first(keys)
        for top in range(0, h, rows):
            found = self._block(first, hyper, top * w, min(top + rows, h) * w)
            found = found.float().view(torch.int64).view(*hyper.shape[:2], -1, w, 2, 2, 2)
            placed[:, :, top : top + rows].copy_(found.permute(0, 1, 2, 4, 6, 3, 5))

    def _block(
        self,
        first: Callable[[slice], torch.Tensor],
        hyper: torch.Tensor,
        start: int,
        stop: int,
    ) -> torch.Tensor:
        """Logits (bxkxn) of some positions, in the order in which they are computed."""
        count = len(hyper)
        x = first(slice(start, stop)).view(count, -1, len(self._norm[0]))
        x = self._act1(self._normed(x))
        x = self._product(self._start2[4 * start : 4 * stop], x, self._weight2)
        x = self._act2(x).view(count, -1, hyper.shape[-1])
        return torch.bmm(hyper, x.mT)

    def _first(self, keys: Keys) -> Callable[[slice], torch.Tensor]:
        """Return what gives the first product (bxnxF) at some positions."""
        if isinstance(keys, torch.Tensor):
            formed = keys
            return lambda at: self._product(self._start1[at], formed[:, at], self._weight1)
        if len(keys) != 1 or self._image1 is None:
            raise ValueError("keys that are not formed go one prompt at a time, with their form")
        image, weights = self._image1, keys.weights[0] @ self._weight1
        return lambda at: keys.product(image, self._start1, weights, at)[None]

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self._norm
        if not self._centred:
            return F.layer_norm(x, (len(weight),), weight, bias, self._eps)
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        scale = torch.rsqrt(length.square() / len(weight) + self._eps)
        return torch.addcmul(bias, x * scale.to(x.dtype), weight)

    @staticmethod
    def _product(start: torch.Tensor, rows: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        count = len(rows)
        return torch.baddbmm(start.expand(count, -1, -1), rows, weight.expand(count, -1, -1))


def _as_product(step: torch.nn.ConvTranspose2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (CxF) and bias (1xF) of a transposed convolution as a product, F = 4 C'."""
    weight = step.weight.permute(0, 2, 3, 1).flatten(1)
    bias = torch.zeros(step.out_channels) if step.bias is None else step.bias
    return weight, bias.to(weight).repeat(4)[None]


def _centred(rows: torch.Tensor, width: int) -> torch.Tensor:
    """Take off each the mean of every `width` columns."""
    parts = torch.unflatten(rows, 1, (-1, width))
    return (parts - parts.mean(-1, keepdim=True)).flatten(1)
