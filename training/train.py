r"""Train ``nuclei-nano`` on a folder laid out like BBBC038 (see README.md).

    python training/train.py DATA/train --output RUN --steps 6000
    python training/train.py DATA/train --output RUN --device cuda --autocast --graph \
        --minutes 9 --batch 32 --prompts 24

Seeded and resumable: run the same command again and it goes on from the last checkpoint.
With ``--minutes`` the clock sets the learning rate, so that a run ends when it should.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch

from batches import Images, make_batch
from data import load_samples, split_fold
from initialise import write_positions
from samples import write_samples
from trainee import Trainee

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from data import Sample
    from held_out import Scene

log = logging.getLogger("train")


def learning_rate(share: float, step: int, peak: float) -> float:
    """Warm-up over 150 steps, constant, then linear decay over the last half."""
    return peak * min(1.0, (step + 1) / 150) * min(1.0, max(0.01, 2 * (1 - share)))


@torch.no_grad()
def validate(trainee: Trainee, images: Images) -> float:
    """Mean best-of-3 IoU over the middle of each held-out image, on whole canvases."""
    trainee.offset = (0, 0)
    values = []
    device = next(trainee.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        for start in range(0, len(images), 8):
            chosen = torch.arange(start, min(len(images), start + 8), device=device)
            batch = make_batch(images, chosen, trainee.model.image_size, 8, augment=False)
            values.append(trainee.losses(batch, autocast=False)["best_iou"].item())
    return float(np.mean(values)) if values else 0.0


def load_start(trainee: Trainee, path: Path) -> None:
    """Take all weights of a checkpoint, or those of the model alone from an export."""
    if path.suffix == ".safetensors":
        state = safetensors.torch.load_file(path)
        missing, unknown = trainee.model.load_state_dict(state, strict=False)
        if unknown or any(not name.startswith("object_head.") for name in missing):
            raise SystemExit(f"{path}: missing {missing}, unknown {unknown}")
    else:
        trainee.load_state_dict(torch.load(path, weights_only=True)["trainee"])


def save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that a killed run leaves the old or the new one."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def drawing_weights(samples: Sequence[Sample | Scene]) -> torch.Tensor:
    """How often each image is drawn: fields of many images less, hard looks more often."""
    count: dict[str, int] = {}
    for sample in samples:
        count[sample.field] = count.get(sample.field, 0) + 1
    weights = [count[s.field] ** -0.5 * (1.0 if s.look == "dark" else 1.8) for s in samples]
    return torch.tensor(weights)


def without(samples: list[Sample], look: str) -> list[Sample]:
    """Leave out the images of a look; SystemExit if that leaves all of them or none."""
    kept = [sample for sample in samples if sample.look != look]
    if len(kept) in (0, len(samples)):
        looks = ", ".join(sorted({sample.look for sample in samples}))
        raise SystemExit(f"--leave-out {look}: the looks are {looks}")
    return kept


class Optimisation:
    """The trainee, its optimiser and the running mean of its weights."""

    def __init__(self, trainee: Trainee, peak: float, *, graph: bool) -> None:
        self.trainee = trainee
        self.average = {k: v.detach().clone() for k, v in trainee.model.state_dict().items()}
        self.steps = 0
        device = next(trainee.parameters()).device
        decayed = [p for p in trainee.parameters() if p.ndim > 1]
        others = [p for p in trainee.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.02}, {"params": others, "weight_decay": 0.0}],
            lr=torch.tensor(peak, device=device) if graph else peak,
            betas=(0.9, 0.98),
            capturable=graph,
        )

    def update(self, loss: torch.Tensor) -> torch.Tensor:
        """Take one step down; returns the gradient's norm."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.trainee.parameters(), 1.0)
        self.optimiser.step()
        return norm

    def follow(self) -> None:
        """Move the running mean of the weights, faster at the beginning."""
        self.steps += 1
        weight = max(0.001, 1 - (1 + self.steps) / (10 + self.steps))
        now = self.trainee.model.state_dict()
        floats = [k for k, v in self.average.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.average[k] for k in floats], [now[k] for k in floats], weight)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate."""
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def state(self) -> dict[str, object]:
        """Everything that resuming needs."""
        return {
            "trainee": self.trainee.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step": self.steps,
        }


def recorded(step: Callable[[], dict[str, torch.Tensor]]) -> Callable[[], dict[str, torch.Tensor]]:
    """Record a step as a CUDA graph: thousands of small kernels are then one launch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()

    def replay() -> dict[str, torch.Tensor]:
        graph.replay()
        return out

    return replay


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--minutes", type=float, help="stop after so many, instead of --steps")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--window", type=int, default=256, help="side of most windows, pixels")
    parser.add_argument("--full-share", type=float, default=0.5, help="steps on whole canvases")
    parser.add_argument(
        "--start-from", type=Path, help="checkpoint of another run, or exported .safetensors"
    )
    parser.add_argument(
        "--renew-positions", action="store_true", help="write the encoder's positions anew"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--fold", type=int, default=7, help="held-out fold of 8; -1 for none")
    parser.add_argument(
        "--leave-out", help="a look that is not trained on, as fields.csv has it: color for tissue"
    )
    parser.add_argument("--autocast", action="store_true", help="bfloat16 where it is safe")
    parser.add_argument("--graph", action="store_true", help="CUDA graph; whole canvases only")
    return parser.parse_args()


def main() -> None:
    """Train until ``--steps`` or for ``--minutes``, with checkpoints and a log on the way."""
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(arguments.output / "log.txt")],
    )
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    device = torch.device(arguments.device)
    training, held_out = split_fold(load_samples(arguments.data), arguments.fold, 8)
    if arguments.leave_out:
        training = without(training, arguments.leave_out)
    log.info("%d training images, %d held out", len(training), len(held_out))
    (arguments.output / "arguments.json").write_text(json.dumps(vars(arguments), default=str))

    trainee = Trainee()
    checkpoint = arguments.output / "checkpoint.pt"
    if arguments.start_from and not checkpoint.exists():
        load_start(trainee, arguments.start_from)
        if arguments.renew_positions:
            write_positions(trainee.model)
    trainee.to(device)
    run = Optimisation(trainee, arguments.lr, graph=arguments.graph)
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        trainee.load_state_dict(state["trainee"])
        run.average = state["average"]
        run.optimiser.load_state_dict(state["optimiser"])
        run.steps = int(state["step"])
        log.info("resumed at step %d", run.steps)

    images = Images(training, device)
    drawn = drawing_weights(training).cumsum(0).to(device)
    held = Images(held_out, device) if held_out else None
    canvas = trainee.model.image_size

    def one_step(size: int = canvas, count: int = arguments.batch) -> dict[str, torch.Tensor]:
        place = torch.rand(count, device=device) * drawn[-1]
        chosen = torch.searchsorted(drawn, place).clamp(max=len(drawn) - 1)
        batch = make_batch(images, chosen, size, arguments.prompts)
        terms = trainee.losses(batch, autocast=arguments.autocast)
        loss = torch.stack([v for k, v in terms.items() if k != "best_iou"]).sum()
        norm = run.update(loss)
        return {k: v.detach() for k, v in terms.items()} | {"norm": norm}

    graph = recorded(one_step) if arguments.graph else None
    started, seen = time.monotonic(), run.steps

    def share() -> float:
        if arguments.minutes:
            return (time.monotonic() - started) / (60 * arguments.minutes)
        return run.steps / arguments.steps

    while share() < 1:
        run.set_rate(learning_rate(share(), run.steps, arguments.lr))
        if graph:
            terms = graph()
        else:
            rng = np.random.default_rng((arguments.seed, run.steps))
            torch.manual_seed(int(rng.integers(2**62)))  # so that resuming draws the same
            full = rng.random() < arguments.full_share
            size = canvas if full else arguments.window
            room = (canvas - size) // 32
            trainee.offset = (32 * int(rng.integers(room + 1)), 32 * int(rng.integers(room + 1)))
            terms = one_step(size, max(2, arguments.batch // 4) if full else arguments.batch)
        run.follow()
        if run.steps % 20 == 0:
            values = " ".join(f"{k} {float(v):.3f}" for k, v in terms.items())
            pace = (time.monotonic() - started) / (run.steps - seen)
            log.info("step %d %.3f s/step %s", run.steps, pace, values)
        ended = share() >= 1
        if run.steps % arguments.every == 0 or ended:
            save(checkpoint, run.state())
            if held is not None:
                log.info(
                    "step %d held-out best IoU %.3f",
                    run.steps,
                    validate(trainee, held),
                )
                if device.type == "cpu" or ended:
                    picture = arguments.output / f"samples-{run.steps:06d}.png"
                    write_samples(picture, trainee, held)


if __name__ == "__main__":
    main()
