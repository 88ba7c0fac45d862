"""Values on their way to and from an accelerator, which works on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable


def arriving(values: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Begin to bring values to the host.

    Parameters
    ----------
    values : Tensor

    Returns
    -------
    callable
        Returns them on the CPU. On CUDA it waits for these values alone, not for what was begun
        after them; elsewhere the copy is made when it is called.
    """
    if values.device.type != "cuda":
        return values.cpu
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.Event("cuda")
    copied.record()

    def wait() -> torch.Tensor:
        copied.synchronize()
        return host

    return wait


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Bring values to a device; to CUDA without waiting where it can be helped.

    They lie in memory that is not pinned: of that CUDA has taken a copy when this returns. MPS may
    not have, and reads what is then in their place
    (https://github.com/pytorch/pytorch/issues/139550).
    """
    return values.to(device, non_blocking=device.type == "cuda")
