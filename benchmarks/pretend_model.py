"""A stand-in for a model: quick, always the same, with masks of what is bright in an image.

For what surrounds the model. At each point it answers with the bright regions around it at several
brightness levels, so that masks nest and overlap, and with scores that depend on their pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from napari_sam_amg.engine import generator as engine
from napari_sam_amg.engine.decoder import Decoded
from napari_sam_amg.engine.encoder import Features

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Shares of a tile's pixels that are darker than what counts as bright."""


def pretend_encode(model: Any, crops: Sequence[Any], resizing: str) -> list[Features]:
    """Do for several crops, each with its frame, what `_pretend_encode` does."""
    return [_pretend_encode(model, rgb, frame) for rgb, frame in crops]


def _pretend_encode(model: Any, rgb: np.ndarray, frame: tuple[int, int] | None = None) -> Features:
    """Return the grey levels of what the model would see, a quarter of its input wide.

    Objects, where the model has a head for them, are its brightest cells.
    """
    frame = frame or rgb.shape[:2]
    missing = [(0, frame[0] - rgb.shape[0]), (0, frame[1] - rgb.shape[1])]
    grey = np.pad(rgb[..., 1], missing, mode="symmetric").astype(np.float32) / 255
    side = model.image_size // 4
    small = F.interpolate(torch.from_numpy(grey)[None, None], (side, side), mode="area")
    objects = None
    if getattr(model, "object_head", None) is not None:
        bright = F.interpolate(small, scale_factor=0.5, mode="area")[0]
        objects = 40 * torch.cat([bright - bright.quantile(LEVELS[0]), bright - bright.mean()])
    return Features(small, [], frame, objects)


class PretendDecoder:
    """Answers as `napari_sam_amg.engine.decoder.Decoder` does."""

    def __init__(self, model: Any, features: Features, parameters: Any, **_settings: Any) -> None:
        self.short = False
        self._frame = features.frame
        self._grey = grey = ndimage.gaussian_filter(features.embedding[0, 0].numpy(), 0.7)
        self._regions = []
        self._scores = []
        for level in LEVELS:
            cutoff = np.quantile(grey, level)
            regions, count = ndimage.label(grey > cutoff)
            index = np.arange(count + 1)
            sums = np.asarray(ndimage.sum_labels(grey, regions, index))
            scores = 0.4 + 0.6 * np.modf(sums * 7.31)[0]
            scores[0] = 0
            self._regions.append((regions, cutoff))
            self._scores.append(scores.astype(np.float32))

    def decode(self, points: np.ndarray, _following: np.ndarray | None = None) -> Decoded:
        """Answer prompts at `points`, float32 nx2, (x, y) in crop pixels."""
        side = len(self._grey)
        x, y = (
            np.clip(points[:, axis] * side / self._frame[1 - axis], 0, side - 1).astype(int)
            for axis in (0, 1)
        )
        logits = np.full((len(points), len(LEVELS), side, side), -20, dtype=np.float32)
        iou = np.zeros((len(points), len(LEVELS)), dtype=np.float32)
        for level, ((regions, cutoff), scores) in enumerate(
            zip(self._regions, self._scores, strict=True)
        ):
            here = regions[y, x]
            iou[:, level] = scores[here]
            inside = (regions[None] == here[:, None, None]) & (here > 0)[:, None, None]
            bright = np.broadcast_to(40 * (self._grey - cutoff) + 0.5, inside.shape)
            logits[:, level][inside] = bright[inside]
        prompt, mask = torch.ones(iou.shape).nonzero(as_tuple=True)  # all, whatever the floor
        flat = torch.from_numpy(logits).flatten(0, 1)
        return Decoded(flat, prompt, mask, torch.from_numpy(iou))


class pretending:
    """Within this context generators ask the stand-in instead of their model."""

    def __enter__(self) -> None:
        self._real = engine.encode_together, engine.Decoder
        engine.encode_together, engine.Decoder = pretend_encode, PretendDecoder

    def __exit__(self, *_: object) -> None:
        engine.encode_together, engine.Decoder = self._real


def tiles_of(images: list[np.ndarray], seed: int = 0) -> Iterator[np.ndarray]:
    """Yield images, turned and mirrored at random, for ever."""
    rng = np.random.default_rng(seed)
    while True:
        image = images[int(rng.integers(len(images)))]
        image = np.rot90(image, int(rng.integers(4)))
        yield image[:, ::-1] if rng.random() < 0.5 else image
