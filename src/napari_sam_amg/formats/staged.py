"""Temporary names of what is being written, and whose they are.

``<name>.tmp-<process id>-<16 hex digits>``: the first eight digits stand for the computer,
the others are random. So a writer can tell what a killed one left from what another one,
in this process or another, is still writing.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import secrets
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath

OLD = "-old"
"""End of the name of what is being replaced, while it is."""

SECONDS_TO_LIVE = 24 * 3600
"""What nobody has touched for longer is no longer being written, whoever began it."""

_LONGEST_NAME = 255
_SUFFIX = re.compile(r"\.tmp-([0-9]{1,10})-([0-9a-f]{8})[0-9a-f]{8}(-old)?\Z")
_SUFFIX_LENGTH = len(".tmp-") + 10 + 1 + 16 + len(OLD)
# What this process is writing: what it failed to clear away is not among it.
_in_work: set[str] = set()


def neighbour(target: Path) -> Path:
    """Return a new temporary name beside `target`, short enough for a file system."""
    mark = f"{os.getpid()}-{_computer()}{secrets.token_hex(4)}"
    staged = target.with_name(f"{_prefix(target.name)}.tmp-{mark}")
    _in_work.add(staged.name)
    return staged


def finished(staged: Path) -> None:
    """Tell that this process no longer writes what has a temporary name."""
    _in_work.discard(staged.name)


def leftovers(path: AnyPath) -> list[Path]:
    """Return what is beside `path` under temporary names of it, sorted: see `is_alive`."""
    target = Path(path)
    prefix = _prefix(target.name)
    try:
        names = os.listdir(target.parent)
    except OSError:
        return []
    return sorted(
        target.parent / name
        for name in names
        if name.startswith(prefix) and _SUFFIX.fullmatch(name, len(prefix))
    )


def is_alive(staged: Path) -> bool:
    """Return whether somebody may still be writing what has a temporary name.

    Parameters
    ----------
    staged : Path
        One of `leftovers`.

    Returns
    -------
    bool
        False if its process is gone. Of processes on other computers nothing is known, so
        there, and because process ids are used again, the time since it was changed counts.
    """
    match = _SUFFIX.search(staged.name)
    try:
        status = staged.lstat()
    except OSError:
        # It is gone: whoever it belongs to has just finished.
        return True
    # What is kept while it is replaced was written long ago, but linked or renamed now.
    age = time.time() - max(status.st_mtime, status.st_ctime)
    if match is None or age > SECONDS_TO_LIVE:
        return False
    if match[2] != _computer():
        return True
    if int(match[1]) == os.getpid():
        return staged.name.removesuffix(OLD) in _in_work
    return _runs(int(match[1]))


@functools.cache
def _computer() -> str:
    return sha256(platform.node().encode("utf-8", "replace")).hexdigest()[:8]


def _runs(process: int) -> bool:
    if sys.platform == "win32":
        return _runs_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # It is another user's, or no number of a process here.
        return True
    return True


def _runs_on_windows(process: int) -> bool:
    """Ask without `os.kill`, which would end the process there."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]
    kernel.OpenProcess.restype = ctypes.c_void_p
    synchronize, access_denied, still_running = 0x0010_0000, 5, 0x102
    handle = kernel.OpenProcess(synchronize, False, process)
    if not handle:
        return bool(ctypes.get_last_error() == access_denied)  # type: ignore[attr-defined]
    try:
        found = kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0)
        return bool(found == still_running)
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))


def _prefix(name: str) -> str:
    room = _LONGEST_NAME - _SUFFIX_LENGTH
    if len(os.fsencode(name)) <= room:
        return name
    mark = "~" + sha256(os.fsencode(name)).hexdigest()[:16]
    while len(os.fsencode(name)) > room - len(mark):
        name = name[:-1]
    return name + mark
