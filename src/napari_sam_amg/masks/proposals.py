"""`Proposals`: every candidate of a run, from which thresholds select masks."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.masks.cleaned import CleanedMasks
from napari_sam_amg.masks.collection import Masks
from napari_sam_amg.masks.nms import Overlaps
from napari_sam_amg.masks.scored import ScoredMasks
from napari_sam_amg.masks.selection import Selection, select
from napari_sam_amg.parameters import SELECT_PARAMETERS, AmgParameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam_amg.masks.store import MaskStore
    from napari_sam_amg.masks.table import MaskTable

Column = npt.NDArray[np.int64]


class Proposals(ScoredMasks):
    """Every candidate that a run found, before duplicates are removed.

    Parameters
    ----------
    store : MaskStore
        The pixels of N candidates in sam2's order: by crop, by prompt, by mask.
    table : MaskTable
        Their scores; ``stability_score`` is replaced by what the two areas give.
    area_high, area_low : array, int64, N
        Pixels of the crop above the raised and above the lowered cutoff.
    crop_index : array, int64, N
        The crop of each candidate, as a row of `crop_boxes_all`; never falling.
    crop_boxes_all : sequence of four int
        Left, top, width, height of all crops of the run, in pixels.
    parameters : AmgParameters
        What the run was made with.
    floor : float
        Predicted IoU up to which candidates were not kept; 0 if all were.
    seam : int, optional
        Says that the crops are tiles, all of one rank, and how near to a tile's edge, in
        pixels, a mask counts as cut off by it. By default, they are sam2's crops.
    provenance : mapping, optional
        What made the candidates; must be JSON.

    Raises
    ------
    ValueError
        If the columns do not fit together.
    """

    def __init__(
        self,
        store: MaskStore,
        table: MaskTable,
        *,
        area_high: npt.ArrayLike,
        area_low: npt.ArrayLike,
        crop_index: npt.ArrayLike,
        crop_boxes_all: Sequence[Sequence[int]],
        parameters: AmgParameters,
        floor: float = 0.0,
        seam: int | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.area_high = _column(area_high)
        self.area_low = _column(area_low)
        self.crop_index = _column(crop_index)
        columns = (table, self.area_high, self.area_low, self.crop_index)
        if any(len(column) != len(store) for column in columns):
            lengths = [len(column) for column in columns]
            raise ValueError(f"{len(store)} candidates, but columns of {lengths} rows")
        self.crop_boxes_all = np.array(crop_boxes_all, dtype=np.int64).reshape(-1, 4)
        self.store = store
        # Both areas are rounded to float32 first, as torch divides two int32 tensors.
        with np.errstate(divide="ignore", invalid="ignore"):
            high, low = self.area_high.astype(np.float32), self.area_low.astype(np.float32)
            stability = np.asarray(high / low, dtype=np.float32)
        self.table = dataclasses.replace(table, stability_score=stability)
        self.parameters = parameters
        self.floor = float(floor)
        self.seam = seam
        self.provenance: dict[str, Any] = copy.deepcopy(dict(provenance or {}))
        self._cleaned = CleanedMasks(store, 0)
        self.overlaps: Overlaps | None = None
        self._prepared = False

    @property
    def nbytes(self) -> int:
        """Bytes of memory held for the candidates, without what `prepare` and cleaning keep."""
        columns = (self.area_high, self.area_low, self.crop_index, self.crop_boxes_all)
        return super().nbytes + sum(c.nbytes for c in columns)

    def prepare(self) -> None:
        """Find once what each `select` would find anew, for live re-tuning.

        The masks selected then share it, so that it is held as long as any of them.
        """
        if not self._prepared:
            self.store.prepare()
            # Each of sam2's crops would look through the pairs of all.
            if len(self.crop_boxes_all) == 1 or self.seam is not None:
                self.overlaps = Overlaps.of(self.store.boxes, self.predicted_iou)
            self._prepared = True

    def cleaned(self, min_area: int) -> CleanedMasks:
        """Return the candidates without regions of fewer pixels; those of the last value stay."""
        cleaned = self._cleaned  # another thread may change it
        if cleaned.min_area != min_area:
            self._cleaned = cleaned = CleanedMasks(self.store, min_area)
        return cleaned

    def select(self, **thresholds: Any) -> Masks:
        """Select masks, as a fresh run with these thresholds would, without the model.

        Parameters
        ----------
        **thresholds
            Any of ``pred_iou_thresh, stability_score_thresh, box_nms_thresh,
            crop_nms_thresh, min_mask_region_area, min_area, max_area, exclude_border``,
            and ``overlap``. What is not named keeps the run's value.

        Returns
        -------
        Masks
            In sam2's order.

        Raises
        ------
        ParameterError
            If a name or value is not allowed, or asks for candidates below the floor.
        """
        return self.selected(**thresholds)[0]

    def masks(self, rows: npt.ArrayLike) -> Masks:
        """Return some candidates (rows, 0 to N - 1) as masks, in that order."""
        chosen = np.asarray(rows, dtype=np.int64).reshape(-1)
        return Masks(
            self.store.take(chosen),
            self.table.take(chosen),
            overlap=self.parameters.overlap,
            output_mode=self.parameters.output_mode,
            provenance=self.provenance,
        )

    def selected(self, **thresholds: Any) -> tuple[Masks, Selection]:
        """Select masks, and tell which candidates they are and what removed the others.

        Parameters
        ----------
        **thresholds
            As for `select`.

        Raises
        ------
        ParameterError
            As `select` does.
        """
        for name in thresholds:
            _check_name(name)
        parameters = AmgParameters(**{**dict(self.parameters), **thresholds})
        if parameters.pred_iou_thresh < self.floor:
            raise ParameterError(
                f"pred_iou_thresh={parameters.pred_iou_thresh}: candidates with a predicted "
                f"IoU of {self.floor} or less were not kept (floor={self.floor}); use a higher "
                "value, or propose again with a lower floor"
            )
        selection = select(self, parameters)
        provenance = copy.deepcopy(self.provenance)
        if "parameters" in provenance:
            provenance["parameters"] = json.loads(parameters.model_dump_json())
        masks = Masks(
            selection.store,
            self.table.take(selection.rows),
            overlap=parameters.overlap,
            output_mode=parameters.output_mode,
            provenance=provenance,
        )
        return masks, selection


def _column(values: npt.ArrayLike) -> Column:
    column = np.array(values, dtype=np.int64).reshape(-1)
    column.flags.writeable = False
    return column


def _check_name(name: str) -> None:
    known = (*SELECT_PARAMETERS, "overlap")
    if name in known:
        return
    if name in AmgParameters.model_fields:
        raise ParameterError(
            f"{name} acts on the model's output and needs a new run; select takes "
            + ", ".join(known)
        )
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else "select takes " + ", ".join(known)
    raise ParameterError(f"unknown parameter {name!r}: {advice}")
