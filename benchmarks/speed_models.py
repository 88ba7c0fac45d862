"""Models for `speed.py`: the embedded one, and Hiera with random weights made to answer like one.

Untrained weights give logits near zero and one predicted IoU for all masks: nothing or everything
would survive the thresholds. `calibrated` leaves every layer random but for four readouts, each
linear and found in closed form on the image that is timed:

1. The encoder's positional embedding is drawn large, so that its features tell places apart.
2. ``conv_s0``, which feeds the upscaled embedding: ridge regression from the finest features to 31
   bumps laid over the image and a constant; the deeper path keeps a random share of texture.
3. The last layer of each hypernetwork: ridge regression from its hidden layer, over a grid of
   prompts, to the weights of bumps that make an object around the prompt, of another size for each
   of the three masks.
4. The last layer of the IoU head: scaled and shifted so that its values spread over 0 to 1 and a
   given share of all masks exceeds 0.8; then the masks' logits are scaled so that a given share of
   those has a stability score of at least 0.95.

Shapes, options and arithmetic are untouched, so time per prompt is that of the trained model. The
default shares, 0.35 and 0.6, are assumptions about real images, not measurements of trained
weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from napari_sam_amg.engine.decoder import Decoder
from napari_sam_amg.engine.encoder import Features, encode
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from napari_sam_amg.parameters import AmgParameters

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

IOU_SHARE = 0.35
"""Share of all masks whose predicted IoU passes."""

STABLE_SHARE = 0.6
"""Share of those whose stability score passes."""

_SIZES = (0.06, 0.09, 0.14)
"""Radii of the three masks' objects, in sides of the image."""


def calibrated(name: str, image: np.ndarray, *, device: str, seed: int = 0) -> SAM2Base:
    """Build an architecture with random weights that finds objects in an image.

    Parameters
    ----------
    name : str
        Of `ARCHITECTURES`, such as ``sam2.1_hiera_tiny``.
    image : ndarray, uint8, HxWx3
    device : str
    seed : int
        Of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(ARCHITECTURES[name])
        for parameter in model.parameters():
            parameter.requires_grad_(requires_grad=False)
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        trunk = model.image_encoder.trunk
        trunk.pos_embed.normal_(std=2.0)
    model.to(device)
    with torch.no_grad():
        _fit_bumps(model, image)
        features = encode(model, image, "stretch")
        _fit_masks(model, features)
    return model


def _grid(side: int, device: torch.device) -> torch.Tensor:
    """Return (x, y) of the cells of a square grid over 0 to 1, side*side x 2."""
    at = (torch.arange(side, device=device) + 0.5) / side
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x.ravel(), y.ravel()], dim=1)


def _bumps(at: torch.Tensor) -> torch.Tensor:
    """Return the 31 bumps and the constant at places (x, y), Nx32, with values up to 4."""
    rows = [(n, i) for i, n in enumerate((5, 5, 6, 5, 5, 5))]
    centres = torch.tensor(
        [((j + 0.5) / n, (i + 0.5) / 6) for n, i in rows for j in range(n)], device=at.device
    )
    squared = ((at[:, None] - centres) ** 2).sum(-1)
    bumps = 4 * torch.exp(-squared / (2 * 0.11**2))
    return torch.cat([bumps, torch.full_like(bumps[:, :1], 4)], dim=1)


def _ridge(inputs: torch.Tensor, targets: torch.Tensor, strength: float) -> tuple[Any, Any]:
    """Return weights and biases of a linear layer from N x a to N x b, in float64."""
    x, y = inputs.double(), targets.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = x - mean_x, y - mean_y
    scale = x.var(0).mean() * len(x) * strength
    gram = x.T @ x + scale * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(gram, x.T @ y).T
    return weight, mean_y - weight @ mean_x


def _fit_bumps(model: SAM2Base, image: np.ndarray) -> None:
    """Read bumps off the finest features (step 2)."""
    decoder = model.sam_mask_decoder
    seen: list[torch.Tensor] = []
    hook = decoder.conv_s0.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encode(model, image, "stretch")
    hook.remove()
    finest = seen[0][0]
    side = finest.shape[-1]
    targets = _bumps(_grid(side, finest.device))
    weight, bias = _ridge(finest.flatten(1).T, targets, 1e-4)
    decoder.conv_s0.weight.copy_(weight[..., None, None])
    decoder.conv_s0.bias.copy_(bias)
    deep = decoder.output_upscaling[3]
    deep.weight.mul_(0.3)
    deep.weight[:, -1] = 0
    deep.bias.zero_()


def _fit_masks(model: SAM2Base, features: Features, across: int = 14) -> None:
    """Make objects around prompts, and spread the scores (steps 3 and 4)."""
    decoder = model.sam_mask_decoder
    device = features.embedding.device
    parameters = AmgParameters(points_per_batch=49)
    prompts = _grid(across, device)
    sides = torch.tensor(features.frame[::-1], device=device)
    points = (prompts * sides).float().cpu().numpy()
    heads = [head.layers[-1] for head in decoder.output_hypernetworks_mlps]
    hidden: list[list[torch.Tensor]] = [[] for _ in heads]
    hooks = [
        head.register_forward_pre_hook(lambda _, inputs, into=into: into.append(inputs[0]))
        for head, into in zip(heads, hidden, strict=True)
    ]

    def decode() -> tuple[torch.Tensor, torch.Tensor]:
        for into in hidden:
            into.clear()
        prompting = Decoder(model, features, parameters)
        prompting._parallel = False  # groups in order, as the hooks see them
        decoded = prompting.decode(points)
        return decoded.logits, decoded.predicted_iou

    decode()
    at = _grid(64, device)
    basis = F.gelu(_bumps(at))
    distance = torch.cdist(prompts, at)
    for head, into, radius in zip(heads, hidden, (_SIZES[1], *_SIZES), strict=True):
        wanted = (1 - distance / radius).clamp(-1.5, 1)
        fitted = torch.linalg.lstsq(basis.double(), wanted.double().T).solution.T
        weight, bias = _ridge(torch.cat(into)[: len(prompts)], fitted, 1e-4)
        head.weight.copy_(weight)
        head.bias.copy_(bias)
    logits, iou = decode()
    for hook in hooks:
        hook.remove()
    last = decoder.iou_prediction_head.layers[-1]
    scores = torch.logit(iou.double())  # the head ends in a sigmoid
    for index in range(iou.shape[1]):
        cut = torch.quantile(scores[:, index], 1 - IOU_SHARE)
        gain = 1 / scores[:, index].std()
        last.weight[index + 1].mul_(gain)
        last.bias[index + 1] = (last.bias[index + 1] - cut) * gain + np.log(0.8 / 0.2)
    scale = _steepness(logits[:, ::2, ::2])
    for head in heads:
        head.weight.mul_(scale)
        head.bias.mul_(scale)


def _steepness(logits: torch.Tensor) -> float:
    """Return the factor with which STABLE_SHARE of masks (nxhxw) have a stability of 0.95."""
    low, high = 1e-2, 1e4
    for _ in range(20):
        factor = (low * high) ** 0.5
        inner = (logits > 1 / factor).sum((1, 2))
        outer = (logits > -1 / factor).sum((1, 2))
        stable = (inner >= 0.95 * outer)[outer > 0].float().mean()
        low, high = (factor, high) if stable < STABLE_SHARE else (low, factor)
    return high
