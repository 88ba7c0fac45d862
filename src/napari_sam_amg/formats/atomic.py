"""Files that appear under their name whole, or not at all.

What is written goes to a temporary neighbour first, ``<name>.tmp-<16 hex digits>``, is
forced to disk, and then takes the place of the target. A killed run leaves at most such a
neighbour, which the next write to the same target clears. Folders: `atomic_folder`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import re
import secrets
import shutil
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from napari_sam_amg.errors import WriteError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

AnyPath = str | os.PathLike[str]

OLD = "-old"
"""End of the name of what is being replaced, while it is."""

_LONGEST_NAME = 255
_SUFFIX = re.compile(r"\.tmp-[0-9a-f]{16}(-old)?")
_SUFFIX_LENGTH = len(".tmp-") + 16 + len(OLD)
_BUFFER = 1 << 20


@contextlib.contextmanager
def write_file(path: AnyPath) -> Iterator[BinaryIO]:
    """Write a file that replaces `path` when the block is left without an error.

    Parameters
    ----------
    path : path
        What to write; missing folders are made. A link stays, and its target is written.

    Yields
    ------
    file object
        Open for writing bytes.

    Raises
    ------
    WriteError
        If it cannot be written; what was at `path` is as it was.
    """
    with write_files([path]) as (file,):
        yield file


@contextlib.contextmanager
def write_files(paths: Sequence[AnyPath]) -> Iterator[list[BinaryIO]]:
    """Write files that belong together, as `write_file`; they are replaced in this order.

    If the process is killed between two of them, the later ones are left complete beside
    their targets; see `leftovers`.
    """
    with contextlib.ExitStack() as stack:
        pairs: list[tuple[Path, Path]] = []
        files: list[BinaryIO] = []
        for path in paths:
            target = resolved(path)
            stack.enter_context(failure_named(target))
            _clear(target)
            if target.is_dir():
                raise WriteError(f"{target} is a folder; choose another name for the file")
            staged = neighbour(target)
            stack.enter_context(discarded(staged, os.unlink))
            files.append(stack.enter_context(create(staged)))
            pairs.append((staged, target))
        yield files
        for file in files:
            file.flush()
            os.fsync(file.fileno())
            file.close()
        _commit(pairs)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing bytes."""
    return io.BufferedWriter(io.FileIO(path, "xb"), _BUFFER)


def leftovers(path: AnyPath) -> list[Path]:
    """Return what a killed run left beside `path`, sorted."""
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


def resolved(path: AnyPath) -> Path:
    """Return the absolute path of what is to be written, its parent made.

    Raises
    ------
    WriteError
        If there is no such path, or its parent cannot be made.
    """
    target = Path(os.path.abspath(path)) if "\0" not in os.fspath(path) else None
    if target is None or not target.name:
        raise WriteError(f"{os.fspath(path)!r} is no name of a file or folder; choose another")
    with failure_named(target):
        if target.is_symlink():
            target = Path(os.path.realpath(target))
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


def neighbour(target: Path) -> Path:
    """Return a new temporary name beside `target`, short enough for a file system."""
    return target.with_name(f"{_prefix(target.name)}.tmp-{secrets.token_hex(8)}")


@contextlib.contextmanager
def discarded(staged: Path, remove: Callable[[Path], None]) -> Iterator[None]:
    """Remove what was staged, if the block fails."""
    try:
        yield
    except BaseException:
        _tidy(staged, remove)
        raise


@contextlib.contextmanager
def failure_named(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that say what to do."""
    try:
        yield
    except OSError as error:
        why = (error.strerror or "input or output error").lower()
        raise WriteError(
            f"{target} cannot be written: {why}; what was there before is as it was. "
            f"{_advice(error, target)}"
        ) from error


def sync_folder(folder: Path) -> None:
    """Force renames to disk, where folders can be opened for that."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        log.debug("folder %s could not be opened to be synced: %s", folder, error)
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        log.debug("folder %s could not be synced: %s", folder, error)
    finally:
        os.close(descriptor)


def _prefix(name: str) -> str:
    room = _LONGEST_NAME - _SUFFIX_LENGTH
    if len(os.fsencode(name)) <= room:
        return name
    mark = "~" + sha256(os.fsencode(name)).hexdigest()[:16]
    while len(os.fsencode(name)) > room - len(mark):
        name = name[:-1]
    return name + mark


def _clear(target: Path) -> None:
    for left in leftovers(target):
        if left.is_file() or left.is_symlink():
            _tidy(left, os.unlink)


def _tidy(path: Path, remove: Callable[[Path], None]) -> None:
    try:
        remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s could not be removed: %s", path, error.strerror)


def _commit(pairs: Sequence[tuple[Path, Path]]) -> None:
    kept: list[tuple[Path, Path | None]] = []
    try:
        for staged, target in pairs[:-1]:
            kept.append((target, _keep(target, staged)))
            os.replace(staged, target)
        os.replace(*pairs[-1])
    except BaseException:
        for target, old in reversed(kept):
            if old is None:
                _tidy(target, os.unlink)
            else:
                os.replace(old, target)
        raise
    finally:
        for _, old in kept:
            if old is not None:
                _tidy(old, os.unlink)
    for folder in {target.parent for _, target in pairs}:
        sync_folder(folder)


def _keep(target: Path, staged: Path) -> Path | None:
    """Keep what is about to be replaced, until all of the files are."""
    if not target.exists():
        return None
    old = staged.with_name(staged.name + OLD)
    try:
        os.link(target, old)
    except OSError:
        # Not every file system has hard links.
        shutil.copyfile(target, old)
    return old


def _advice(error: OSError, target: Path) -> str:
    advice = {
        errno.ENOSPC: "Free some space or choose another disk.",
        errno.EDQUOT: "Free some of your quota or choose another disk.",
        errno.EACCES: f"Check that you may write in {target.parent}.",
        errno.EPERM: f"Check that you may write in {target.parent}.",
        errno.EROFS: "The disk is read-only: choose another one.",
        errno.ENAMETOOLONG: "Choose a shorter name, or a folder with a shorter path.",
        errno.EIO: "Check the disk or the connection to it.",
    }
    return advice.get(error.errno or 0, "Choose another place.")
