"""One run over one image: crops, chunks, progress."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from napari_sam_amg.engine.chunks import Chunk, packed, tidied, together
from napari_sam_amg.engine.grid import Crop, crops, layer_grids, points_in, within
from napari_sam_amg.engine.objects import cell_size, object_points
from napari_sam_amg.engine.scoring import Cut, Scorer
from napari_sam_amg.engine.tiles import Tile, tile_rows
from napari_sam_amg.engine.tiling import Tiling
from napari_sam_amg.engine.upsampling import Upsampler
from napari_sam_amg.masks import MaskTable, Proposals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam_amg.engine.calls import ModelCalls
    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.engine.features import Framed
    from napari_sam_amg.engine.region import Region
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.parameters import AmgParameters

Result = TypeVar("Result")


@dataclass(frozen=True)
class Step(Generic[Result]):
    """Progress of a run; stop asking for more to cancel it.

    Attributes
    ----------
    done, total : int
        Steps finished and steps in all; `done` grows by one from step to step. Where the model
        says where objects are, `total` is an estimate until all crops are encoded.
    stage : str
        What was just finished: "encode", "decode" or "select".
    result : Masks or Proposals or None
        Set on the last step only.
    partial : callable
        Returns what has been found so far, as the result of a run that ended here.
    """

    done: int
    total: int
    stage: str
    result: Result | None
    partial: Callable[[], Result]


class Run:
    """The candidates of one image.

    Parameters
    ----------
    rgb : ndarray, uint8, HxWx3
        The image, or the window of `region`.
    parameters : AmgParameters
    cut : Cut
        What to drop as early as possible.
    provenance : dict
    image_size : int
        Side of the model's square input in pixels.
    region : Region, optional
        Where to look; the whole image by default.
    tile : Tile, optional
        The one tile of a larger image that is looked at; `rgb` is its pixels.
    lasting : bool
        All candidates are wanted in the end: their pixels are found with them. Otherwise only
        those of the masks that are selected are found.
    """

    def __init__(
        self,
        rgb: npt.NDArray[np.uint8],
        *,
        parameters: AmgParameters,
        cut: Cut,
        provenance: dict[str, Any],
        image_size: int,
        region: Region | None = None,
        tile: Tile | None = None,
        lasting: bool = False,
    ) -> None:
        self._rgb = rgb
        self._lasting = lasting
        self._parameters = parameters
        self._cut = cut
        self._provenance = provenance
        self._region = region
        self._shape = (rgb.shape[0], rgb.shape[1]) if region is None else region.shape
        self._origin = (0, 0) if region is None else region.window[:2]
        if tile is not None:
            self._shape, self._origin = tile.shape, tile.crop.box[:2]
            self._crops, self._points, self._seam = [tile.crop], [tile.points], tile.seam
        else:
            self._lay(region, Tiling.of((rgb.shape[0], rgb.shape[1]), parameters, image_size))
        # A chunk is added whole, and a tile's chunks are replaced at once, so that `partial`
        # may be called from another thread.
        self._found: list[Chunk] = []
        if parameters.prompts == "objects":
            self._chunks = [1] * len(self._crops)  # until the model has said where they are
        else:
            self._chunks = [math.ceil(len(p) / parameters.points_per_batch) for p in self._points]

    @property
    def total(self) -> int:
        """How many stages there are, and one more for the selection."""
        return len(self._crops) + sum(self._chunks) + 1

    @property
    def floor(self) -> float:
        """Predicted IoU that a mask has to exceed; 0 for none."""
        return self._cut.pred_iou

    def _lay(self, region: Region | None, tiling: Tiling | None) -> None:
        """Cut the image into crops or tiles, lay points in each, and say so."""
        skipped = 0
        if region is not None:
            self._crops, self._points, skipped = region.prompts(self._parameters, tiling)
            self._provenance["region"] = region.provenance()
        elif tiling is not None:
            tiles = [tile for row in tile_rows(self._shape, tiling) for tile in row]
            self._crops, self._points = [t.crop for t in tiles], [t.points for t in tiles]
        else:
            self._crops, skipped = crops(self._shape, self._parameters)
            grids = layer_grids(self._parameters)
            self._points = [points_in(crop, grids[crop.layer]) for crop in self._crops]
        self._seam = None if tiling is None else tiling.seam
        if tiling is not None:
            self._provenance["tiles"] = tiling.provenance(len(self._crops))
        if skipped:
            self._provenance["skipped_crops"] = skipped

    def stages(self, calls: ModelCalls) -> Iterator[str]:
        """Work through the image; yields the name of each finished stage."""
        batch = self._parameters.points_per_batch
        for index, (crop, points) in enumerate(zip(self._crops, self._points, strict=True)):
            to_come = map(self._framed, itertools.islice(self._crops, index + 1, None))
            features = calls.encode(self._framed(crop), to_come)
            decoder = calls.decoder(features)
            if self._parameters.prompts == "objects":
                points = self._seen(features, crop)
                self._chunks[index] = math.ceil(len(points) / batch)
            self._provenance["prompts"] = self._provenance.get("prompts", 0) + len(points)
            yield "encode"
            scorer: Scorer | None = None
            before = len(self._found)
            chunks = [points[start : start + batch] for start in range(0, len(points), batch)]
            for chunk, following in zip(chunks, [*chunks[1:], None], strict=False):
                decoded = calls.decode(decoder, chunk, following)
                if scorer is None:
                    upsampler = Upsampler(
                        (decoded.logits.shape[-2], decoded.logits.shape[-1]),
                        features.frame,
                        size_kept=crop.size,
                        device=decoded.logits.device,
                    )
                    scorer = Scorer(
                        upsampler,
                        shape=self._shape,
                        crop=crop,
                        crop_index=index,
                        parameters=self._parameters,
                        cut=self._cut,
                    )
                self._add(scorer.candidates(decoded, chunk))
                if following is None and self._seam is not None:
                    tile = tidied(self._found[before:], crop, self._seam)
                    self._found = [*self._found[:before], tile]
                yield "decode"

    def _framed(self, crop: Crop) -> Framed:
        (x0, y0, x1, y1), (left, top) = crop.box, self._origin
        return self._rgb[y0 - top : y1 - top, x0 - left : x1 - left], crop.frame

    def _seen(self, features: Features, crop: Crop) -> npt.NDArray[np.float32]:
        """Return where the model sees objects that are this crop's to find."""
        points = object_points(features, crop.size, self._parameters.object_score_thresh)
        places = points + np.array(crop.box[:2])
        # To a cell: what lies at a seam could be the other tile's for both. NMS sees to the rest.
        (x0, y0, x1, y1), (w, h) = crop.core or crop.box, cell_size(features)
        wanted = within(places, (x0 - w, y0 - h, x1 + w, y1 + h))
        if self._region is not None:
            wanted &= self._region.holds(places)
        return points[wanted]

    def _add(self, chunk: Chunk) -> None:
        if self._lasting:
            chunk = packed(chunk)
        elif self._found:
            self._found[-1].settled()  # an accelerator has finished it by now
        self._found.append(chunk)

    def proposals(self) -> Proposals:
        """Return the candidates found so far."""
        return self._proposals([packed(chunk) for chunk in self._found])

    def _proposals(self, found: list[Chunk]) -> Proposals:
        rows = [row for chunk in found for row in chunk.rows]
        boxes = np.array([crop.xywh for crop in self._crops], dtype=np.int64)
        crop_index = np.array([row.crop_index for row in rows], dtype=np.int64)
        area_high = np.array([row.area_high for row in rows], dtype=np.int64)
        area_low = np.array([row.area_low for row in rows], dtype=np.int64)
        store = together(self._shape, found)
        table = MaskTable(
            predicted_iou=np.array([row.predicted_iou for row in rows], dtype=np.float32),
            stability_score=np.full(len(rows), np.nan, dtype=np.float32),  # set by Proposals
            points=np.array([row.point for row in rows], dtype=np.float32).reshape(-1, 2),
            crop_boxes=boxes[crop_index],
        )
        return Proposals(
            store,
            table,
            area_high=area_high,
            area_low=area_low,
            crop_index=crop_index,
            crop_boxes_all=[crop.xywh for crop in self._crops],
            parameters=self._parameters,
            floor=self._cut.pred_iou,
            seam=self._seam,
            provenance=self._provenance,
        )

    def masks(self) -> Masks:
        """Return the masks selected from the candidates found so far."""
        return self._proposals(list(self._found)).select()
