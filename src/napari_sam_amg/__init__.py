"""Find every object in a microscopy image with SAM 2's automatic mask generation.

The public API; names are loaded on first use, so importing the package is quick and
loads neither torch nor napari.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam_amg.engine import AutomaticMaskGenerator, Step
    from napari_sam_amg.errors import SamAmgError
    from napari_sam_amg.formats import read_coco, read_png_folder
    from napari_sam_amg.masks import Masks, Proposals
    from napari_sam_amg.models import list_models, load_model
    from napari_sam_amg.parameters import AmgParameters

__version__ = "0.1.0"

_HOMES = {
    "AutomaticMaskGenerator": "engine",
    "Step": "engine",
    "SamAmgError": "errors",
    "read_coco": "formats",
    "read_png_folder": "formats",
    "Masks": "masks",
    "Proposals": "masks",
    "list_models": "models",
    "load_model": "models",
    "AmgParameters": "parameters",
}

__all__ = [
    "AmgParameters",
    "AutomaticMaskGenerator",
    "Masks",
    "Proposals",
    "SamAmgError",
    "Step",
    "__version__",
    "list_models",
    "load_model",
    "read_coco",
    "read_png_folder",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
