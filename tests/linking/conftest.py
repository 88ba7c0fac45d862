"""Volumes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(params=range(3))
def ellipsoids(request) -> np.ndarray:
    """A volume, int32 12x90x120, of 12 leaning ellipsoids, none above another."""
    rng = np.random.default_rng(request.param)
    volume = np.zeros((12, 90, 120), dtype=np.int32)
    z, y, x = np.indices(volume.shape)
    label = 0
    for row in range(3):
        for column in range(4):
            depth = rng.uniform(2, 5)
            middle = np.array([rng.uniform(2, 9), 15 + 30 * row, 15 + 30 * column])
            radii = rng.uniform(8, 13, 2)
            lean = rng.uniform(-0.4, 0.4, 2)
            height = z - middle[0]
            inside = (height / depth) ** 2
            inside = inside + ((y - middle[1] - lean[0] * height) / radii[0]) ** 2
            inside = inside + ((x - middle[2] - lean[1] * height) / radii[1]) ** 2
            label += 1
            volume[(inside < 1) & (volume == 0)] = label
    return volume
