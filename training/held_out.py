"""Which images are scored, what kind they are of, and what is found in them."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio

from data import read_fields, split_names

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import numpy as np

    from napari_sam_amg import AutomaticMaskGenerator

log = logging.getLogger("held_out")

FOLDS = 8
SIZES = {(256, 256): "256x256", (360, 360): "360x360", (520, 696): "520x696"}
"""Heights and widths of fluorescence that have a kind of their own."""


@dataclass(frozen=True)
class Scene:
    """One image to be scored.

    Attributes
    ----------
    name, field, look : str
        As in ``fields.csv``; an image that is not named there is a field of its own.
    image : ndarray, HxW or HxWx3
        As it was read.
    labels : ndarray, integers, HxW
        0 for background, 1 to n for the true objects.
    """

    name: str
    field: str
    look: str
    image: np.ndarray
    labels: np.ndarray

    @property
    def kind(self) -> str:
        """What kind of image it is of; see `kind`."""
        return kind(self.look, self.labels.shape)


def kind(look: str, shape: tuple[int, ...]) -> str:
    """Name the kind of an image by its look and its height and width in pixels."""
    if look == "dark":
        return f"fluorescence, {SIZES.get((shape[0], shape[1]), 'other sizes')}"
    return {"color": "stained tissue, colour", "bright": "brightfield, grey"}.get(look, look)


def groups(look: str, shape: tuple[int, ...]) -> list[str]:
    """Name the groups that an image is reported in, its kind last."""
    tiled = "larger than 512 pixels" if max(shape) > 512 else "up to 512 pixels"
    look_group = "fluorescence" if look == "dark" else "the rest"
    return ["all", look_group, tiled, kind(look, shape)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which model is scored on which images."""
    parser.add_argument("data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--model", default="nuclei-nano", help="name or checkpoint path")
    parser.add_argument("--parameters", type=json.loads, default={}, help="AMG parameters, JSON")
    parser.add_argument("--fold", type=int, help=f"only this held-out fold of {FOLDS}")
    parser.add_argument("--every", type=int, default=1, help="only every n-th image")
    parser.add_argument("--threads", type=int, help="of the CPU; torch's own number by default")


def start(arguments: argparse.Namespace) -> None:
    """Write what is logged to the screen, and use so many threads."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)


def refuse_validation(data: Path) -> None:
    """Refuse to choose anything on the images that the card is measured on.

    Raises
    ------
    SystemExit
        If the folder is called ``val``.
    """
    if data.resolve().name == "val":
        raise SystemExit(f"{data}: nothing is chosen on val/; use a fold of train/")


def divided(data: Path, fold: int) -> tuple[list[str], list[str]]:
    """Return the file names of the images outside a held-out fold, and of those in it."""
    fields = read_fields(data)
    names = [path.name for path in (data / "images").glob("*.png")]
    return split_names({n: fields[n][0] for n in names}, fold, FOLDS)


def names_of(data: Path, fold: int | None, every: int) -> list[str]:
    """Return the file names of the images of a fold, or of all; of these every n-th."""
    if fold is None:
        names = sorted(path.name for path in (data / "images").glob("*.png"))
    else:
        names = divided(data, fold)[1]
    if not names[::every]:
        raise SystemExit(f"{data}: no images")
    return names[::every]


def scenes(data: Path, names: list[str]) -> Iterator[Scene]:
    """Read images one by one."""
    fields = read_fields(data)
    for name in names:
        field, look = fields.get(name, (name, "unknown"))
        image = iio.imread(data / "images" / name)
        yield Scene(name, field, look, image, iio.imread(data / "labels" / name))


def make_generator(arguments: argparse.Namespace) -> AutomaticMaskGenerator:
    """Load the model with its recommended parameters, but for those that are given."""
    from napari_sam_amg import AutomaticMaskGenerator

    generator = AutomaticMaskGenerator(arguments.model, **arguments.parameters)
    if not generator.info.recommended and not arguments.parameters:
        log.warning(
            "%s brings no recommended parameters: sam2's own are used, with a grid of points; "
            "give others with --parameters, or put it in the package's place (export.py)",
            arguments.model,
        )
    return generator


def provenance(generator: AutomaticMaskGenerator, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what a written result says of how it was made (JSON)."""
    return {
        "data": arguments.data.resolve().name,
        "fold": arguments.fold,
        "every": arguments.every,
        "model": generator.info.name,
        "sha256": generator.info.sha256,
        "parameters": json.loads(generator.parameters.model_dump_json()),
    }
