"""Find every object in a microscopy image with SAM 2's automatic mask generation.

The public API; names are loaded on first use, so importing the package is quick and
loads neither torch nor napari. `formats` reads and writes files of masks, `sources` opens
images of any number of planes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg import formats, sources
    from napari_sam_amg.engine import AutomaticMaskGenerator, Step
    from napari_sam_amg.errors import SamAmgError
    from napari_sam_amg.formats import read_coco, read_png_folder
    from napari_sam_amg.linking import (
        LinkParameters,
        TrackParameters,
        Tracks,
        Volume,
        link_and_track,
        link_slices,
        track_objects,
    )
    from napari_sam_amg.masks import Masks, Proposals
    from napari_sam_amg.models import list_models, load_model
    from napari_sam_amg.parameters import AmgParameters

    __version__: str

_HOMES = {
    "AutomaticMaskGenerator": "engine",
    "Step": "engine",
    "SamAmgError": "errors",
    "read_coco": "formats",
    "read_png_folder": "formats",
    "LinkParameters": "linking",
    "TrackParameters": "linking",
    "Tracks": "linking",
    "Volume": "linking",
    "link_and_track": "linking",
    "link_slices": "linking",
    "track_objects": "linking",
    "Masks": "masks",
    "Proposals": "masks",
    "list_models": "models",
    "load_model": "models",
    "AmgParameters": "parameters",
}

__all__ = [
    "AmgParameters",
    "AutomaticMaskGenerator",
    "LinkParameters",
    "Masks",
    "Proposals",
    "SamAmgError",
    "Step",
    "TrackParameters",
    "Tracks",
    "Volume",
    "__version__",
    "formats",
    "link_and_track",
    "link_slices",
    "list_models",
    "load_model",
    "read_coco",
    "read_png_folder",
    "sources",
    "track_objects",
]

_load = attach(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name in ("formats", "sources"):
        return importlib.import_module(f"{__name__}.{name}")
    if name == "__version__":
        # What pyproject.toml says, as it was installed.
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("napari-sam-amg")
        except PackageNotFoundError:
            return "unknown"
    return _load(name)


def __dir__() -> list[str]:
    return sorted(__all__)
