"""Sample images for napari's File > Open Sample menu (BBBC038, CC0)."""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import Any

LayerData = tuple[Any, dict[str, Any], str]


def _sample(file_name: str, layer_name: str, **keywords: Any) -> list[LayerData]:
    from napari_sam_amg.formats.images import read_image

    with as_file(files("napari_sam_amg") / "data" / "samples" / file_name) as path:
        image = read_image(path)
    source = "BBBC038 (2018 Data Science Bowl, Broad Institute), CC0"
    return [(image, {"name": layer_name, "metadata": {"source": source}, **keywords}, "image")]


def fluorescence() -> list[LayerData]:
    """Return a field of fluorescently stained nuclei, uint8, 520x696."""
    return _sample("fluorescence.png", "nuclei (fluorescence)", colormap="gray")


def tissue() -> list[LayerData]:
    """Return stained tissue, uint8 RGB, 256x320."""
    return _sample("tissue.png", "nuclei (tissue)", rgb=True)
