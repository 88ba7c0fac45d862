"""Images as other microscopes and other days give them, with their labels."""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from held_out import Scene

DARKEST = 0.3
"""What uneven illumination leaves of the brightness in one corner."""


def _span(image: npt.NDArray[np.generic]) -> float:
    """Return the range of an image's values without outliers, as the model's contrast is."""
    low, high = np.percentile(image, [0.1, 99.9])
    return float(max(high - low, 1))


def _random(scene: Scene) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(scene.name.encode()))


def _with_image(scene: Scene, image: npt.NDArray[np.generic]) -> Scene:
    return dataclasses.replace(scene, image=image)


def inverted(scene: Scene) -> Scene:
    """Swap dark and bright."""
    return _with_image(scene, scene.image.max() - scene.image)


def resized(scene: Scene, factor: float) -> Scene:
    """Change the number of pixels; labels take the nearest one."""
    from skimage.transform import resize

    height, width = (max(1, round(side * factor)) for side in scene.labels.shape)
    image = resize(
        scene.image.astype(np.float32),
        (height, width, *scene.image.shape[2:]),
        order=1,
        anti_aliasing=factor < 1,
        preserve_range=True,
    )
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int)
        for new, old in zip((height, width), scene.labels.shape, strict=True)
    )
    return dataclasses.replace(
        scene, image=image.round().astype(np.uint8), labels=scene.labels[np.ix_(rows, columns)]
    )


def blurred(scene: Scene, sigma: float) -> Scene:
    """Blur by a Gaussian of so many pixels."""
    from scipy import ndimage

    sigmas = (sigma, sigma, 0)[: scene.image.ndim]
    return _with_image(scene, ndimage.gaussian_filter(scene.image.astype(np.float32), sigmas))


def noisy(scene: Scene, share: float) -> Scene:
    """Add Gaussian noise whose standard deviation is a share of the range."""
    noise = _random(scene).normal(0, share * _span(scene.image), scene.image.shape)
    return _with_image(scene, (scene.image + noise).astype(np.float32))


def sixteen_bit(scene: Scene) -> Scene:
    """Return the same values on a camera's offset, with another gain."""
    return _with_image(scene, scene.image.astype(np.uint16) * np.uint16(37) + np.uint16(1000))


def uneven(scene: Scene) -> Scene:
    """Darken smoothly from one corner to the opposite one."""
    y, x = (np.linspace(0, 1, side) for side in scene.labels.shape)
    corner = int(_random(scene).integers(4))
    y, x = (y[::-1] if corner & 1 else y), (x[::-1] if corner & 2 else x)
    along = (y[:, None] + x[None, :]) / 2
    light = DARKEST + (1 - DARKEST) * (0.5 - 0.5 * np.cos(np.pi * along))
    light = light.reshape(*light.shape, *[1] * (scene.image.ndim - 2))
    return _with_image(scene, (scene.image * light).astype(np.float32))


CHANGES: dict[str, Callable[[Scene], Scene]] = {
    "clean": lambda scene: scene,
    "inverted": inverted,
    "half the size": lambda scene: resized(scene, 0.5),
    "twice the size": lambda scene: resized(scene, 2),
    "blur, sigma 1": lambda scene: blurred(scene, 1),
    "blur, sigma 2": lambda scene: blurred(scene, 2),
    "noise, 5 % of the range": lambda scene: noisy(scene, 0.05),
    "noise, 10 % of the range": lambda scene: noisy(scene, 0.1),
    "16 bit, offset and gain": sixteen_bit,
    f"uneven illumination, {DARKEST:g} to 1": uneven,
}
