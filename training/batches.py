"""Training batches made on the device: windows of images, prompts and their targets.

Everything has a fixed shape and nothing asks the device for a value, so that a whole
training step can be recorded as a CUDA graph; on a CPU the same code runs as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from augmentation import recolour

if TYPE_CHECKING:
    from data import Sample

CANVAS = 512
"""Side in pixels of the square that an image is stretched to, as the model does."""

WAVELENGTHS = (48.0, 96.0, 192.0, 384.0, 768.0)
"""Wavelengths in canvas pixels of the phases that encode an object's centre.

The short ones tell neighbours apart; without the long ones masks repeat 200 px away."""

CELL = 4
"""Input pixels to a side of a logit's cell."""

SMALLEST = 24
"""Pixels that an object must have in a window to be asked for."""


@dataclass(frozen=True)
class Batch:
    """B windows of side S with P prompts each, in window pixels; targets at stride 4.

    Attributes
    ----------
    images : float32 Bx3xSxS, values 0 to 255.
    points : float32 BxPx2, (x, y).
    is_object : bool BxP, False where the prompt lies on background.
    masks : float32 BxPxS/4xS/4, share of each cell that the prompted object covers.
    foreground : float32 BxS/4xS/4, share covered by any object.
    centres : float32 Bx2xS/4xS/4, (x, y) of the centre of the object at the cell.
    nearness : float32 BxS/4xS/4, 1 at the centre of an object, falling to 0 around it.
    """

    images: torch.Tensor
    points: torch.Tensor
    is_object: torch.Tensor
    masks: torch.Tensor
    foreground: torch.Tensor
    centres: torch.Tensor
    nearness: torch.Tensor


class Images:
    """All images of a split in one block of memory, to take windows from.

    Parameters
    ----------
    samples : list of Sample
    device : torch.device
    """

    def __init__(self, samples: list[Sample], device: torch.device) -> None:
        height = max(s.labels.shape[0] for s in samples)
        width = max(s.labels.shape[1] for s in samples)
        pixels = torch.zeros(len(samples), 3, height, width, dtype=torch.uint8)
        labels = torch.zeros(len(samples), height, width, dtype=torch.int16)
        sizes, self.most = [], 1 + max(int(s.labels.max()) for s in samples)
        # Objects that touch a border go on in its mirror image; others are new ones there.
        touching = torch.zeros(len(samples), self.most, dtype=torch.bool)
        for i, sample in enumerate(samples):
            h, w = sample.labels.shape
            pixels[i, :, :h, :w] = torch.from_numpy(sample.image).permute(2, 0, 1)
            labels[i, :h, :w] = torch.from_numpy(sample.labels.astype(np.int16))
            edges = [sample.labels[k] for k in (0, -1)] + [sample.labels[:, k] for k in (0, -1)]
            touching[i, torch.from_numpy(np.unique(np.concatenate(edges)).astype(np.int64))] = True
            sizes.append((w, h))
        touching[:, 0] = True
        self._pixels, self._labels = pixels.to(device), labels.to(device)
        self._touching = touching.to(device)
        self._sizes = torch.tensor(sizes, dtype=torch.float32, device=device)
        self._block = torch.tensor([width, height], dtype=torch.float32, device=device)
        # Up to the canvas an image is stretched to it, larger ones are cut into tiles of it.
        small = self._sizes.amax(1, keepdim=True) <= CANVAS
        self._zoom = torch.where(small, CANVAS / self._sizes, torch.ones_like(self._sizes))

    def __len__(self) -> int:
        return len(self._pixels)

    def windows(
        self, chosen: torch.Tensor, size: int, augment: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut a window of each chosen image.

        Returns
        -------
        images : Tensor, float32, Bx3xSxS
            0 to 255.
        labels : Tensor, int64, BxSxS
            0 for background; not consecutive, below four times `most`.
        """
        place = self._places(chosen, size, augment)  # BxSxSx2, in the image's own pixels
        sizes = self._sizes[chosen].view(-1, 1, 1, 2)
        turn = torch.floor(place / sizes)
        within = place - turn * sizes
        odd = turn.remainder(2)
        within = torch.where(odd > 0, sizes - within, within)
        within = torch.minimum(within.clamp(min=0.5), sizes - 0.5)
        images = F.grid_sample(
            self._pixels[chosen].float(), within / self._block * 2 - 1, align_corners=False
        )
        column, row = within.long().unbind(-1)
        labels = self._labels[chosen.view(-1, 1, 1), row, column].long()
        mirrored = (odd[..., 0] + 2 * odd[..., 1]).long()
        apart = ~self._touching[chosen.view(-1, 1, 1), labels]
        return images, labels + self.most * mirrored * apart

    def _places(self, chosen: torch.Tensor, size: int, augment: bool) -> torch.Tensor:
        count, device = len(chosen), chosen.device

        def uniform(low: float, high: float) -> torch.Tensor:
            return torch.empty(count, device=device).uniform_(low, high)

        scale = torch.ones(count, device=device)
        aspect, angle, flip = torch.ones_like(scale), torch.zeros_like(scale), scale.clone()
        if augment:
            wide = (uniform(0, 1) < 0.3).float()
            scale = torch.exp(wide * uniform(-0.8, 0.8) + (1 - wide) * uniform(-0.4, 0.4))
            aspect = torch.exp(uniform(-0.15, 0.15))
            angle = math.pi / 2 * torch.floor(uniform(0, 4))
            angle = angle + (uniform(0, 1) < 0.3) * uniform(-math.pi / 4, math.pi / 4)
            flip = torch.sign(uniform(-1, 1))
        sizes, zoom = self._sizes[chosen], self._zoom[chosen]
        axis = (torch.arange(size, device=device) + 0.5 - size / 2) / scale.view(-1, 1)
        x = (axis * aspect.view(-1, 1) * flip.view(-1, 1)).view(count, 1, size)
        y = (axis / aspect.view(-1, 1)).view(count, size, 1)
        cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
        along = torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)
        along = along / zoom.view(-1, 1, 1, 2)
        half = (size / 2 / scale).view(-1, 1) / zoom
        room = (sizes / 2 - half).clamp(min=0)
        where = torch.rand(count, 2, device=device) * 2 - 1 if augment else torch.zeros(count, 2)
        centre = sizes / 2 + room * where.to(device)
        return along + centre.view(-1, 1, 1, 2)


def _pooled(labels: torch.Tensor) -> torch.Tensor:
    """Share of each cell that is true, of ...xSxS."""
    flat = labels.flatten(0, -3)[:, None]
    return F.avg_pool2d(flat.float(), CELL).view(
        *labels.shape[:-2], *(s // CELL for s in labels.shape[-2:])
    )


def make_batch(
    images: Images, chosen: torch.Tensor, size: int, prompts: int, *, augment: bool = True
) -> Batch:
    """Take a window of each chosen image (int64 B), augment it and place prompts on it.

    A quarter of the prompts, or all where there is no object, lie on background, every
    second of them close to an object. A third of the others lie near the object's centre,
    where prompts are placed by the object head, the rest anywhere on it.
    """
    pixels, labels = images.windows(chosen, size, augment)
    if augment:
        pixels = recolour(pixels)
    count, device = len(chosen), pixels.device
    ids = 4 * images.most
    flat = (labels + ids * torch.arange(count, device=device).view(-1, 1, 1)).flatten()
    axis = torch.arange(size, device=device, dtype=torch.float32) + 0.5
    x, y = (a.expand(count, size, size).flatten() for a in (axis, axis[:, None]))
    total = torch.zeros(3, count * ids, device=device)
    total[0].index_add_(0, flat, torch.ones_like(x))
    total[1].index_add_(0, flat, x)
    total[2].index_add_(0, flat, y)
    area = total[0]
    centre = total[1:] / area.clamp(min=1)

    here = flat.view(count, size, size)[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
    centres = centre[:, here].transpose(0, 1)
    cells = labels[:, CELL // 2 :: CELL, CELL // 2 :: CELL]
    grid = axis.view(-1, CELL).mean(1)
    away = (grid - centres[:, 0]) ** 2 + (grid[:, None] - centres[:, 1]) ** 2
    sigma = (0.3 * (area[here] / math.pi).sqrt()).clamp(min=CELL)
    nearness = torch.exp(-away / (2 * sigma**2)) * (cells > 0)

    wanted = prompts - max(1, prompts // 4)
    usable = area.view(count, ids) >= SMALLEST
    usable[:, 0] = False
    number = usable.sum(1, keepdim=True)
    order = (torch.rand(count, ids, device=device) + usable).argsort(1, descending=True)
    turn = torch.arange(wanted, device=device).expand(count, -1) % number.clamp(min=1)
    objects = order.gather(1, turn)
    objects = torch.where(number > 0, objects, torch.zeros_like(objects))  # 0: background

    noise = torch.rand(count, size * size, device=device)
    masks = labels[:, None] == objects[..., None, None]
    index = objects + ids * torch.arange(count, device=device).view(-1, 1)
    middle = centre[:, index]
    off = (axis - middle[0][..., None, None]) ** 2 + (
        axis[:, None] - middle[1][..., None, None]
    ) ** 2
    near = off < 0.1 * area[index][..., None, None] / math.pi + 1
    near = near & (torch.arange(wanted, device=device) % 3 == 0).view(1, -1, 1, 1)
    value = noise.view(count, 1, -1) + near.flatten(2) * 1.0
    on_object = (value * masks.flatten(2)).argmax(2)

    background = (labels == 0)[:, None]
    around = F.max_pool2d((~background).float(), (17, 1), stride=1, padding=(8, 0))
    around = background & (F.max_pool2d(around, (1, 17), stride=1, padding=(0, 8)) > 0)
    region = torch.cat([background, around], 1).flatten(2)
    elsewhere = torch.arange(prompts - wanted, device=device)
    more = torch.rand(count, prompts - wanted, size * size // 64, device=device)
    coarse = F.interpolate(more.view(count, -1, size // 8, size // 8), scale_factor=8.0).flatten(2)
    # None close to an object: anywhere on background.
    allowed = region[:, elsewhere % 2].float() + 1e-3 * region[:, :1]
    on_background = ((coarse + 0.01 * noise.view(count, 1, -1)) * allowed).argmax(2)
    pixel = torch.cat([on_object, on_background], 1)
    points = torch.stack([pixel % size, pixel // size], -1).float()
    is_object = torch.cat([objects > 0, torch.zeros_like(on_background, dtype=torch.bool)], 1)
    # A window full of objects has no background to ask for.
    is_object = is_object & (labels.flatten(1).gather(1, pixel) > 0)
    empty = torch.zeros(count, prompts - wanted, size // CELL, size // CELL, device=device)
    targets = torch.cat([_pooled(masks & (objects > 0)[..., None, None]), empty], 1)
    return Batch(pixels, points, is_object, targets, _pooled(labels > 0), centres, nearness)


def centre_phases(centres: torch.Tensor) -> torch.Tensor:
    """Sine and cosine of centres: Bx2x... in canvas pixels to Bx20x...."""
    parts = []
    for wavelength in WAVELENGTHS:
        angle = centres * (2 * math.pi / wavelength)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, dim=1)
