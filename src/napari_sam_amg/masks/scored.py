"""What finished masks and candidates have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.masks.table import MaskTable


class ScoredMasks:
    """N masks of one image and their scores.

    Attributes
    ----------
    store : MaskStore
        The pixels.
    table : MaskTable
        The scores.
    """

    store: MaskStore
    table: MaskTable

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.store.shape

    @property
    def predicted_iou(self) -> npt.NDArray[np.float32]:
        """The model's own estimate of each mask's quality, float32 N."""
        return self.table.predicted_iou

    @property
    def stability_score(self) -> npt.NDArray[np.float32]:
        """Area at the raised cutoff by area at the lowered one, float32 N."""
        return self.table.stability_score

    @property
    def points(self) -> npt.NDArray[np.float32]:
        """The prompts, (x, y) in pixels of the image, float32 Nx2."""
        return self.table.points

    @property
    def crop_boxes(self) -> npt.NDArray[np.int64]:
        """Left, top, width, height of the crops in pixels, int64 Nx4."""
        return self.table.crop_boxes

    @property
    def areas(self) -> npt.NDArray[np.int64]:
        """Pixels of each mask, int64 N."""
        return self.store.areas

    @property
    def bboxes(self) -> npt.NDArray[np.int64]:
        """sam2's boxes, int64 Nx4: x0, y0, xmax - xmin, ymax - ymin in pixels."""
        return self.store.bboxes

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return self.store.nbytes + self.table.nbytes

    def __len__(self) -> int:
        return len(self.store)

    def __repr__(self) -> str:
        height, width = self.shape
        kind = type(self).__name__.lower()
        return f"<{len(self)} {kind} of an image of {height} x {width} pixels>"
