"""Train ``nuclei-nano`` on a folder laid out like BBBC038 (see README.md).

    python training/train.py DATA/train --output RUN --steps 6000

Seeded and resumable: run the same command again and it goes on from the last checkpoint.
A smaller ``--steps`` on resuming starts the final decay of the learning rate earlier.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

from data import WAVELENGTHS, Batch, Sample, centre_phases, load_samples, make_batch, split_fold
from initialise import initialise, write_positions
from losses import mask_iou, mask_losses
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from samples import write_samples

log = logging.getLogger("train")
PHASES = 4 * len(WAVELENGTHS)
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


class Trainee(nn.Module):
    """The model and the auxiliary heads that only training uses.

    A crop is treated as a window of the full canvas: positions are those of the canvas,
    so training on small crops and running on the whole canvas see the same encodings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.model = build(ARCHITECTURES["nuclei-nano"])
        width = self.model.hidden_dim
        self.dense_head = nn.Sequential(
            nn.Conv2d(width, 64, 1), nn.GELU(), nn.Conv2d(64, 2 + PHASES, 1)
        )
        self.coarse_head = nn.Sequential(
            nn.Conv2d(width, 64, 1), nn.GELU(), nn.Conv2d(64, 1 + PHASES, 1)
        )
        self.token_head = nn.Linear(width, PHASES)
        initialise(self.model)
        self.offset = (0, 0)
        trunk = self.model.image_encoder.trunk
        full_embed = trunk._get_pos_embed
        canvas = self.model.image_size // 4

        def window_of_canvas(hw: tuple[int, int]) -> torch.Tensor:
            x, y = self.offset[0] // 4, self.offset[1] // 4
            return full_embed((canvas, canvas))[:, y : y + hw[0], x : x + hw[1]]

        trunk._get_pos_embed = window_of_canvas

    def encode(self, images: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Return encoder features (finest first) and the finest neck level before projection."""
        features = self.model.image_encoder((images / 255 - MEAN) / STD)["backbone_fpn"]
        decoder = self.model.sam_mask_decoder
        embed = features[2] + self.model.no_mem_embed.view(1, -1, 1, 1)
        return [decoder.conv_s0(features[0]), decoder.conv_s1(features[1]), embed], features[0]

    def decode(
        self, features: list[torch.Tensor], points: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, predicted IoU, mask tokens, object score of BxP prompts (flattened)."""
        batch, prompts = points.shape[:2]
        prompt_encoder = self.model.sam_prompt_encoder
        shift = torch.tensor(self.offset, dtype=torch.float32)
        sparse = prompt_encoder._embed_points(
            (points + shift).reshape(-1, 1, 2),
            torch.ones(batch * prompts, 1, dtype=torch.int32),
            pad=True,
        )
        side = features[2].shape[-1]
        x, y = self.offset[0] // 16, self.offset[1] // 16
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

    def losses(self, batch: Batch, autocast: bool) -> dict[str, torch.Tensor]:
        """Every term of the loss, by name, and the best IoU as ``best_iou``."""
        prompts = batch.points.shape[1]
        features, finest = self.encode(batch.images)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits, iou, tokens, score = self.decode(features, batch.points)
        logits, iou, score = logits.float(), iou.float(), score.float()
        wanted = batch.is_object.flatten()
        target = batch.masks.flatten(0, 1)
        foreground = batch.foreground.repeat_interleave(prompts, dim=0)

        true_iou = torch.zeros_like(iou)
        terms: dict[str, torch.Tensor] = {}
        if bool(wanted.any()):
            per_mask = mask_losses(logits[wanted], target[wanted], foreground[wanted])
            terms["mask"] = 0.5 * per_mask[:, 1:].amin(1).mean() + 0.5 * per_mask.mean()
            true_iou[wanted] = mask_iou(logits[wanted].detach(), target[wanted])
            terms["best_iou"] = true_iou[wanted][:, 1:].amax(1).mean()
        terms["iou"] = 4 * F.mse_loss(iou, true_iou)
        terms["score"] = 0.2 * F.binary_cross_entropy_with_logits(score[:, 0], wanted.float())

        shift = torch.tensor(self.offset, dtype=torch.float32).view(1, 2, 1, 1)
        phases = centre_phases(batch.centres + shift)
        inside = (batch.foreground > 0.5).float()[:, None]
        dense = self.dense_head(finest)
        edge = ((batch.foreground > 0.02) & (batch.foreground < 0.98)).float()
        edge = torch.maximum(edge, self._touching(batch.centres))
        terms["dense"] = F.binary_cross_entropy_with_logits(dense[:, 0], batch.foreground)
        terms["dense"] = terms["dense"] + F.binary_cross_entropy_with_logits(dense[:, 1], edge)
        terms["phase"] = self._phase_loss(dense[:, 2:], phases, inside)
        coarse = self.coarse_head(features[2])
        terms["coarse"] = self._phase_loss(
            coarse[:, 1:], phases[..., 2::4, 2::4], inside[..., 2::4, 2::4]
        ) + F.binary_cross_entropy_with_logits(
            coarse[:, 0], F.avg_pool2d(batch.foreground[:, None], 4)[:, 0]
        )
        if bool(wanted.any()):
            terms["token"] = self._token_loss(tokens.float(), batch, phases)[wanted].mean()
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

    def _token_loss(
        self, tokens: torch.Tensor, batch: Batch, phases: torch.Tensor
    ) -> torch.Tensor:
        """How well each mask token tells the centre of its object (N)."""
        cell = (batch.points / 4).long().clamp(max=phases.shape[-1] - 1)
        rows = torch.arange(len(cell))[:, None]
        true = phases.permute(0, 2, 3, 1)[rows, cell[..., 1], cell[..., 0]].flatten(0, 1)
        return ((self.token_head(tokens) - true[:, None]) ** 2).mean((1, 2))


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm-up over 150 steps, constant, then linear decay over the last 30 %."""
    decay = max(1, int(0.3 * steps))
    return peak * min(1.0, (step + 1) / 150) * min(1.0, max(0.01, (steps - step) / decay))


@torch.no_grad()
def validate(trainee: Trainee, samples: list[Sample], size: int) -> float:
    """Mean best-of-3 IoU over one fixed crop of each held-out sample."""
    trainee.offset = (0, 0)
    values = []
    for start in range(0, len(samples), 8):
        batch = make_batch(
            samples[start : start + 8], size, 8, np.random.default_rng(start), augment=False
        )
        terms = trainee.losses(batch, autocast=False)
        if "best_iou" in terms:
            values.append(float(terms["best_iou"]))
    return float(np.mean(values)) if values else 0.0


def load_start(trainee: Trainee, path: Path) -> None:
    """Take all weights of a checkpoint, or those of the model alone from an export."""
    if path.suffix == ".safetensors":
        trainee.model.load_state_dict(safetensors.torch.load_file(path))
    else:
        trainee.load_state_dict(torch.load(path, weights_only=True)["trainee"])


def save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that a killed run leaves the old or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--full-share", type=float, default=0.3, help="steps on whole canvases")
    parser.add_argument(
        "--start-from", type=Path, help="checkpoint of another run, or exported .safetensors"
    )
    parser.add_argument(
        "--renew-positions", action="store_true", help="write the encoder's positions anew"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fold", type=int, default=7, help="held-out fold of 8; -1 for none")
    parser.add_argument("--autocast", action="store_true", help="decoder in bfloat16")
    return parser.parse_args()


def main() -> None:
    """Train until ``--steps``, writing checkpoints and a log as it goes."""
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(arguments.output / "log.txt")],
    )
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    training, held_out = split_fold(load_samples(arguments.data), arguments.fold, 8)
    log.info("%d training images, %d held out", len(training), len(held_out))
    (arguments.output / "arguments.json").write_text(json.dumps(vars(arguments), default=str))

    trainee = Trainee()
    average = torch.optim.swa_utils.AveragedModel(
        trainee.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    decayed = [p for p in trainee.parameters() if p.ndim > 1]
    others = [p for p in trainee.parameters() if p.ndim <= 1]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}],
        lr=arguments.lr,
        betas=(0.9, 0.98),
    )
    step = 0
    checkpoint = arguments.output / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        trainee.load_state_dict(state["trainee"])
        average.module.load_state_dict(state["average"])
        average.n_averaged.fill_(state["step"])
        optimiser.load_state_dict(state["optimiser"])
        step = int(state["step"])
        log.info("resumed at step %d", step)

    elif arguments.start_from:
        load_start(trainee, arguments.start_from)
        if arguments.renew_positions:
            write_positions(trainee.model)
        average.module.load_state_dict(trainee.model.state_dict())

    # Colour images are fewer and harder: draw them more often.
    weights = np.array([1.0 if s.look == "dark" else 1.8 for s in training])
    weights /= weights.sum()
    started, seen = time.monotonic(), step
    while step < arguments.steps:
        rng = np.random.default_rng((arguments.seed, step))
        full = rng.random() < arguments.full_share
        size = trainee.model.image_size if full else arguments.crop
        count = max(2, arguments.batch // 4) if full else arguments.batch
        room = (trainee.model.image_size - size) // 32
        trainee.offset = (32 * int(rng.integers(room + 1)), 32 * int(rng.integers(room + 1)))
        chosen = [training[i] for i in rng.choice(len(training), count, p=weights)]
        batch = make_batch(chosen, size, arguments.prompts, rng)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, arguments.steps, arguments.lr)
        terms = trainee.losses(batch, arguments.autocast)
        loss = torch.stack([v for k, v in terms.items() if k != "best_iou"]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
        optimiser.step()
        step += 1
        average.update_parameters(trainee.model)
        if step % 20 == 0:
            pace = (time.monotonic() - started) / (step - seen)
            log.info(
                "step %d %.2f s/step norm %.1f %s",
                step,
                pace,
                float(norm),
                " ".join(f"{k} {float(v.detach()):.3f}" for k, v in terms.items()),
            )
        if step % 200 == 0 or step == arguments.steps:
            save(
                checkpoint,
                {
                    "trainee": trainee.state_dict(),
                    "average": average.module.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step,
                },
            )
            if held_out:
                picture = arguments.output / f"samples-{step:06d}.png"
                write_samples(picture, trainee, held_out[:: max(1, len(held_out) // 6)][:6], 512)
                log.info(
                    "step %d held-out best IoU: crops %.3f, whole canvas %.3f",
                    step,
                    validate(trainee, held_out, 256),
                    validate(trainee, held_out[::3], trainee.model.image_size),
                )


if __name__ == "__main__":
    main()
