"""One process at a time in the folder of an unfinished run."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats.atomic import failure_named
from napari_sam_amg.formats.staged import finished, is_alive, leftovers, neighbour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NAME = "at-work"


def check_free(folder: Path, own: Path | None = None) -> None:
    """Refuse a folder in which another run is at work; clear what killed ones left.

    Raises
    ------
    WriteError
        If there is one.
    """
    for other in leftovers(folder / _NAME):
        if other == own:
            continue
        if is_alive(other):
            raise WriteError(
                f"another run is at work in {folder}: wait for it, or choose another folder. If "
                f"there is none, remove {other}"
            )
        with contextlib.suppress(OSError):
            os.unlink(other)


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Callable[[], None]]:
    """Keep other runs out of a folder within this context.

    Yields
    ------
    callable
        To be called now and then: who has not been heard of for a day is taken to be gone.

    Raises
    ------
    WriteError
        If another run is at work in the folder, or it cannot be written.
    """
    with failure_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        own = neighbour(folder / _NAME)
        own.touch()
    try:
        check_free(folder, own)
        yield own.touch
    finally:
        finished(own)
        with contextlib.suppress(OSError):  # the folder may be gone by now
            os.unlink(own)
