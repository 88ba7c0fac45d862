"""Torch's settings of the host process, set aside while a model is built or runs."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def usual_defaults() -> Iterator[None]:
    """Make float32, full precision and the CPU torch's defaults; then as the host had them."""
    import torch

    # sam2 makes tensors without saying where.
    with torch.device("cpu"), _defaults.suspended():
        yield


def limit_threads(count: int) -> None:
    """Let torch use `count` threads for an operation of the calling thread.

    To be called within `usual_defaults`: torch notes the number for threads to come too, and
    the host's is put back with the other settings.
    """
    _defaults.limit_threads(count)


class _Defaults:
    """Settings of the process, which runs in several threads suspend and restore together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._found: list[tuple[Any, str]] = []
        self._dtype: Any = None
        self._threads = 0
        self._limited = False

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

    def limit_threads(self, count: int) -> None:
        import torch

        with self._lock:
            self._limited = True
            torch.set_num_threads(count)

    def _suspend(self) -> None:
        import torch

        backends: Any = torch.backends
        cuda = [backends.cudnn.conv, backends.cuda.matmul]
        kinds = [*cuda, backends.mkldnn.conv, backends.mkldnn.matmul]
        self._found = [(kind, kind.fp32_precision) for kind in kinds]
        self._dtype = torch.get_default_dtype()
        self._threads = torch.get_num_threads()
        for kind in kinds:
            kind.fp32_precision = "ieee"
        torch.set_default_dtype(torch.float32)

    def _restore(self) -> None:
        import torch

        for kind, precision in self._found:
            kind.fp32_precision = precision
        torch.set_default_dtype(self._dtype)
        if self._limited:
            torch.set_num_threads(self._threads)
            self._limited = False


_defaults = _Defaults()
