"""From rows of a file to `Masks`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.limits import MAX_MASK_PIXELS
from napari_sam_amg.formats.values import to_box, to_float32, to_numbers
from napari_sam_amg.masks import Masks, MaskStore, MaskTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_sam_amg.masks.window import Window

log = logging.getLogger(__name__)


class PixelBudget:
    """Bounds the memory that one file can make its reader take.

    Parameters
    ----------
    where : str
        What errors call the file.
    most : int
        Most pixels of all masks' windows together.
    """

    def __init__(self, where: str, most: int = MAX_MASK_PIXELS) -> None:
        self.where = where
        self.most = most
        self._left = most

    def spend(self, pixels: int) -> None:
        """Take `pixels` from the budget.

        Raises
        ------
        ReadError
            If it is spent.
        """
        self._left -= pixels
        if self._left < 0:
            raise ReadError(
                f"{self.where}: the masks cover more than {self.most:,} pixels together; it is "
                "damaged or made to exhaust memory. If it is right, raise max_mask_pixels"
            )


def score_row(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a record or annotation says of its mask besides the pixels, checked.

    Raises
    ------
    ReadError
        If one of the values is damaged; what is missing is None or NaN.
    """
    points, box = entry.get("point_coords"), entry.get("crop_box")
    if points is not None and not (isinstance(points, list) and len(points) == 1):
        raise ReadError(f"{where}: point_coords is not a list of one point")
    iou = entry.get("predicted_iou", entry.get("score"))
    stability = entry.get("stability_score")
    return {
        "predicted_iou": to_float32(iou, f"{where}: predicted_iou"),
        "stability_score": to_float32(stability, f"{where}: stability_score"),
        "points": None if points is None else to_numbers(points[0], 2, f"{where}: point_coords"),
        "crop_boxes": None if box is None else to_box(box, f"{where}: crop_box"),
    }


def build_masks(
    shape: tuple[int, int],
    windows: Iterable[tuple[int, int, Window] | None],
    rows: Sequence[Mapping[str, Any]],
    *,
    keywords: Mapping[str, Any],
    budget: PixelBudget,
) -> Masks:
    """Put masks together from what was read of each.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    windows : iterable
        For each row left, top and pixels; None for a mask without pixels, which is left
        out with a warning.
    rows : sequence of mapping
        ``predicted_iou``, ``stability_score``, ``points`` and ``crop_boxes`` of each;
        what is None becomes NaN, or the whole image.
    keywords : mapping
        For `Masks`.
    budget : PixelBudget
        Of the file.

    Returns
    -------
    Masks

    Raises
    ------
    ReadError
        If the masks take more memory than is allowed, or than there is.
    """
    kept: list[int] = []

    def filled() -> Iterator[tuple[int, int, Window]]:
        for index, window in enumerate(windows):
            if window is None:
                continue
            budget.spend(window[2].size)
            kept.append(index)
            yield window

    try:
        store = MaskStore.from_windows(shape, filled())
    except MemoryError:
        raise ReadError(f"{budget.where}: its masks need more memory than there is") from None
    if len(kept) < len(rows):
        log.warning("%s: left out %d masks without pixels", budget.where, len(rows) - len(kept))
    found = [rows[index] for index in kept]

    def column(name: str, missing: Any = np.nan) -> list[Any]:
        return [missing if row[name] is None else row[name] for row in found]

    table = MaskTable(
        predicted_iou=np.array(column("predicted_iou"), dtype=np.float32),
        stability_score=np.array(column("stability_score"), dtype=np.float32),
        points=np.array(column("points", [np.nan, np.nan]), dtype=np.float32),
        crop_boxes=np.array(column("crop_boxes", [0, 0, shape[1], shape[0]]), dtype=np.int64),
    )
    return Masks(store, table, **keywords)
