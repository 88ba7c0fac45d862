"""Train Cellpose 3 from scratch on the images that ``train.py`` trains on, for as long.

    pip install ".[training,baseline]"
    python training/baseline_cellpose.py DATA/train --output RUN --device cuda --workers 8
    python training/evaluate.py DATA/val --cellpose RUN --output CELLPOSE.json

Network, loss, augmentation, normalisation and optimiser are Cellpose's own, with its defaults;
images are drawn as often as by ``train.py``. No weights are downloaded. Its schedule of epochs is
told by the clock, so that a run ends when it should. Then the size model is fitted, and diameter
and thresholds are chosen on the held-out fold; both take their time besides. Seeded and
resumable: the same command again goes on from the last checkpoint with the time that is left.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import scores
from cellpose_model import CHOSEN, GREY, NETWORK, SIZES, CellposeRun, choose
from held_out import divided, refuse_validation, scenes
from metrics import diameters
from train import drawing_weights, save

if TYPE_CHECKING:
    from collections.abc import Sequence

    from held_out import Scene

log = logging.getLogger("baseline_cellpose")

SIDE = 224
"""Of a crop, pixels; so are the tiles when Cellpose looks at an image."""

SCALES = 0.5
"""Crops are 0.75 to 1.25 times as large as the mean diameter asks for."""


def learning_rate(share: float, peak: float) -> float:
    """Linear warm-up, constant, then ten halvings, as Cellpose has it over its epochs.

    Parameters
    ----------
    share : float
        Of the time that is over, 0 to 1.
    peak : float

    Returns
    -------
    float
        Highest from 5 % of the time to 75 %.
    """
    halvings = max(0, math.ceil(40 * (share - 0.75)))
    return peak * min(1.0, share / 0.05 + 0.01) * 0.5 ** min(10, halvings)


class Crops(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches of crops by the number of the step: images Bx2xHxW, probability and flows Bx3xHxW.

    Parameters
    ----------
    training : sequence of Scene
    arguments : argparse.Namespace
        ``batch``, ``seed``, ``device`` and ``mean_diameter``, which the median nucleus of each
        image is scaled to.
    """

    def __init__(self, training: Sequence[Scene], arguments: argparse.Namespace) -> None:
        from cellpose import dynamics, transforms

        self.images = []
        for scene in training:
            grey = transforms.convert_image(scene.image, GREY).transpose(2, 0, 1)
            self.images.append(transforms.normalize_img(grey, axis=0))
        labels = [scene.labels.astype(np.int32) for scene in training]
        self.flows: list[np.ndarray] = dynamics.labels_to_flows(
            labels, device=torch.device(arguments.device)
        )
        self.diameters = np.array([max(5.0, np.median(diameters(n))) for n in labels])
        weights = drawing_weights(training).double().numpy()
        self.shares = weights / weights.sum()
        self.batch, self.seed = arguments.batch, arguments.seed
        self.mean_diameter = arguments.mean_diameter

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw the batch of a step, the same in every run."""
        from cellpose import transforms

        rng = np.random.default_rng((self.seed, step))
        chosen = rng.choice(len(self.images), self.batch, p=self.shares)
        np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002 - what Cellpose draws from
        images, truth, _ = transforms.random_rotate_and_resize(
            [self.images[i] for i in chosen],
            Y=[self.flows[i][1:] for i in chosen],
            rescale=self.diameters[chosen] / self.mean_diameter,
            scale_range=SCALES,
            xy=(SIDE, SIDE),
        )
        return torch.from_numpy(images), torch.from_numpy(truth)


def fit(net: torch.nn.Module, crops: Crops, arguments: argparse.Namespace) -> None:
    """Train until the minutes are over, with checkpoints and a log on the way."""
    from cellpose import train

    device = next(net.parameters()).device
    optimiser = torch.optim.AdamW(net.parameters(), lr=arguments.lr, weight_decay=1e-5)
    checkpoint = arguments.output / "checkpoint.pt"
    step, before = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        step, before = int(state["step"]), float(state["seconds"])
        log.info("resumed at step %d, after %.0f s", step, before)
    budget = 60 * arguments.minutes
    if before >= budget:
        return
    started, first, total = time.monotonic(), step, torch.zeros((), device=device)
    net.train()
    for images, truth in torch.utils.data.DataLoader(
        crops, batch_size=None, sampler=range(step, 2**31), num_workers=arguments.workers
    ):
        share = (before + time.monotonic() - started) / budget
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(share, arguments.lr)
        loss = train._loss_fn_seg(truth.numpy(), net(images.to(device))[0], device)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        total += loss.detach()
        if step % 20 == 0:
            value = total.item() / min(20, step - first)  # waits for the device
            pace = (time.monotonic() - started) / (step - first)
            log.info("step %d %.3f s/step loss %.4f", step, pace, value)
            total.zero_()
        seconds = before + time.monotonic() - started
        if step % arguments.every == 0 or seconds >= budget:
            state = {"net": net.state_dict(), "optimiser": optimiser.state_dict()}
            save(checkpoint, state | {"step": step, "seconds": seconds})
        if seconds >= budget:
            log.info("%d steps in %.0f s", step, seconds)
            return


def fit_sizes(net: torch.nn.Module, crops: Crops, arguments: argparse.Namespace) -> None:
    """Fit the model that tells the diameter from the style of an image."""
    from cellpose import train

    (arguments.output / SIZES).unlink(missing_ok=True)  # an earlier network's
    if not arguments.size_passes:
        return
    train.train_size(
        net,
        str(arguments.output / NETWORK),
        train_data=crops.images,
        train_labels=crops.flows,
        normalize={"normalize": False},  # they are
        min_train_masks=0,
        batch_size=arguments.batch,
        n_epochs=arguments.size_passes,
    )


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="of training, all tries together"
    )
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument(
        "--mean-diameter", type=float, default=17.0, help="nuclei are scaled to, pixels"
    )
    parser.add_argument(
        "--size-passes", type=int, default=3, help="over the images, for the size model; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--fold", type=int, default=7, help="held-out fold of 8; -1 for none")
    parser.add_argument(
        "--thin", type=int, default=1, help="choose on every n-th held-out image only"
    )
    return parser.parse_args(words)


def main() -> None:
    """Train, choose thresholds, and log the scores on the held-out fold."""
    arguments = parse_arguments()
    refuse_validation(arguments.data)
    arguments.output.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        handlers=[logging.StreamHandler(), logging.FileHandler(arguments.output / "log.txt")],
    )
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    from cellpose import models

    device = torch.device(arguments.device)
    outside, held = divided(arguments.data, arguments.fold)
    held = held[:: arguments.thin]
    log.info("%d training images, %d held out", len(outside), len(held))
    (arguments.output / "arguments.json").write_text(json.dumps(vars(arguments), default=str))
    crops = Crops(list(scenes(arguments.data, outside)), arguments)
    net = models.CellposeModel(
        pretrained_model=False, diam_mean=arguments.mean_diameter, device=device, mkldnn=False
    ).net
    net.diam_labels.data.fill_(float(crops.diameters.mean()))
    fit(net, crops, arguments)
    net.save_model(arguments.output / NETWORK)
    fit_sizes(net, crops, arguments)
    if held:
        run = CellposeRun(arguments.output, device=arguments.device)
        run.thresholds = choose(run, scenes(arguments.data, held))
        chosen = dataclasses.asdict(run.thresholds)
        (arguments.output / CHOSEN).write_text(json.dumps(chosen) + "\n", encoding="utf-8")
        log.info("chosen: %s", json.dumps(chosen))
        rows = {
            scene.name: scores.timed(lambda s: run.segment(s.image), scene)
            for scene in scenes(arguments.data, held)
        }
        log.info("%s", scores.report(rows))


if __name__ == "__main__":
    main()
