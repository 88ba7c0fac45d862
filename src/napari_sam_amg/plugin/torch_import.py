"""What has to happen before torch is imported into napari's process, on Linux.

Triton, which a CUDA build of torch imports, has an LLVM inside. Where Mesa's software or
AMD driver has loaded its own libLLVM before, Triton's symbols are bound to that one, and
the process dies with a segmentation fault. napari has drawn long before the first run, so
Triton's library is opened first in a way that makes it prefer its own symbols.

Python opens an extension's libraries while it holds the interpreter's lock. For torch's that
takes seconds, in which the window stands still although the import runs in a worker. A call
of ``dlopen`` through ctypes lets go of the lock; the import then finds them open.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def prepare_torch_import() -> None:
    """Open the libraries of Triton and torch, those that are there, in the right way.

    To be called before torch is imported; does nothing afterwards, and on systems other
    than Linux.
    """
    if not sys.platform.startswith("linux") or "torch" in sys.modules:
        return
    now, local = os.RTLD_NOW, os.RTLD_LOCAL
    for package, library, mode in (
        ("triton", "_C/libtriton.so", now | local | os.RTLD_DEEPBIND),
        # As torch itself opens them, and in this order.
        ("torch", "lib/libtorch_global_deps.so", now | os.RTLD_GLOBAL),
        ("torch", "lib/libtorch_python.so", now | local),
    ):
        if package == "torch" and os.environ.get("LD_LIBRARY_PATH"):
            break  # torch sees to it that its own CUDA libraries win over those
        try:
            spec = importlib.util.find_spec(package)
        except ValueError:  # a stand-in without a specification
            continue
        for folder in (spec.submodule_search_locations or []) if spec else []:
            path = Path(folder) / library
            if path.is_file():
                _open(path, mode)


def _open(path: Path, mode: int) -> None:
    """Open a library for as long as the process lives, without the interpreter's lock."""
    system = ctypes.CDLL(None)
    system.dlopen.restype, system.dlerror.restype = ctypes.c_void_p, ctypes.c_char_p
    system.dlopen.argtypes = ctypes.c_char_p, ctypes.c_int
    if not system.dlopen(os.fsencode(path), mode):
        reason = (system.dlerror() or b"").decode(errors="replace")
        log.warning("cannot open %s (%s): importing torch may fail", path, reason)
