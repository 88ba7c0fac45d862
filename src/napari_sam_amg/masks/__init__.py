"""Many overlapping masks of one image, held compactly and exactly, with their scores."""

from napari_sam_amg.masks.collection import Masks
from napari_sam_amg.masks.proposals import Proposals
from napari_sam_amg.masks.runs import run_lengths
from napari_sam_amg.masks.store import MaskStore
from napari_sam_amg.masks.table import MaskTable

__all__ = ["MaskStore", "MaskTable", "Masks", "Proposals", "run_lengths"]
