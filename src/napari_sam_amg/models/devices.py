"""Where to compute."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari_sam_amg.errors import DeviceError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
"""Names in `torch.cpu.get_capabilities`."""

_FIX = "use 'auto', 'cpu', 'cuda', 'cuda:N' or 'mps'"


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """Turn the name of a device into one that exists here.

    Parameters
    ----------
    device : str or torch.device
        ``"auto"`` takes CUDA if there is one, else Apple's MPS, else the CPU.
        ``"cuda:1"`` is the second CUDA device.

    Returns
    -------
    torch.device
        With its index, if it is a CUDA device.

    Raises
    ------
    DeviceError
        If there is no such device here, or the name is not understood.
    """
    import torch

    wanted = parse_device(device)
    if wanted is None:
        chosen = _best()
        log.info("device auto: using %s", chosen)
        return torch.device(chosen)
    if wanted.type == "cuda":
        return _cuda(wanted.index)
    if wanted.type == "mps":
        _check_mps()
        return torch.device("mps")
    if wanted.type == "cpu":
        return torch.device("cpu")
    raise DeviceError(f"device {device!r} is of a kind that is not supported: {_FIX}")


def parse_device(device: str | torch.device) -> torch.device | None:
    """Return what `device` names, here or not, and None for "auto"; DeviceError if nothing."""
    import torch

    if isinstance(device, str) and device.strip().lower() == "auto":
        return None
    try:
        return torch.device(device.strip().lower() if isinstance(device, str) else device)
    except (RuntimeError, TypeError, ValueError):
        raise DeviceError(f"device {device!r} is not a device: {_FIX}") from None


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has units for bfloat16, without which float32 is faster.

    Parameters
    ----------
    device : torch.device
        Of a CPU, what torch tells of it counts: AVX512-BF16 or AMX, or BF16 of Arm.

    Returns
    -------
    bool
        True also where it cannot be told.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0) or bool(torch.version.hip)
    ask = getattr(torch.cpu, "get_capabilities", None)  # not in every torch that we run on
    if device.type != "cpu" or ask is None:
        return True
    found = ask()
    return any(found.get(unit, False) for unit in _BFLOAT16_UNITS)


def _best() -> str:
    import torch

    if torch.cuda.is_available() and torch.cuda.device_count() > 0:
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cuda(index: int | None) -> torch.device:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        built = (
            "the driver shows none to this process"
            if torch.version.cuda
            else "this torch is built without CUDA; install one with it from pytorch.org"
        )
        raise DeviceError(f"no CUDA device here ({built}): use 'cpu' or 'auto'")
    if index is None:
        index = 0
    if index >= count:
        raise DeviceError(
            f"device 'cuda:{index}' does not exist: there are {count} CUDA devices, "
            f"cuda:0 to cuda:{count - 1}"
        )
    return torch.device("cuda", index)


def _check_mps() -> None:
    import torch

    if not torch.backends.mps.is_available():
        raise DeviceError(
            "no MPS device here: it needs a Mac with an Apple or AMD GPU, macOS 12.3 or later "
            "and a torch built for it; use 'cpu' or 'auto'"
        )
