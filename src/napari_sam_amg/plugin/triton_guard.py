"""Torch imported into a process that draws with Mesa.

Triton, which a CUDA build of torch imports, has an LLVM inside. Where Mesa's software or
AMD driver has loaded its own libLLVM before, Triton's symbols are bound to that one, and
the process dies with a segmentation fault. napari has drawn long before the first run, so
Triton's library is opened first in a way that makes it prefer its own symbols.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from pathlib import Path

log = logging.getLogger(__name__)


def open_triton_apart() -> None:
    """Open Triton's library so that it binds to its own LLVM; nothing if it is not there.

    To be called before torch is imported; does nothing afterwards, and on systems other
    than Linux.
    """
    if not sys.platform.startswith("linux") or "torch" in sys.modules:
        return
    spec = importlib.util.find_spec("triton")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        library = Path(folder) / "_C" / "libtriton.so"
        if library.is_file():
            try:
                ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
            except OSError as error:
                log.warning("cannot open %s (%s): importing torch may fail", library, error)
