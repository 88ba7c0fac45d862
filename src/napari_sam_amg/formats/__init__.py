"""Files of masks: written whole or not at all, and read back without loss.

Names are loaded on first use, so importing the package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.formats.coco import read_coco, write_coco
    from napari_sam_amg.formats.csv_table import staged_table, write_table
    from napari_sam_amg.formats.geojson import write_geojson
    from napari_sam_amg.formats.imagej import write_imagej_rois
    from napari_sam_amg.formats.images import read_image
    from napari_sam_amg.formats.label_stack import LabelStack, write_label_stack
    from napari_sam_amg.formats.label_tiff import (
        read_label_features,
        read_label_provenance,
        read_labels,
        write_labels,
    )
    from napari_sam_amg.formats.ome_zarr import write_ome_zarr
    from napari_sam_amg.formats.png_folder import read_png_folder, write_png_folder
    from napari_sam_amg.formats.rle_json import read_rle_json, write_rle_json

_HOMES = {
    "LabelStack": "label_stack",
    "read_coco": "coco",
    "read_image": "images",
    "read_label_features": "label_tiff",
    "read_label_provenance": "label_tiff",
    "read_labels": "label_tiff",
    "read_png_folder": "png_folder",
    "read_rle_json": "rle_json",
    "staged_table": "csv_table",
    "write_coco": "coco",
    "write_geojson": "geojson",
    "write_imagej_rois": "imagej",
    "write_label_stack": "label_stack",
    "write_labels": "label_tiff",
    "write_ome_zarr": "ome_zarr",
    "write_png_folder": "png_folder",
    "write_rle_json": "rle_json",
    "write_table": "csv_table",
}

__all__ = [
    "LabelStack",
    "read_coco",
    "read_image",
    "read_label_features",
    "read_label_provenance",
    "read_labels",
    "read_png_folder",
    "read_rle_json",
    "staged_table",
    "write_coco",
    "write_geojson",
    "write_imagej_rois",
    "write_label_stack",
    "write_labels",
    "write_ome_zarr",
    "write_png_folder",
    "write_rle_json",
    "write_table",
]

__getattr__ = attach(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
