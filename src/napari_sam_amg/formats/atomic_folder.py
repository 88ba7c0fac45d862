"""Folders that appear under their name whole, or not at all; see `atomic`."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats.atomic import (
    AnyPath,
    create,
    discarded,
    failure_named,
    resolved,
    sync_folder,
)
from napari_sam_amg.formats.staged import OLD, is_alive, leftovers, neighbour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    IsOurs = Callable[[str], bool]
    IsResult = Callable[[Path], bool]

log = logging.getLogger(__name__)


@contextlib.contextmanager
def write_folder(path: AnyPath, *, is_ours: IsOurs, is_result: IsResult) -> Iterator[StagedFolder]:
    """Write a folder that replaces `path` when the block is left without an error.

    Parameters
    ----------
    path : path
        What to write; missing parents are made. An existing folder is replaced only if it
        is empty, or `is_result` accepts it and all it holds are regular files that `is_ours`
        accepts, by their paths within it, with ``/``.
    is_ours : callable
        Whether a file of this name may be deleted with the folder that it replaces.
    is_result : callable
        Whether the content of a folder says that it is a result. Names alone do not: anyone
        numbers files.

    Yields
    ------
    StagedFolder

    Raises
    ------
    WriteError
        If it cannot be written, or something else is at `path`; that is as it was. Where
        the process is killed in the moment between moving the earlier folder away and the
        new one in, the next write brings the earlier one back first.
    """
    target = resolved(path)
    with failure_named(target):
        _recover(target, is_ours)
        _check_replaceable(target, is_ours, is_result)
        staged = neighbour(target)
        with discarded(staged, lambda folder: _remove(folder, is_ours)):
            os.mkdir(staged)
            folder = StagedFolder(staged)
            yield folder
            folder.sync()
            _swap(staged, target, is_ours)


class StagedFolder:
    """A folder in the making.

    Parameters
    ----------
    path : Path
        Where it is until it is complete.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """Where it is until it is complete: for libraries that write into folders."""
        return self._path

    def write(self, name: str, data: bytes) -> None:
        """Write one file."""
        with create(self._path / name) as file:
            file.write(data)

    def sync(self) -> None:
        """Force all files to disk: at the end, which is faster than one by one."""
        for name, _ in _files(self._path):
            descriptor = os.open(self._path / name, os.O_RDWR | getattr(os, "O_BINARY", 0))
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        for parent, folders, _names in os.walk(self._path):
            for folder in folders:
                sync_folder(Path(parent) / folder)
        sync_folder(self._path)


def foreign_files(
    folder: AnyPath, *, is_ours: IsOurs, is_result: IsResult | None = None
) -> list[str]:
    """Return what is in a folder that must not be deleted, sorted paths within it.

    Parameters
    ----------
    folder : path
    is_ours, is_result : callable
        As in `write_folder`. All files are foreign in a folder that is no result; None
        goes by the names alone, as is right for what has a temporary name of ours.
    """
    ours = {name: regular and is_ours(name) for name, regular in _files(folder)}
    foreign = sorted(name for name in ours if not ours[name])
    if foreign or is_result is None or is_result(Path(folder)):
        return foreign
    return sorted(ours)


def _files(folder: AnyPath, within: str = "") -> Iterator[tuple[str, bool]]:
    """Yield what is in a folder and those in it, and whether it is no link or device."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name = within + entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield name, entry.is_file(follow_symlinks=False)
            continue
        inside = list(_files(entry.path, f"{name}/"))
        # Whoever made an empty folder may want it: the end of its name says what it is.
        yield from inside or [(f"{name}/", True)]


def _recover(target: Path, is_ours: IsOurs) -> None:
    """Undo or clear what a killed run left."""
    for left in leftovers(target):
        if left.is_symlink() or not left.is_dir() or is_alive(left):
            continue
        if foreign_files(left, is_ours=is_ours):
            continue
        if left.name.endswith(OLD) and not os.path.lexists(target):
            os.rename(left, target)
        else:
            _remove(left, is_ours)


def _check_replaceable(target: Path, is_ours: IsOurs, is_result: IsResult) -> None:
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise WriteError(f"{target} is a file; choose another name for the folder")
    foreign = foreign_files(target, is_ours=is_ours, is_result=is_result)
    if foreign:
        more = " ..." if len(foreign) > 3 else ""
        raise WriteError(
            f"{target} is not replaced, because it holds more than an earlier result: "
            f"{', '.join(foreign[:3])}{more}; choose another folder or move these away"
        )


def _swap(staged: Path, target: Path, is_ours: IsOurs) -> None:
    if not os.path.lexists(target):
        os.rename(staged, target)
        sync_folder(target.parent)
        return
    old = staged.with_name(staged.name + OLD)
    os.rename(target, old)
    try:
        os.rename(staged, target)
    except BaseException:
        os.rename(old, target)
        raise
    sync_folder(target.parent)
    try:
        _remove(old, is_ours)
    except OSError as error:
        log.warning("the replaced result %s could not be removed: %s", old, error.strerror)


def _remove(folder: Path, is_ours: IsOurs) -> None:
    folders = {folder}
    for name, regular in list(_files(folder)):
        if name.endswith("/"):
            folders.add(folder / name)
        elif regular and is_ours(name):
            os.unlink(folder / name)
        folders |= {folder / parent for parent in Path(name).parents}
    for parent in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        os.rmdir(parent)
