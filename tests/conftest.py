"""Fixtures that several suites share."""

from __future__ import annotations

import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "benchmarks", HERE.parent / "training"):
    sys.path.insert(0, str(folder))

# A shell lets what it starts in the background ignore Ctrl-C, and so would all programs that
# tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sample_paths() -> list[Path]:
    """The packaged sample images: fluorescence (HxW) and tissue (HxWx3)."""
    folder = Path(str(files("napari_sam_amg"))) / "data" / "samples"
    return [folder / "fluorescence.png", folder / "tissue.png"]


@pytest.fixture(scope="session")
def sample_images(sample_paths) -> list[np.ndarray]:
    """The packaged sample images, uint8."""
    import imageio.v3 as iio

    return [iio.imread(path) for path in sample_paths]


@pytest.fixture(scope="session")
def nano():
    """The embedded model."""
    from napari_sam_amg import load_model

    return load_model("nuclei-nano", device="cpu")


@pytest.fixture(scope="session")
def small(nano):
    """The embedded weights with a 128 pixel input: sixteen times quicker on small images.

    Without the object head, as Meta's models are.
    """
    from dataclasses import replace

    from napari_sam_amg.models.architecture import ARCHITECTURES, build

    model = build(replace(ARCHITECTURES["nuclei-nano"], image_size=128))
    weights = nano.state_dict().items()
    model.load_state_dict({k: v for k, v in weights if not k.startswith("object_head.")})
    return model


@pytest.fixture
def ngff() -> Callable[..., None]:
    """Write an OME-Zarr image: folder, data, axes; see `_ngff.write_ngff`."""
    from _ngff import write_ngff

    return write_ngff
