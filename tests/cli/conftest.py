"""A generator that needs no model: its objects are the bright spots of the image."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_sam_amg.models.profiles import InputProfile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Step:
    done: int
    total: int
    stage: str
    result: Any = None


@dataclass
class SpotGenerator:
    """Stands for `AutomaticMaskGenerator`; `before_step` may raise."""

    before_step: Callable[[str, int], None] = lambda name, number: None
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    info: Any = field(default_factory=lambda: SimpleNamespace(profile=InputProfile()))
    configurations: list[dict[str, Any]] = field(default_factory=list)

    def configured(self, **keywords: Any) -> SpotGenerator:
        """Keep what a generator is configured for."""
        self.configurations.append(keywords)
        return self

    def steps(self, image: np.ndarray, *, name: str) -> Iterator[Step]:
        from napari_sam_amg.masks import Masks

        self.seen.append(name)
        for number in (1, 2):
            self.before_step(name, number)
            yield Step(number, 3, "decode")
        self.before_step(name, 3)
        provenance = {
            "source": name,
            "input": {"notes": list(self.notes)},
            **self.provenance,
        }
        spots = spots_of(image)
        masks = (
            Masks.from_arrays(
                spots,
                predicted_iou=[0.9] * len(spots),
                stability_score=[0.8] * len(spots),
                provenance=provenance,
            )
            if spots
            else Masks.empty(image.shape[:2], provenance=provenance)
        )
        yield Step(3, 3, "select", masks)


def spots_of(image: np.ndarray) -> list[np.ndarray]:
    """Return one mask for each connected spot, and one that covers all of them."""
    from scipy.ndimage import label

    bright = (image if image.ndim == 2 else image[..., 0]) > 127
    labels, count = label(bright)
    masks = [labels == i for i in range(1, count + 1)]
    return [*masks, bright] if count > 1 else masks


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> SpotGenerator:
    """Take the place of the model; `load_generator` counts as not under test."""
    fake = SpotGenerator()
    monkeypatch.setattr("napari_sam_amg.cli.run.load_generator", lambda options: fake)
    return fake


def paint(path: Path, seed: int = 0, spots: int = 3) -> np.ndarray:
    """Write and return an 8-bit image with bright rectangles that do not touch."""
    chance = np.random.default_rng(seed)
    image = np.full((40, 60), 10, np.uint8)
    for i in range(spots):
        h, w = chance.integers(2, 8, 2)
        image[i * 12 : i * 12 + h, 5 + i * 15 : 5 + i * 15 + w] = 200
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return image


@pytest.fixture
def painted() -> Callable[..., np.ndarray]:
    return paint


@pytest.fixture
def spots() -> Callable[[np.ndarray], list[np.ndarray]]:
    return spots_of


@pytest.fixture
def new_generator() -> type[SpotGenerator]:
    return SpotGenerator
