"""What surrounds every call of the model, so that it and the host do not disturb each other."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import torch

from napari_sam_amg.errors import DeviceError
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
    with (
        torch.no_grad(),
        torch.device("cpu"),  # where sam2 makes tensors that it does not place
        _defaults.suspended(),
        torch.autocast(device.type, torch.bfloat16, enabled=fast),
    ):
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceError(
                f"{device} has too little memory for this image and model ({error}): close other "
                "programs that use it, take a smaller model, or use the CPU"
            ) from error


class _Defaults:
    """Settings of the process, which runs in several threads suspend and restore together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._found: list[tuple[Any, str]] = []
        self._dtype = torch.float32

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        with self._lock:
            if self._users == 0:
                self._suspend()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._restore()

    def _suspend(self) -> None:
        backends: Any = torch.backends
        cuda = [backends.cudnn.conv, backends.cuda.matmul]
        kinds = [*cuda, backends.mkldnn.conv, backends.mkldnn.matmul]
        self._found = [(kind, kind.fp32_precision) for kind in kinds]
        self._dtype = torch.get_default_dtype()
        for kind in kinds:
            kind.fp32_precision = "ieee"
        torch.set_default_dtype(torch.float32)

    def _restore(self) -> None:
        for kind, precision in self._found:
            kind.fp32_precision = precision
        torch.set_default_dtype(self._dtype)


_defaults = _Defaults()
