"""Files that appear under their name whole, or not at all.

What is written goes to a temporary neighbour first (see `staged`), is forced to disk, and
then takes the place of the target. A killed run leaves at most such neighbours, which the
next write to the same target clears, unless their writer may still be at work. Folders:
`atomic_folder`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats.reading import reason
from napari_sam_amg.formats.staged import OLD, finished, is_alive, leftovers, neighbour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)

AnyPath = str | os.PathLike[str]

_BUFFER = 1 << 20
# Of files that belong together, two threads must not replace one each.
_one_at_a_time = threading.Lock()


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

    An error names the file that it is about. If the process is killed between two of them,
    the later ones are left complete beside their targets; see `leftovers`.
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
            files.append(stack.enter_context(_Staged(staged, target)))
            pairs.append((staged, target))
        yield files
        for file, (_, target) in zip(files, pairs, strict=True):
            with failure_named(target):
                file.flush()
                os.fsync(file.fileno())
                file.close()
        with _one_at_a_time:
            _commit(pairs)
        for folder in {target.parent for _, target in pairs}:
            sync_folder(folder)


class _Staged(io.BufferedWriter):
    """A new file, whose refusals name what it is to become."""

    def __init__(self, staged: Path, target: Path) -> None:
        super().__init__(io.FileIO(staged, "xb"), _BUFFER)
        self._target = target

    def write(self, data: Any, /) -> int:
        with failure_named(self._target):
            return super().write(data)


def create(path: Path) -> BinaryIO:
    """Open a new file for writing bytes."""
    return io.BufferedWriter(io.FileIO(path, "xb"), _BUFFER)


def resolved(path: AnyPath) -> Path:
    """Return the absolute path of what is to be written, its parent made.

    Raises
    ------
    WriteError
        If there is no such path, it names nothing but the current folder, or its parent
        cannot be made.
    """
    # As an absolute path, "" and "." would be the current folder's name.
    named = "\0" not in os.fspath(path) and Path(path).name
    target = Path(os.path.abspath(path)) if named else Path()
    if not target.name:
        raise WriteError(f"{os.fspath(path)!r} is no name of a file or folder; choose another")
    with failure_named(target):
        if target.is_symlink():
            target = Path(os.path.realpath(target))
        target.parent.mkdir(parents=True, exist_ok=True)
    return target


@contextlib.contextmanager
def discarded(staged: Path, remove: Callable[[Path], None]) -> Iterator[None]:
    """Remove what was staged, if the block fails; in any case it is no longer written."""
    try:
        yield
    except BaseException:
        _tidy(staged, remove)
        raise
    finally:
        finished(staged)


@contextlib.contextmanager
def failure_named(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals into errors that say what to do."""
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{target} cannot be written: {reason(error)}; what was there before is as it was. "
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


def _clear(target: Path) -> None:
    for left in leftovers(target):
        if (left.is_file() or left.is_symlink()) and not is_alive(left):
            _tidy(left, os.unlink)


def _tidy(path: Path, remove: Callable[[Path], None]) -> None:
    try:
        remove(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("%s could not be removed: %s", path, error.strerror)


def _commit(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Replace all targets, or none: the last replacement decides."""
    kept: list[tuple[Path, Path | None]] = []
    try:
        for place, (staged, target) in enumerate(pairs, start=1):
            with failure_named(target):
                if place < len(pairs):
                    kept.append((target, _keep(target, staged)))
                os.replace(staged, target)
    except BaseException:
        # An interruption may come after the last replacement: then all is done.
        if os.path.lexists(pairs[-1][0]):
            _put_back(kept)
        raise
    finally:
        for _, old in kept:
            if old is not None:
                _tidy(old, os.unlink)


def _put_back(kept: list[tuple[Path, Path | None]]) -> None:
    stuck: list[str] = []
    for target, old in kept[::-1]:
        if old is None:
            _tidy(target, os.unlink)
            continue
        try:
            os.replace(old, target)
        except OSError as error:
            # Off the list, it is not cleared away: nothing else has the earlier content.
            kept.remove((target, old))
            stuck.append(f"{target} cannot be put back: {reason(error)}; it is kept as {old}")
    if stuck:
        raise WriteError("; ".join(stuck))


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
