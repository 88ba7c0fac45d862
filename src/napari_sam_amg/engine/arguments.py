"""Checking and resolving what an `AutomaticMaskGenerator` is given."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.models import InputProfile, ModelInfo, list_models, model_info, resolve
from napari_sam_amg.models.architecture import ARCHITECTURES
from napari_sam_amg.models.devices import multiplies_bfloat16, parse_device
from napari_sam_amg.sizes import resolved

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

log = logging.getLogger(__name__)

Precision = Literal["exact", "fast"]


def check_precision(precision: str) -> None:
    """Raise ParameterError if there is no such precision."""
    if precision not in get_args(Precision):
        raise ParameterError(f"precision={precision!r}: use one of {list(get_args(Precision))}")


def usable_precision(precision: Precision, device: torch.device) -> Precision:
    """Return `precision`, or "exact" where "fast" would be slower; the log says so."""
    if precision == "fast" and not multiplies_bfloat16(device):
        log.warning(
            "precision fast: %s has no units for bfloat16 and would be slower with it than with "
            "float32; computing in float32, as exact does",
            device,
        )
        return "exact"
    return precision


def checked_floor(floor: float) -> float:
    """Return `floor` as float if it is from 0 to 2; ParameterError otherwise."""
    number = isinstance(floor, int | float | np.floating | np.integer)
    if isinstance(floor, bool) or not number or not 0 <= floor <= 2:
        raise ParameterError(f"floor={floor!r}: use a number from 0 (keep all) to 2")
    return float(floor)


def load(
    model: str | Path | SAM2Base,
    device: str,
    parameters: dict[str, Any],
    folder: str | Path | None = None,
) -> tuple[SAM2Base, ModelInfo]:
    """Return the model and what is known of it; a model handed in stays as it is.

    Raises
    ------
    ParameterError
        If `model` is of another kind, or `device` is not that of a model handed in.
    ModelError, DeviceError
        If the model cannot be had or the device is not there.
    """
    from sam2.modeling.sam2_base import SAM2Base

    if isinstance(model, SAM2Base):
        own, dtype = next(model.parameters()).device, next(model.parameters()).dtype
        if dtype != torch.float32:
            raise ParameterError(
                f"the model handed in computes in {dtype}: convert it with model.float(), and use "
                'precision="fast" for speed'
            )
        wanted = parse_device(device)
        if wanted is not None and not _same_device(wanted, own):
            raise ParameterError(
                f"device={device!r}, but the model handed in is on {own}: move it there first "
                'with model.to(device), or leave device="auto"'
            )
        return model, _info_of(model)
    if not isinstance(model, str | Path):
        raise ParameterError(
            f"model is a {type(model).__name__}: give a model name, the path of a checkpoint "
            "or a SAM2Base"
        )
    if model in {info.name for info in list_models()}:
        # Refuse parameters that do not fit the recommendation before weights are read.
        info = model_info(str(model))
        resolved(info, parameters, ARCHITECTURES[info.architecture].image_size)
    loaded = resolve(model, device=device, folder=folder)
    return loaded.model, loaded.info


def _same_device(wanted: torch.device, own: torch.device) -> bool:
    return wanted.type == own.type and (wanted.index or 0) == (own.index or 0)


def _info_of(model: SAM2Base) -> ModelInfo:
    return ModelInfo(
        name=type(model).__name__,
        title="a model handed in",
        description="",
        architecture="unknown",
        sha256=None,
        url=None,
        size_bytes=None,
        profile=InputProfile(),
        recommended={},
        notes="",
        object_head=hasattr(model, "object_head"),
    )
