"""Recognising that memory ran out, on any device."""

from __future__ import annotations


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that host or device memory ran out.

    CUDA has a type for it; the CPU's allocator and MPS raise a plain RuntimeError.
    """
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return (
        "not enough memory" in text or "can't allocate memory" in text or ("out of memory" in text)
    )
