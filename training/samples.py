"""A picture of what the model finds while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import torch
import torch.nn.functional as F

from batches import make_batch

if TYPE_CHECKING:
    from pathlib import Path

    from batches import Images
    from trainee import Trainee


@torch.no_grad()
def write_samples(path: Path, trainee: Trainee, images: Images) -> None:
    """Write a PNG with a column for each of six images: image, true objects, masks at the points.

    Each prompt's mask of the highest predicted IoU is drawn in its own colour, the point
    in white.
    """
    trainee.offset = (0, 0)
    size = trainee.model.image_size
    device = next(trainee.parameters()).device
    columns = []
    for index in range(0, len(images), max(1, len(images) // 6)):
        chosen = torch.tensor([index], device=device)
        batch = make_batch(images, chosen, size, 12, augment=False)
        features, _ = trainee.encode(batch.images)
        logits, iou, _, _ = trainee.decode(features, batch.points)
        best = logits[torch.arange(len(iou)), iou[:, 1:].argmax(1) + 1]
        shown = F.interpolate(best[:, None], (size, size), mode="bilinear")[:, 0] > 0
        truth = F.interpolate(batch.masks[0][:, None], (size, size))[:, 0] > 0.5
        image = batch.images[0].permute(1, 2, 0).cpu().numpy().astype(np.uint8)
        points = batch.points[0].long().cpu().numpy()
        columns.append(np.concatenate([image, _drawn(image, truth), _drawn(image, shown, points)]))
    iio.imwrite(path, np.concatenate(columns, axis=1))


def _drawn(image: np.ndarray, masks: torch.Tensor, points: np.ndarray | None = None) -> np.ndarray:
    drawn = image.astype(np.float32) / 2
    colours = np.random.default_rng(1).uniform(60, 255, (len(masks), 3))
    for mask, colour in zip(masks.cpu().numpy(), colours, strict=True):
        drawn[mask] = 0.5 * drawn[mask] + 0.5 * colour
    for x, y in points if points is not None else ():
        drawn[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 255
    return drawn.astype(np.uint8)
