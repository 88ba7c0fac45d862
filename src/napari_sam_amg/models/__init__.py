"""Which models there are, and how they come in: registry, download, safe loading, device.

Names are loaded on first use: listing models loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.models.devices import choose_device
    from napari_sam_amg.models.download import fetch
    from napari_sam_amg.models.loading import LoadedModel, load_model, resolve
    from napari_sam_amg.models.profiles import InputProfile, ModelInfo
    from napari_sam_amg.models.registry import list_models, model_info

_HOMES = {
    "InputProfile": "profiles",
    "LoadedModel": "loading",
    "ModelInfo": "profiles",
    "choose_device": "devices",
    "fetch": "download",
    "list_models": "registry",
    "load_model": "loading",
    "model_info": "registry",
    "resolve": "loading",
}

__all__ = [
    "InputProfile",
    "LoadedModel",
    "ModelInfo",
    "choose_device",
    "fetch",
    "list_models",
    "load_model",
    "model_info",
    "resolve",
]

__getattr__ = attach(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
