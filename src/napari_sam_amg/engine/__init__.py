"""Automatic mask generation on sam2's modules. Knows nothing of napari or Qt."""

from napari_sam_amg.engine.generator import AutomaticMaskGenerator
from napari_sam_amg.engine.run import Step

__all__ = ["AutomaticMaskGenerator", "Step"]
