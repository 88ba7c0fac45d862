"""From a model's name or file to a model that is ready to use."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import DeviceError, ModelError
from napari_sam_amg.models.architecture import (
    ARCHITECTURES,
    Architecture,
    build,
    has_object_head,
)
from napari_sam_amg.models.checkpoint import open_regular, read_checkpoint
from napari_sam_amg.models.devices import choose_device
from napari_sam_amg.models.download import fetch
from napari_sam_amg.models.host import usual_defaults
from napari_sam_amg.models.memory import is_out_of_memory
from napari_sam_amg.models.profiles import InputProfile, ModelInfo
from napari_sam_amg.models.recognition import check_fit, find_weights, recognise
from napari_sam_amg.models.registry import EMBEDDED, embedded_file, list_models, model_info

if TYPE_CHECKING:
    import torch
    from sam2.modeling.sam2_base import SAM2Base

log = logging.getLogger(__name__)

SUFFIXES = (".pt", ".pth", ".safetensors")

# The random state, which building draws from and puts back, belongs to the process.
_building = threading.Lock()


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode on its device, and what is known about it."""

    model: SAM2Base
    info: ModelInfo


def load_model(
    name_or_path: str | Path,
    *,
    device: str | torch.device = "auto",
    architecture: str | None = None,
    folder: str | Path | None = None,
) -> SAM2Base:
    """Load a SAM 2 model.

    Parameters
    ----------
    name_or_path : str or Path
        A name from `list_models`, fetched on first use if it is not embedded, or the path
        of a ``.pt`` or ``.safetensors`` checkpoint of any SAM 2 or 2.1 size.
    device : str or torch.device
        As in `choose_device`.
    architecture : str, optional
        Key of ``ARCHITECTURES`` for a checkpoint, instead of the one recognised from its
        tensors.
    folder : str or Path, optional
        Where fetched models are kept, instead of ``NAPARI_SAM_AMG_MODELS`` or the user's
        cache.

    Returns
    -------
    sam2.modeling.sam2_base.SAM2Base
        float32, in eval mode.

    Raises
    ------
    ModelError
        If the model is unknown, unsafe, damaged or fits no architecture.
    DownloadError
        If it cannot be fetched.
    DeviceError
        If the device does not exist or has too little memory.
    """
    return resolve(name_or_path, device=device, architecture=architecture, folder=folder).model


def resolve(
    model: str | Path,
    *,
    device: str | torch.device = "auto",
    architecture: str | None = None,
    folder: str | Path | None = None,
) -> LoadedModel:
    """Load a model with what is known about it; arguments and errors as `load_model`."""
    where = choose_device(device)
    if architecture is not None and architecture not in ARCHITECTURES:
        raise ModelError(
            f"there is no architecture {architecture!r}: known are {', '.join(ARCHITECTURES)}"
        )
    if _is_path(model):
        loaded = _from_path(Path(model).expanduser(), architecture)
    else:
        loaded = _from_registry(model_info(str(model)), folder)
    log.info("%s: %s, sha256 %s", loaded.info.name, loaded.info.architecture, loaded.info.sha256)
    return replace(loaded, model=_move(loaded.model, where))


def _is_path(model: str | Path) -> bool:
    if not isinstance(model, str):
        return True
    if any(model == info.name for info in list_models()):
        return False
    looks = model.lower().endswith(SUFFIXES) or "/" in model or "\\" in model
    try:
        return looks or Path(model).is_file()
    except (OSError, ValueError):
        return looks


def _from_registry(info: ModelInfo, folder: str | Path | None) -> LoadedModel:
    if info.url is None:
        try:
            with embedded_file(".safetensors").open("rb") as file:
                checkpoint = read_checkpoint(file, info.name, expected_sha256=info.sha256)
        except OSError as error:
            raise ModelError(
                f"the weights of the embedded model {info.name} cannot be read "
                f"({error.strerror}): the installation is damaged; install napari-sam-amg again"
            ) from error
    else:
        path = fetch(info, folder=folder)
        with open_regular(path) as file:
            checkpoint = read_checkpoint(file, str(path), expected_sha256=info.sha256)
    architecture = ARCHITECTURES[info.architecture]
    model = _assemble(find_weights(checkpoint.content, info.name), architecture, info.name)
    return LoadedModel(model, info)


def _from_path(path: Path, named: str | None) -> LoadedModel:
    with open_regular(path) as file:
        checkpoint = read_checkpoint(file, str(path), expected_sha256=None)
    weights = find_weights(checkpoint.content, str(path))
    if named is None:
        architecture = recognise({k: tuple(v.shape) for k, v in weights.items()}, str(path))
    else:
        architecture = ARCHITECTURES[named]
    # Only this project makes models of the embedded one's size: its images look alike.
    embedded = architecture.name == EMBEDDED
    info = ModelInfo(
        name=path.stem,
        title=f"{path.name} ({architecture.name})",
        description=f"A checkpoint of your own, recognised as {architecture.name}.",
        architecture=architecture.name,
        sha256=checkpoint.sha256,
        size_bytes=checkpoint.size_bytes,
        profile=model_info(EMBEDDED).profile if embedded else InputProfile(),
        notes="Runs with sam2's default parameters: a fine-tuned model may want others.",
        object_head=has_object_head(weights),
    )
    return LoadedModel(_assemble(weights, architecture, str(path)), info)


def _assemble(weights: dict[str, torch.Tensor], architecture: Architecture, name: str) -> SAM2Base:
    """Build the architecture and fill it with float32 copies of `weights`."""
    import torch

    with _building, usual_defaults():
        model = build(architecture, object_head=has_object_head(weights))
    slots = model.state_dict()
    check_fit(
        {key: tuple(value.shape) for key, value in weights.items()},
        {key: tuple(value.shape) for key, value in slots.items()},
        architecture.name,
        name,
    )
    with torch.no_grad():
        for key, slot in slots.items():
            given = weights[key]
            if given.layout != torch.strided or not given.dtype.is_floating_point:
                raise ModelError(
                    f"{name}: {key} has the type {given.dtype}, {given.layout}: only plain "
                    "floating-point tensors can be used; save the model before it is quantised"
                )
            slot.copy_(given)
            if not bool(torch.isfinite(slot).all()):
                raise ModelError(
                    f"{name}: {key} has values that are not finite (NaN or infinity): its "
                    "training has failed or the file is damaged; use an earlier checkpoint"
                )
    return model


def _move(model: SAM2Base, device: torch.device) -> SAM2Base:
    try:
        return model.to(device).eval()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        size = sum(tensor.nbytes for tensor in model.state_dict().values()) / 2**30
        raise DeviceError(
            f"{device} has too little free memory for the model's {size:.2f} GiB: close other "
            "programs that use it, take a smaller model, or use device='cpu'"
        ) from None
