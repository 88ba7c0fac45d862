"""What surrounds every call of the model, so that it and the host do not disturb each other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from napari_sam_amg.errors import DeviceError
from napari_sam_amg.models.host import usual_defaults
from napari_sam_amg.models.memory import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def undisturbed(device: torch.device, *, fast: bool) -> Iterator[None]:
    """Compute without gradients, in float32 or bfloat16, whatever the host has set.

    An autocast, default device or default type of the host's, and TF32, which CUDA uses
    for convolutions unless told otherwise, are suspended, and are as before afterwards.

    Parameters
    ----------
    device : torch.device
        Where the model is.
    fast : bool
        Matrix products in bfloat16.

    Raises
    ------
    DeviceError
        If memory runs out.
    """
    with settings(device, fast=fast):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceError(
                f"{device} has too little memory for this image and model ({error}): close other "
                "programs that use it, take a smaller model, or use the CPU"
            ) from error


@contextlib.contextmanager
def settings(device: torch.device, *, fast: bool) -> Iterator[None]:
    """Set torch up as `undisturbed` does, for the calling thread, and change no error."""
    with (
        torch.no_grad(),
        usual_defaults(),
        torch.autocast(device.type, torch.bfloat16, enabled=fast),
    ):
        yield
