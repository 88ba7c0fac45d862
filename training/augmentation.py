"""Random changes of brightness, colour, sharpness and noise, one set for each image."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def recolour(images: torch.Tensor) -> torch.Tensor:
    """Vary a batch's intensity, colour, illumination, polarity, sharpness and noise.

    Parameters
    ----------
    images : Tensor, float32, Bx3xHxW
        0 to 255.

    Returns
    -------
    Tensor
        The same shape and range.
    """
    count, _, height, width = images.shape
    device = images.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return torch.empty(count, *(shape or (1, 1, 1)), device=device).uniform_(low, high)

    def chance(share: float) -> torch.Tensor:
        return (uniform(0, 1) < share).float()

    x = (images / 255).clamp(0, 1)
    x = x ** torch.exp(uniform(-0.6, 0.6))
    # Illumination: a smooth field of 3x3 random values, stronger in some images.
    field = F.interpolate(
        uniform(0.3, 1.0, 1, 3, 3), (height, width), mode="bicubic", align_corners=True
    )
    share = chance(0.25) * uniform(0, 1)
    x = x * (1 - share + share * field.clamp(0, 1.2))
    x = (x - 0.5) * uniform(0.6, 1.25) + 0.5 + uniform(-0.15, 0.15)
    # Colour: a random mixing of the channels that leaves grey images nearly grey.
    mixing = torch.eye(3, device=device) + chance(0.6).view(-1, 1, 1) * 0.15 * torch.randn(
        count, 3, 3, device=device
    )
    mixing = mixing / mixing.sum(2, keepdim=True).clamp(min=0.3)
    x = torch.einsum("bij,bjhw->bihw", mixing, x)
    x = torch.lerp(x, x.mean(1, keepdim=True).expand_as(x), chance(0.15))
    x = torch.lerp(x, 1 - x, chance(0.12))
    x = torch.lerp(x, _blurred(x, uniform(0.5, 2.2)), chance(0.3))
    noise = torch.randn(count, 1, height, width, device=device)
    noise = noise + 0.5 * torch.randn_like(x) * chance(0.5)
    x = x + noise * chance(0.4) * uniform(0.005, 0.08)
    return x.clamp(0, 1) * 255


def _blurred(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Blur each image of a batch with a Gaussian of its own standard deviation (Bx1x1x1)."""
    count, channels, height, width = x.shape
    axis = torch.arange(-6.0, 7.0, device=x.device)
    kernel = torch.exp(-((axis / sigma.view(-1, 1)) ** 2) / 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = F.pad(x.reshape(1, count * channels, height, width), (6, 6, 6, 6), mode="reflect")
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=count * channels)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=count * channels)
    return flat.view(x.shape)
