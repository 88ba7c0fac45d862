"""napari's Open: results that were saved come back as Labels layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.plugin.layers import layer_tuple

if TYPE_CHECKING:
    from collections.abc import Callable

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """Return a reader for a COCO dataset or a folder of ours; None for anything else."""
    if isinstance(path, list):
        return None
    place = Path(path)
    if place.is_dir():
        if (place / "metadata.csv").is_file():
            return read_png_folder
        return (
            read_large if (place / "run.json").is_file() and (place / "labels").is_dir() else None
        )
    return read_coco if place.suffix.lower() == ".json" and place.is_file() else None


def read_png_folder(path: str) -> list[LayerData]:
    """Read a PNG folder as one Labels layer with its features and overlapping masks."""
    from napari_sam_amg.formats import read_png_folder as read

    return [layer_tuple(read(path), name=Path(path).name)]


def read_coco(path: str) -> list[LayerData]:
    """Read a COCO dataset, a Labels layer for each image."""
    from napari_sam_amg.formats import read_coco as read

    return [layer_tuple(masks, name=name) for name, masks in read(path).items()]


def read_large(path: str) -> list[LayerData]:
    """Read the result of a very large plane as a lazy Labels layer with its features."""
    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.plugin.large_run import placed_layer

    return [placed_layer(LargeResult.open(path))]
