"""`Masks`: what a run found, ready to be looked at, measured and written."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks.doubt import doubt
from napari_sam_amg.masks.features import Columns, tabulate
from napari_sam_amg.masks.frames import packed
from napari_sam_amg.masks.labels import LabelImage, checked_rule, label_image, paint
from napari_sam_amg.masks.records import checked_mode, records
from napari_sam_amg.masks.scored import ScoredMasks
from napari_sam_amg.masks.store import MaskStore
from napari_sam_amg.masks.table import MaskTable
from napari_sam_amg.masks.window import Window, tight_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import pandas as pd

    from napari_sam_amg.parameters import OverlapRule


class Masks(ScoredMasks, Sequence[Window]):
    """Masks of one image, overlapping and nested as they were found.

    ``masks[3]`` is a bool HxW array; a slice, a list or an array of indices, or a bool
    array gives `Masks`. Mask i has label i + 1 wherever masks are shown or tabulated.

    Parameters
    ----------
    store : MaskStore
        The pixels of N masks.
    table : MaskTable
        Their scores, N rows.
    overlap : OverlapRule
        Which mask a pixel is shown as when several cover it; see `to_labels`.
    output_mode : OutputMode
        Form of `records` unless said otherwise.
    provenance : mapping, optional
        What made the masks; must be JSON.

    Attributes
    ----------
    store, table, overlap, output_mode, provenance
        As given; `provenance` is a copy.

    Raises
    ------
    ParameterError
        If `store` and `table` differ in length, or there is no such overlap rule or output
        mode.
    """

    def __init__(
        self,
        store: MaskStore,
        table: MaskTable,
        *,
        overlap: str = "smallest_on_top",
        output_mode: str = "binary_mask",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        if len(store) != len(table):
            raise ParameterError(f"{len(store)} masks, but scores for {len(table)}")
        self.store = store
        self.table = table
        self._overlap = checked_rule(overlap)
        self.output_mode = checked_mode(output_mode)
        self.provenance: dict[str, Any] = copy.deepcopy(dict(provenance or {}))
        self._columns: Columns | None = None

    @classmethod
    def empty(cls, shape: tuple[int, int], **keywords: Any) -> Masks:
        """Return no masks of an image of `shape` (height, width); `keywords` as for `Masks`."""
        store = MaskStore.from_windows(shape, [])
        return cls(store, MaskTable.unknown(store), **keywords)

    @classmethod
    def from_arrays(
        cls,
        arrays: Iterable[npt.ArrayLike],
        *,
        shape: tuple[int, int] | None = None,
        predicted_iou: npt.ArrayLike | None = None,
        stability_score: npt.ArrayLike | None = None,
        points: npt.ArrayLike | None = None,
        crop_boxes: npt.ArrayLike | None = None,
        **keywords: Any,
    ) -> Masks:
        """Make masks from full-size arrays.

        Parameters
        ----------
        arrays : iterable of array, HxW
            Not zero means inside; each with at least one pixel. Of a generator, only one
            array is held at a time.
        shape : tuple of int, optional
            Height and width in pixels; needed only if there are no arrays.
        predicted_iou, stability_score : array, N, optional
            NaN if not given.
        points : array, Nx2, optional
            The prompts, (x, y) in pixels; NaN if not given.
        crop_boxes : array, Nx4, optional
            Left, top, width, height in pixels; the whole image if not given.
        **keywords
            As for `Masks`.

        Raises
        ------
        ImageError
            If arrays differ in shape, are not two-dimensional or have no pixel.
        ParameterError
            If a column does not fit.
        """
        store = packed(arrays, shape)
        try:
            table = MaskTable.unknown(
                store,
                predicted_iou=predicted_iou,
                stability_score=stability_score,
                points=points,
                crop_boxes=crop_boxes,
            )
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{error}; give a row for each of {len(store)} masks") from error
        return cls(store, table, **keywords)

    @property
    def overlap(self) -> OverlapRule:
        """The overlap rule that `to_labels` and ``area_visible`` go by."""
        return self._overlap

    @overload
    def __getitem__(self, index: int) -> Window: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | npt.NDArray[Any]) -> Masks: ...
    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> Window | Masks:
        rows = np.arange(len(self))
        # NumPy takes an empty list for floats.
        empty = isinstance(index, Sequence) and not len(index)
        rows = rows[:0] if empty else rows[index]
        if np.ndim(rows) == 0:
            return self.store.full(int(rows))
        if rows.ndim > 1:
            raise IndexError("masks are a sequence: index them along one dimension")
        return self.with_masks(self.store.take(rows), self.table.take(rows))

    def with_masks(self, store: MaskStore, table: MaskTable) -> Masks:
        """Return other masks under the same overlap rule, output mode and provenance."""
        return Masks(
            store,
            table,
            overlap=self.overlap,
            output_mode=self.output_mode,
            provenance=self.provenance,
        )

    def followed_by(self, other: Masks) -> Masks:
        """Return these masks and then those of `other`, of the same image.

        Overlap rule, output mode and provenance are those of the first.

        Raises
        ------
        ParameterError
            If the images differ in shape.
        """
        if other.shape != self.shape:
            raise ParameterError(f"masks of images of {self.shape} and {other.shape} pixels")
        return self.with_masks(
            MaskStore.concatenate([self.store, other.store]),
            self.table.followed_by(other.table),
        )

    def __contains__(self, value: object) -> bool:
        return next(self._equal_to(value), None) is not None

    def index(self, value: object, start: int = 0, stop: int | None = None) -> int:
        """Return the row of the first mask that has the same pixels as an array.

        Parameters
        ----------
        value : array, HxW
            Not zero means inside.
        start, stop : int
            Rows to look in, as for a list.

        Raises
        ------
        ValueError
            If there is none, as for a list.
        """
        rows = range(len(self))[start : sys.maxsize if stop is None else stop]
        for row in self._equal_to(value):
            if row in rows:
                return row
        raise ValueError("there is no mask of these pixels")

    def count(self, value: object) -> int:
        """Return how many masks have the same pixels as an array."""
        return sum(1 for _ in self._equal_to(value))

    def _equal_to(self, value: object) -> Iterator[int]:
        try:
            pixels = np.asarray(value)
        except ValueError:
            return
        found = tight_window(pixels != 0) if pixels.shape == self.shape else None
        if found is None:
            return
        left, top, window = found
        place = [left, top, window.shape[1], window.shape[0]]
        for row in np.flatnonzero((self.store.windows == place).all(axis=1)).tolist():
            if np.array_equal(self.store.window(row), window):
                yield row

    def window(self, index: int) -> tuple[int, int, Window]:
        """Return one mask without its surroundings.

        Parameters
        ----------
        index : int
            Row; negative ones count from the end.

        Returns
        -------
        x0, y0 : int
            Left and top of the tight window, in pixels.
        window : ndarray, bool, hxw
            Its pixels.
        """
        row = range(len(self))[index]
        x0, y0 = self.store.windows[row, :2].tolist()
        return x0, y0, self.store.window(row)

    @property
    def features(self) -> pd.DataFrame:
        """One row a mask (a copy each time); the columns are those of the architecture.

        ``label, area, bbox_*`` (sam2's), ``point_input_*``, scores, ``crop_box_*``, then
        ``area_visible`` under the overlap rule, ``overlap_fraction``, ``touches_border``
        and ``parent``.
        """
        import pandas as pd

        columns = self.labels_and_columns()[1] if self._columns is None else self._columns
        return pd.DataFrame(columns)  # which copies them

    @property
    def doubt(self) -> str:
        """Why the result as a whole deserves doubt, part of a sentence; empty if it does not.

        That nothing was found, or that the model is so unsure of the masks that the image is
        probably none of those that it is for.
        """
        return doubt(self.predicted_iou, self.stability_score, self.provenance)

    def labels_and_columns(self) -> tuple[LabelImage, Columns]:
        """Return `to_labels` and the columns of `features`, in less time than both take.

        The columns are kept: they must not be changed.
        """
        painting = paint(self.store, self.predicted_iou, self.overlap)
        if self._columns is None:
            self._columns = tabulate(self.store, self.table, painting)
        return painting.image, self._columns

    def to_labels(self, overlap: str | None = None) -> LabelImage:
        """Show the masks as a label image.

        Parameters
        ----------
        overlap : OverlapRule, optional
            "smallest_on_top", "best_score_on_top" (highest predicted IoU),
            "largest_on_top" (lower label at a tie), or "discard_overlaps" (pixels of more
            than one mask are 0). By default, the masks' own rule.

        Returns
        -------
        ndarray, uint8, uint16 or uint32, HxW
            Mask i as i + 1, in the smallest dtype that holds all labels.

        Raises
        ------
        ParameterError
            If there is no such rule.
        """
        rule = self.overlap if overlap is None else checked_rule(overlap)
        return label_image(self.store, self.predicted_iou, rule)

    def records(self, output_mode: str | None = None) -> list[dict[str, Any]]:
        """Return the masks as sam2's records.

        Parameters
        ----------
        output_mode : OutputMode, optional
            "binary_mask", "uncompressed_rle" or "coco_rle"; by default the masks' own.

        Returns
        -------
        list of dict
            sam2's keys, types and order.

        Raises
        ------
        ParameterError
            If there is no such mode.
        """
        mode = self.output_mode if output_mode is None else checked_mode(output_mode)
        return records(self.store, self.table, mode)

    def measure(
        self,
        image: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
        *,
        channel_names: Sequence[str] | None = None,
        pixel_size: float | tuple[float, float] | None = None,
        unit: str = "um",
    ) -> pd.DataFrame:
        """Measure each mask with all its pixels, also those that it shares with others.

        Parameters
        ----------
        image : array, HxW or HxWxC, or mapping of names to arrays, HxW; optional
            What intensities are taken from, in its own values: bool, integers or floats.
            None measures shapes only.
        channel_names : sequence of str, optional
            Of C channels; by default their numbers from 0.
        pixel_size : float or (float, float), optional
            Side of a pixel, or its height and width; adds columns in `unit`.
        unit : str
            What `pixel_size` is in.

        Returns
        -------
        DataFrame, a row for each mask
            ``label``, then what ``skimage.measure.regionprops_table`` gives by the same names
            for each mask as an object of its own: shapes in pixels, ``centroid-0`` and ``-1``
            being row and column; then ``area_um2``, ``centroid_um-0``, ``perimeter_um`` and the
            like; then intensities, of several channels ``intensity_mean-0`` and so on, as of
            each alone. The perimeter in units is NaN where pixels are not square: it is not
            defined there.

        Raises
        ------
        ImageError
            If the image has another shape than the masks', or holds no real numbers.
        ParameterError
            If channels and their names differ in number, or a size is not above 0.
        """
        from napari_sam_amg.measurements import measure

        return measure(
            self.store, image, channel_names=channel_names, pixel_size=pixel_size, unit=unit
        )

    def to_coco(self, path: str | Path, *, file_name: str | None = None) -> None:
        """Write one COCO dataset that holds these masks.

        Parameters
        ----------
        path : str or Path
            The JSON file.
        file_name : str, optional
            The image's name in the dataset; by default its source in the provenance.

        Raises
        ------
        WriteError
            If it cannot be written; what was there stays.
        """
        from napari_sam_amg.formats import write_coco

        name = file_name or str(self.provenance.get("source") or "image")
        write_coco({name: self}, path)

    def to_png_folder(self, path: str | Path) -> None:
        """Write a folder as segment-anything's ``amg.py`` does: ``0.png …``, ``metadata.csv``.

        Raises
        ------
        WriteError
            If it cannot be written, or there is such a folder already.
        """
        from napari_sam_amg.formats import write_png_folder

        write_png_folder(self, path)
