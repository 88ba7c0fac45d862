"""The scores of many masks, a column each."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_sam_amg.masks.store import MaskStore


@dataclasses.dataclass(frozen=True, eq=False)
class MaskTable:
    """What is known of each mask besides its pixels; N rows.

    Attributes
    ----------
    predicted_iou : ndarray, float32, N
        The model's own estimate of the mask's quality.
    stability_score : ndarray, float32, N
        Area at the raised cutoff divided by area at the lowered one.
    points : ndarray, float32, Nx2
        The prompt, (x, y) in pixels of the image.
    crop_boxes : ndarray, int64, Nx4
        Left, top, width and height of the crop that the mask was found in, in pixels.

    Raises
    ------
    ValueError
        If the columns do not fit together.
    """

    predicted_iou: npt.NDArray[np.float32]
    stability_score: npt.NDArray[np.float32]
    points: npt.NDArray[np.float32]
    crop_boxes: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(np.atleast_1d(self.predicted_iou))
        kinds = {
            "predicted_iou": (np.float32, (count,)),
            "stability_score": (np.float32, (count,)),
            "points": (np.float32, (count, 2)),
            "crop_boxes": (np.int64, (count, 4)),
        }
        for name, (dtype, shape) in kinds.items():
            column = np.array(getattr(self, name), dtype=dtype)
            if column.size == 0 and count == 0:
                column = column.reshape(shape)
            if column.shape != shape:
                raise ValueError(f"{name} has shape {column.shape}, expected {shape}")
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    @classmethod
    def unknown(cls, store: MaskStore, **known: npt.ArrayLike | None) -> MaskTable:
        """Return a table for masks that no run made.

        Parameters
        ----------
        store : MaskStore
            The masks.
        **known
            Columns that are known. The others, and those that are None, become NaN, and
            crop boxes the whole image.
        """
        count = len(store)
        height, width = store.shape
        columns: dict[str, Any] = {
            "predicted_iou": np.full(count, np.nan),
            "stability_score": np.full(count, np.nan),
            "points": np.full((count, 2), np.nan),
            "crop_boxes": np.tile([0, 0, width, height], (count, 1)),
        }
        given = {name: values for name, values in known.items() if values is not None}
        return cls(**{**columns, **given})

    def __len__(self) -> int:
        return len(self.predicted_iou)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held."""
        return sum(getattr(self, field.name).nbytes for field in dataclasses.fields(self))

    def take(self, indices: npt.NDArray[np.int64]) -> MaskTable:
        """Return the rows at `indices`, in that order."""
        return MaskTable(
            *(getattr(self, field.name)[indices] for field in dataclasses.fields(self))
        )

    def followed_by(self, other: MaskTable) -> MaskTable:
        """Return the rows of this table, then those of `other`."""
        columns = (field.name for field in dataclasses.fields(self))
        return MaskTable(*(np.concatenate([getattr(self, c), getattr(other, c)]) for c in columns))
