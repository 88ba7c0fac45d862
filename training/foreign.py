"""Images that are none of nuclei: drawn ones, and photographs that come with scikit-image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    Grey = npt.NDArray[np.float64]

SIDE = 320
"""Of a drawn image, and at most of a photograph's part, in pixels."""

PHOTOGRAPHS = {
    "texture": ("brick.png", "grass.png", "gravel.png"),
    "text": ("page.png", "text.png"),
    "photograph": ("camera.png", "astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg"),
    "round things": ("coins.png", "hubble_deep_field.jpg", "moon.png", "retina.jpg"),
    "unseen tissue": ("ihc.png",),
    "phase contrast, real": ("cell.png",),
}
"""Files of scikit-image's own folder, by family; those that are not there are left out."""


def _smooth(rng: np.random.Generator, sigma: float) -> Grey:
    """Return smooth random values with mean 0 and standard deviation 1."""
    values = ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), sigma, mode="wrap")
    return np.asarray((values - values.mean()) / values.std())


def _distances(rng: np.random.Generator, count: int) -> tuple[Grey, Grey]:
    """Return how far each pixel is from the nearest of random points, and from the second."""
    y, x = np.indices((SIDE, SIDE))
    points = rng.uniform(0, SIDE, (count, 2))
    away = np.sort([np.hypot(y - r, x - c) for r, c in points], axis=0)
    return away[0], away[1]


def white_noise(rng: np.random.Generator) -> Grey:
    """Noise from pixel to pixel."""
    return rng.normal(128, 20, (SIDE, SIDE))


def smooth_noise(rng: np.random.Generator) -> Grey:
    """Clouds of a random size."""
    return 128 + 40 * _smooth(rng, rng.uniform(3, 20))


def empty(rng: np.random.Generator) -> Grey:
    """Nothing but background, a camera's noise and a few hot pixels."""
    field = 20 + 4 * _smooth(rng, 80) + rng.normal(0, 2, (SIDE, SIDE))
    field[rng.random(field.shape) < 1e-4] += rng.uniform(20, 200)
    return field


def out_of_focus(rng: np.random.Generator) -> Grey:
    """Spots so blurred that no object can be told."""
    spots = (rng.random((SIDE, SIDE)) < 2e-3).astype(float)
    return 20 + 4e3 * ndimage.gaussian_filter(spots, 28) + rng.normal(0, 1.5, (SIDE, SIDE))


def phase_contrast(rng: np.random.Generator) -> Grey:
    """Grey cells with granules and a bright halo on a grey ground, as in phase contrast."""
    y, x = np.indices((SIDE, SIDE))
    image = np.full((SIDE, SIDE), 128.0)
    for _ in range(int(rng.integers(8, 25))):
        r, c, angle = *rng.uniform(0, SIDE, 2), rng.uniform(0, np.pi)
        long, short = rng.uniform(22, 55), rng.uniform(10, 20)
        u = (x - c) * np.cos(angle) + (y - r) * np.sin(angle)
        v = (y - r) * np.cos(angle) - (x - c) * np.sin(angle)
        out = np.hypot(u / long, v / short) - 1 + 0.15 * _smooth(rng, 9)
        out *= short
        image += 70 * np.exp(-((out - 3) ** 2) / 8) - 28 / (1 + np.exp(out / 1.5))
        image += (out < 0) * 12 * _smooth(rng, 1.5)
    return image + rng.normal(0, 4, image.shape)


def relief(rng: np.random.Generator) -> Grey:
    """Shadowed bumps, as in differential interference contrast."""
    height = 5 * np.maximum(_smooth(rng, rng.uniform(6, 14)), 0)
    slope = ndimage.sobel(height, 0) + ndimage.sobel(height, 1)
    return 128 + 25 * slope / slope.std() + rng.normal(0, 4, height.shape)


def membranes(rng: np.random.Generator) -> Grey:
    """Bright borders between dark cells."""
    first, second = _distances(rng, int(rng.integers(25, 90)))
    image = 20 + 160 * np.exp(-(((second - first) / 4) ** 2))
    return ndimage.gaussian_filter(image, 1) + rng.normal(0, 4, image.shape)


def filaments(rng: np.random.Generator) -> Grey:
    """Thin bright curves, as of a cytoskeleton."""
    image = np.full((SIDE, SIDE), 15.0)
    for _ in range(int(rng.integers(4, 9))):
        image += 90 * np.exp(-((_smooth(rng, rng.uniform(15, 40)) / 0.08) ** 2))
    return ndimage.gaussian_filter(image, 1) + rng.normal(0, 4, image.shape)


DRAWN: dict[str, Callable[[np.random.Generator], Grey]] = {
    "white noise": white_noise,
    "smooth noise": smooth_noise,
    "empty": empty,
    "out of focus": out_of_focus,
    "phase contrast, drawn": phase_contrast,
    "relief": relief,
    "membranes": membranes,
    "filaments": filaments,
}


def _parts(path: Path) -> Iterator[npt.NDArray[Any]]:
    """Yield one or two parts of a picture, a third and two thirds of the way down and across."""
    import imageio.v3 as iio

    image = iio.imread(path)
    if image.ndim == 3:
        image = image[..., :3]
    spare = [max(0, side - SIDE) for side in image.shape[:2]]
    for third in (1, 2) if max(spare) > SIDE // 4 else (1,):
        top, left = (third * side // 3 for side in spare)
        yield image[top : top + SIDE, left : left + SIDE]


def foreign(each: int, seed: int = 0) -> Iterator[tuple[str, str, npt.NDArray[np.uint8]]]:
    """Yield family, name and image: `each` of every drawn family, then the photographs.

    Images are uint8, HxW or HxWx3.
    """
    for family, draw in DRAWN.items():
        for number in range(each):
            rng = np.random.default_rng([seed, number, *family.encode()])
            image = np.clip(draw(rng), 0, 255).round().astype(np.uint8)
            yield family, f"{family} {number}", image
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    for family, files in PHOTOGRAPHS.items():
        for file in files:
            if (folder / file).exists():
                for number, part in enumerate(_parts(folder / file)):
                    yield family, f"{file} {number}", part
