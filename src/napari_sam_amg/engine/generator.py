"""`AutomaticMaskGenerator`: every object in an image, with sam2's arguments."""

from __future__ import annotations

import copy
import hashlib
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

from napari_sam_amg.engine.arguments import (
    Precision,
    check_precision,
    checked_floor,
    load,
    usable_precision,
)
from napari_sam_amg.engine.calls import ModelCalls
from napari_sam_amg.engine.decoder import Decoded, Decoder
from napari_sam_amg.engine.encoder import Features, encode_together, stoppable
from napari_sam_amg.engine.features import FeatureCache, Framed, Room, crops_at_once
from napari_sam_amg.engine.fitting import misfit
from napari_sam_amg.engine.guard import undisturbed
from napari_sam_amg.engine.provenance import describe
from napari_sam_amg.engine.region import Region
from napari_sam_amg.engine.run import Run, Step
from napari_sam_amg.engine.scoring import Cut
from napari_sam_amg.engine.tiles import Tile, tile_rows, whole
from napari_sam_amg.engine.tiling import Tiling
from napari_sam_amg.errors import Cancelled, ParameterError
from napari_sam_amg.image import ModelInput, prepare_image
from napari_sam_amg.intensity import Brightness, check_contrast, check_gamma
from napari_sam_amg.models.memory import is_out_of_memory
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.sizes import frame_side, resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    import torch
    from sam2.modeling.sam2_base import SAM2Base

    from napari_sam_amg.masks import Masks, Proposals

log = logging.getLogger(__name__)


class AutomaticMaskGenerator:
    """Finds every object in an image by asking SAM 2 at a grid of points.

    Parameters
    ----------
    model : str, Path or SAM2Base
        A name from `list_models`, the path of a checkpoint, or a model, which keeps its
        own device and dtype.
    device : str
        "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1", "mps". For a model
        handed in, "auto" or its own.
    precision : {"exact", "fast"}
        "exact" computes in float32. "fast" runs the network's matrix products in
        bfloat16 and takes all decisions in float32; masks can differ slightly. On a
        device without units for bfloat16 it is "exact", and the log says so.
    contrast : tuple of float, optional
        Values (low, high) of the image that become 0 and 255. By default uint8 goes to
        the model unchanged or by the model's own profile, and other types by the
        profile's percentiles.
    gamma : float
        Exponent of the brightness between these values, as napari's; 1 changes nothing.
    model_folder : str or Path, optional
        Where fetched models are kept, instead of ``NAPARI_SAM_AMG_MODELS`` or the user's
        cache.
    **parameters
        Any of `AmgParameters`. What is not given is the model's recommendation for a
        name or path, and sam2's default otherwise.

    Attributes
    ----------
    parameters : AmgParameters
        As resolved.
    info : ModelInfo
        The model's name, hash and profile.

    Raises
    ------
    ParameterError
        Before any model is loaded.
    ModelError, DeviceError
        If the model cannot be had or the device is not there.

    Notes
    -----
    One generator may be used from several threads: a lock covers the model. The encoder's
    output is kept by image: call `clear_cache` after changing the model's weights in place.
    """

    def __init__(
        self,
        model: str | Path | SAM2Base,
        *,
        device: str = "auto",
        precision: Precision = "exact",
        contrast: tuple[float, float] | None = None,
        gamma: float = 1.0,
        model_folder: str | Path | None = None,
        **parameters: Any,
    ) -> None:
        AmgParameters(**parameters)  # wrong ones are refused before anything is loaded
        check_precision(precision)
        self._contrast = None if contrast is None else check_contrast(contrast)
        self._gamma = check_gamma(gamma)
        self.model, self.info = load(model, device, parameters, model_folder)
        self._precision = usable_precision(precision, self.device)
        self.parameters = resolved(self.info, parameters, self._image_size)
        self._lock = threading.Lock()
        self._cache = FeatureCache()
        self._room = Room(crops_at_once(self._image_size, self.device.type))

    def configured(
        self,
        *,
        contrast: tuple[float, float] | None = None,
        gamma: float = 1.0,
        **parameters: Any,
    ) -> AutomaticMaskGenerator:
        """Return a generator with other settings and the same model.

        Parameters
        ----------
        contrast, gamma
            As in the constructor.
        **parameters
            As in the constructor; what is not given is the model's recommendation.

        Returns
        -------
        AutomaticMaskGenerator
            It shares the model, its lock and the encoder output of earlier images.
        """
        other = copy.copy(self)
        other._contrast = None if contrast is None else check_contrast(contrast)
        other._gamma = check_gamma(gamma)
        other.parameters = resolved(self.info, parameters, self._image_size)
        return other

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        own: torch.device = next(self.model.parameters()).device
        return own

    @property
    def precision(self) -> Precision:
        """What it computes in: "exact" where "fast" was asked for and would be slower."""
        return self._precision

    def generate(
        self,
        image: npt.ArrayLike,
        *,
        name: str = "image",
        region: npt.ArrayLike | Region | None = None,
    ) -> list[dict[str, Any]]:
        """Return sam2's records of all masks.

        Parameters
        ----------
        image : array, HxW, HxWx1, HxWx3 or HxWx4
            bool, any integer or float.
        name : str
            Said in errors and provenance.
        region : array of bool, HxW, optional
            Where to look for objects; the model is asked at points inside only. Results
            have the whole image's size.

        Returns
        -------
        list of dict
            Keys, types and order of sam2: ``segmentation`` (by ``output_mode``),
            ``area``, ``bbox`` (XYWH), ``predicted_iou``, ``point_coords``,
            ``stability_score``, ``crop_box`` (XYWH).
        """
        return self.segment(image, name=name, region=region).records()

    def segment(
        self,
        image: npt.ArrayLike,
        *,
        name: str = "image",
        region: npt.ArrayLike | Region | None = None,
    ) -> Masks:
        """Return all masks of an image (arguments as for `generate`)."""
        masks: Masks = _last(self.steps(image, name=name, region=region))
        return masks

    def propose(
        self,
        image: npt.ArrayLike,
        floor: float = 0.0,
        *,
        name: str = "image",
        region: npt.ArrayLike | Region | None = None,
    ) -> Proposals:
        """Return every candidate that the thresholds act on, before NMS.

        In tiles, near-duplicates of a candidate that is at least as good in both scores are
        left out, as they are by `segment`.

        Parameters
        ----------
        image : array
            As for `generate`.
        floor : float
            Candidates with a predicted IoU of at most this are not held; 0 holds all.
        name, region
            As for `generate`.
        """
        steps = self.steps(image, propose=True, floor=floor, name=name, region=region)
        proposals: Proposals = _last(steps)
        return proposals

    def steps(
        self,
        image: npt.ArrayLike,
        *,
        propose: bool = False,
        floor: float = 0.0,
        name: str = "image",
        region: npt.ArrayLike | Region | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[Step[Any]]:
        """Run step by step; stop iterating to cancel.

        Parameters
        ----------
        image : array
            As for `generate`.
        propose : bool
            Whether the result is `Proposals` instead of `Masks`.
        floor : float
            As for `propose`.
        name, region
            As for `generate`. With a `Region` the image may be its window alone.
        should_stop : callable, optional
            Asked between the blocks of the image encoder, which can take long, from the
            thread that iterates; once it returns True, the run ends with `Cancelled`.

        Yields
        ------
        Step
            After each crop is encoded and each chunk of prompts is decoded; the last one
            has the result. No lock or torch mode is held while a step is looked at.

        Raises
        ------
        Cancelled
            If `should_stop` said so.
        """
        floor = checked_floor(floor)
        prepared = self._prepare(image, name)
        rgb, part = self._part(prepared.rgb, region)
        p = self.parameters
        run = Run(
            rgb,
            region=part,
            parameters=p,
            image_size=self._image_size,
            cut=Cut(floor, 0.0) if propose else Cut(p.pred_iou_thresh, p.stability_score_thresh),
            provenance=self.describe(prepared.mapping, name),
            lasting=propose,
        )
        return self._iterate(run, run.proposals if propose else run.masks, should_stop)

    def tiling(self, shape: tuple[int, int]) -> Tiling | None:
        """Return how `segment` cuts an image of that height and width; None if not at all."""
        return Tiling.of(shape, self.parameters, self._image_size)

    def tile_rows(self, shape: tuple[int, int]) -> Iterator[list[Tile]]:
        """Yield the tiles that `segment` cuts an image into, row by row.

        Parameters
        ----------
        shape : tuple of int
            Height and width in pixels. An image that is not tiled is one tile.

        Raises
        ------
        ParameterError
            If there are layers of crops, which are no tiles.
        """
        p = self.parameters
        if p.crop_n_layers:
            raise ParameterError(
                f"crop_n_layers={p.crop_n_layers} looks at the whole image at once: set it to 0 "
                "and give tile_size or object_diameter instead"
            )
        tiling = self.tiling(shape)
        return iter([[whole(shape, p)]]) if tiling is None else tile_rows(shape, tiling)

    def find_in_tile(
        self,
        rgb: npt.NDArray[np.uint8],
        tile: Tile,
        *,
        should_stop: Callable[[], bool] | None = None,
    ) -> Proposals:
        """Return the candidates of one tile that pass the thresholds of their scores.

        They depend on nothing but the arguments, the model and the parameters: those of all
        tiles together are what `segment` selects from (on an accelerator, which encodes several
        tiles of an image in memory at once, up to rounding).

        Parameters
        ----------
        rgb : ndarray, uint8, hxwx3
            The tile's pixels as the model is to see them.
        tile : Tile
            Of `tile_rows`.
        should_stop : callable
            As for `steps`; asked between the chunks too.

        Raises
        ------
        Cancelled
            If `should_stop` said so.
        """
        p = self.parameters
        run = Run(
            rgb,
            tile=tile,
            parameters=p,
            image_size=self._image_size,
            cut=Cut(p.pred_iou_thresh, p.stability_score_thresh),
            provenance={},
        )
        for _ in self._iterate(run, lambda: None, should_stop, cached=False):
            if should_stop is not None and should_stop():
                raise Cancelled("the run was cancelled within a tile")
        return run.proposals()

    def describe(self, mapping: Mapping[str, Any], name: str) -> dict[str, Any]:
        """Return what a result says of a run on an image.

        Parameters
        ----------
        mapping : mapping
            How the image becomes 8-bit RGB: that of `prepare_image`.
        name : str
            Of the image.

        Returns
        -------
        dict
            JSON.
        """
        return describe(
            info=self.info,
            parameters=self.parameters,
            mapping=mapping,
            device=str(self.device),
            precision=self._precision,
            source=name,
        )

    @property
    def brightness(self) -> Brightness:
        """By which rule images become 8-bit RGB."""
        profile = self.info.profile
        return Brightness(self._contrast, self._gamma, profile.percentiles, profile.map_uint8)

    def weights_digest(self) -> str:
        """Return a hash (hexadecimal) of the model's weights as they are."""
        digest = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            array = tensor.detach().float().cpu().contiguous().numpy()
            digest.update(f"{key} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def _part(
        self, rgb: npt.NDArray[np.uint8], region: npt.ArrayLike | Region | None
    ) -> tuple[npt.NDArray[np.uint8], Region | None]:
        """Cut a region's window out of an image, unless it is cut already."""
        if region is None:
            return rgb, None
        part = region if isinstance(region, Region) else self.region(region)
        if part.pixels == part.shape[0] * part.shape[1]:
            return rgb, None
        rows, columns = part.slices
        size = rgb.shape[:2]
        if size == part.shape:
            return rgb[rows, columns], part
        if size == (rows.stop - rows.start, columns.stop - columns.start):
            return rgb, part
        raise ParameterError(
            f"region: it is for an image of {part.shape[0]} x {part.shape[1]} pixels, but this "
            f"one has {size[0]} x {size[1]}"
        )

    def region(self, mask: npt.ArrayLike) -> Region:
        """Return the region that a mask (bool, HxW) means, with what this model sees around."""
        scale = self.parameters.scale
        side = self._image_size if scale is None else frame_side(scale, self._image_size)
        return Region.of(mask, least=side)

    @property
    def _image_size(self) -> int:
        return int(self.model.image_size)

    def _iterate(
        self,
        run: Run,
        result: Any,
        should_stop: Callable[[], bool] | None,
        *,
        cached: bool = True,
    ) -> Iterator[Step[Any]]:
        fast = self._precision == "fast"
        unfit = misfit(self.model)
        if unfit:
            log.info("prompts go through sam2's own, slower modules: %s", unfit)
        # Tiles of very large images do not come again: their features would fill the memory.
        cache = self._cache if cached else FeatureCache(0)
        calls = ModelCalls(
            lambda crop, following: self._encode(crop, following, should_stop, cache),
            lambda features: Decoder(
                self.model,
                features,
                self.parameters,
                fast=fast,
                floor=run.floor,
                look_ahead=self._room.look_ahead,
            ),
            self._decode,
        )
        stages = run.stages(calls)
        for done in itertools.count(1):
            with undisturbed(self.device, fast=fast):
                stage = next(stages, None)
            if stage is None:
                break
            yield Step(done, run.total, stage, None, result)
        finished = result()
        yield Step(run.total, run.total, "select", finished, lambda: finished)

    def preview(self, image: npt.ArrayLike, *, name: str = "image") -> npt.NDArray[np.uint8]:
        """Return the exact 8-bit RGB (HxWx3) that the model would get."""
        return self._prepare(image, name).rgb

    def clear_cache(self) -> None:
        """Forget the encoder output of earlier images."""
        with self._lock:
            self._cache.clear()

    def _prepare(self, image: npt.ArrayLike, name: str) -> ModelInput:
        rule = self.brightness
        return prepare_image(
            image,
            contrast=rule.contrast,
            gamma=rule.gamma,
            percentiles=rule.percentiles,
            map_uint8=rule.map_uint8,
            name=name,
        )

    def _encode(
        self,
        crop: Framed,
        following: Iterable[Framed],
        should_stop: Callable[[], bool] | None,
        cache: FeatureCache,
    ) -> Features:
        def compute(crops: Sequence[Framed]) -> list[Features]:
            return encode_together(self.model, crops, self.info.profile.resize)

        with self._lock, stoppable(self.model, should_stop):
            if self._room.crops > 1:
                try:
                    return cache.get(crop, following, compute, self._room.crops)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                self._room.crops = 1
                log.warning("out of memory: going on with one crop at a time")
            return cache.get(crop, (), compute)

    def _decode(
        self,
        decoder: Decoder,
        points: npt.NDArray[np.float32],
        following: npt.NDArray[np.float32] | None,
    ) -> Decoded:
        with self._lock:
            decoded = decoder.decode(points, following)
            self._room.look_ahead &= not decoder.short
            return decoded


def _last(steps: Iterator[Step[Any]]) -> Any:
    result = None
    for step in steps:
        result = step.result
    return result
