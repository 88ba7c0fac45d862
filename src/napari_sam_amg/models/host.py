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

    with contextlib.ExitStack() as changes:
        # sam2 makes tensors without saying where. Every call of torch is slower under a default
        # device, by more than a small one takes.
        if torch.get_default_device().type != "cpu":
            changes.enter_context(torch.device("cpu"))
        changes.enter_context(_defaults.suspended())
        yield


class _Defaults:
    """Settings of the process, which runs in several threads suspend and restore together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._found: list[tuple[Any, str]] = []
        self._dtype: Any = None

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
        import torch

        backends: Any = torch.backends
        cuda = [backends.cudnn.conv, backends.cuda.matmul]
        kinds = [*cuda, backends.mkldnn.conv, backends.mkldnn.matmul]
        self._found = [(kind, kind.fp32_precision) for kind in kinds]
        self._dtype = torch.get_default_dtype()
        for kind in kinds:
            kind.fp32_precision = "ieee"
        torch.set_default_dtype(torch.float32)

    def _restore(self) -> None:
        import torch

        for kind, precision in self._found:
            kind.fp32_precision = precision
        torch.set_default_dtype(self._dtype)


_defaults = _Defaults()
