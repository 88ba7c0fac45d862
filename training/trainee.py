"""The model as it is trained: its parts called in a differentiable way, and every loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from batches import CELL, WAVELENGTHS, centre_phases
from initialise import initialise
from losses import mask_iou, mask_losses
from napari_sam_amg.models.architecture import ARCHITECTURES, build

if TYPE_CHECKING:
    from batches import Batch

PHASES = 4 * len(WAVELENGTHS)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Trainee(nn.Module):
    """The model with its object head, and the auxiliary heads that only training uses.

    A window smaller than the canvas keeps the canvas' positions (`offset`, in pixels), so
    training on small windows and running on the whole canvas see the same encodings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = build(ARCHITECTURES["nuclei-nano"], object_head=True)
        width = self.model.hidden_dim
        self.dense_head = nn.Sequential(
            nn.Conv2d(width, 64, 1), nn.GELU(), nn.Conv2d(64, 1 + PHASES, 1)
        )
        self.coarse_head = nn.Sequential(
            nn.Conv2d(width, 64, 1), nn.GELU(), nn.Conv2d(64, 1 + PHASES, 1)
        )
        self.token_head = nn.Linear(width, PHASES)
        initialise(self.model)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.offset = (0, 0)
        trunk = self.model.image_encoder.trunk
        full_embed = trunk._get_pos_embed
        canvas = self.model.image_size // CELL

        def window_of_canvas(hw: tuple[int, int]) -> torch.Tensor:
            x, y = self.offset[0] // CELL, self.offset[1] // CELL
            return full_embed((canvas, canvas))[:, y : y + hw[0], x : x + hw[1]]

        trunk._get_pos_embed = window_of_canvas

    def encode(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return encoder features (finest first) and the finest neck level before projection."""
        features = self.model.image_encoder((images / 255 - self.mean) / self.std)["backbone_fpn"]
        decoder = self.model.sam_mask_decoder
        embed = features[2] + self.model.no_mem_embed.view(1, -1, 1, 1)
        return [decoder.conv_s0(features[0]), decoder.conv_s1(features[1]), embed], features[0]

    def decode(
        self, features: list[torch.Tensor], points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, predicted IoU, mask tokens, object score of BxP prompts (flattened)."""
        batch, prompts = points.shape[:2]
        prompt_encoder = self.model.sam_prompt_encoder
        # From Python numbers and not a new tensor: a recorded CUDA graph copies nothing in.
        x_shift, y_shift = self.offset
        shifted = torch.stack([points[..., 0] + x_shift, points[..., 1] + y_shift], -1)
        labels = torch.ones(batch * prompts, 1, dtype=torch.int32, device=points.device)
        side = features[2].shape[-1]
        x, y = x_shift // 16, y_shift // 16
        # A coordinate in bfloat16 would be off by two pixels.
        with torch.autocast(points.device.type, enabled=False):
            sparse = prompt_encoder._embed_points(shifted.reshape(-1, 1, 2), labels, pad=True)
            dense_pe = prompt_encoder.get_dense_pe()[:, :, y : y + side, x : x + side]
        no_mask = prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        s0, s1, embed = (f.repeat_interleave(prompts, dim=0) for f in features)
        return self.model.sam_mask_decoder.predict_masks(
            image_embeddings=embed,
            image_pe=dense_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=no_mask.expand(batch * prompts, -1, side, side),
            repeat_image=False,
            high_res_features=[s0, s1],
        )

    def losses(self, batch: Batch, *, autocast: bool) -> dict[str, torch.Tensor]:
        """Every term of the loss, by name, and the mean best IoU as ``best_iou``.

        No value is read back from the device, and no shape depends on one.
        """
        prompts = batch.points.shape[1]
        device = batch.images.device.type
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            features, finest = self.encode(batch.images)
            logits, iou, tokens, score = self.decode(features, batch.points)
            found = self.model.object_head(finest).float()
            dense = self.dense_head(finest).float()
            coarse = self.coarse_head(features[2]).float()
            told = self.token_head(tokens).float()
        logits, iou, score = logits.float(), iou.float(), score.float()
        wanted = batch.is_object.flatten().float()
        total = wanted.sum().clamp(min=1)
        target = batch.masks.flatten(0, 1)
        foreground = batch.foreground.repeat_interleave(prompts, dim=0)

        per_mask = mask_losses(logits, target, foreground)
        per_prompt = 0.5 * per_mask[:, 1:].amin(1) + 0.5 * per_mask.mean(1)
        true_iou = mask_iou(logits.detach(), target) * wanted[:, None]
        terms = {
            "mask": (per_prompt * wanted).sum() / total,
            "iou": 4 * F.mse_loss(iou, true_iou),
            "score": 0.2 * F.binary_cross_entropy_with_logits(score[:, 0], wanted),
            "best_iou": (true_iou[:, 1:].amax(1) * wanted).sum() / total,
        }
        inside = (batch.foreground > 0.5).float()[:, None]
        x, y = self.offset
        centres = torch.stack([batch.centres[:, 0] + x, batch.centres[:, 1] + y], 1)
        phases = centre_phases(centres)
        edge = ((batch.foreground > 0.02) & (batch.foreground < 0.98)).float()
        edge = torch.maximum(edge, self._touching(batch.centres))
        terms["dense"] = F.binary_cross_entropy_with_logits(dense[:, 0], edge)
        terms["phase"] = self._phase_loss(dense[:, 1:], phases, inside)
        terms["coarse"] = self._phase_loss(
            coarse[:, 1:], phases[..., 2::4, 2::4], inside[..., 2::4, 2::4]
        ) + F.binary_cross_entropy_with_logits(
            coarse[:, 0], F.avg_pool2d(batch.foreground[:, None], 4)[:, 0]
        )
        told = ((told - self._phases_at(phases, batch.points)[:, None]) ** 2).mean((1, 2))
        terms["token"] = (told * wanted).sum() / total
        terms["foreground"] = F.binary_cross_entropy_with_logits(found[:, 0], batch.foreground)
        # Few cells are centres: they weigh ten times as much.
        weight = 1 + 9 * batch.nearness
        centre = F.binary_cross_entropy_with_logits(
            found[:, 1], batch.nearness, weight=weight, reduction="sum"
        )
        terms["centre"] = centre / weight.sum()
        return terms

    @staticmethod
    def _touching(centres: torch.Tensor) -> torch.Tensor:
        padded = F.pad(centres, (1, 1, 1, 1), mode="replicate")
        spread = F.max_pool2d(padded, 3, 1) + F.max_pool2d(-padded, 3, 1)
        return (spread.amax(1) > 1e-3).float()

    @staticmethod
    def _phase_loss(
        predicted: torch.Tensor, true: torch.Tensor, inside: torch.Tensor
    ) -> torch.Tensor:
        error = ((predicted - true) ** 2).mean(1, keepdim=True)
        return 2 * (error * inside).sum() / inside.sum().clamp(min=1)

    @staticmethod
    def _phases_at(phases: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Phases of the object under each point (BPxC)."""
        cell = (points / CELL).long().clamp(max=phases.shape[-1] - 1)
        index = cell[..., 1] * phases.shape[-1] + cell[..., 0]
        index = index[:, None].expand(-1, phases.shape[1], -1)
        return phases.flatten(2).gather(2, index).transpose(1, 2).flatten(0, 1)
