"""A mosaic of real nuclei, and a generator for it that asks a quick stand-in for a model."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg import AutomaticMaskGenerator
from pretend_model import pretending

KEEP_MOST = {"pred_iou_thresh": 0.05, "stability_score_thresh": 0.05}


@pytest.fixture(scope="session")
def mosaic(sample_images):
    """Four small copies of the fluorescence sample, mirrored: uint8, 348x464."""
    part = sample_images[0][::3, ::3]
    top = np.hstack([part, part[:, ::-1]])
    return np.ascontiguousarray(np.vstack([top, top[::-1]]))


@pytest.fixture
def pretend(small):
    """Make a generator of parameters, with the stand-in; uint8 is mapped, as it is."""
    with pretending():
        yield lambda contrast=(0, 255), **parameters: AutomaticMaskGenerator(
            small, contrast=contrast, **{**KEEP_MOST, **parameters}
        )
