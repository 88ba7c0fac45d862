"""A model's download as steps that a worker can yield."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from napari_sam_amg.models.download import fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_sam_amg.models.profiles import ModelInfo

_PAUSE = 0.1
"""Seconds between two reports."""

_PATIENCE = 1.0
"""Seconds to wait for the end of a download that was stopped; after that it ends by itself at
the next bytes, or when the server does not answer in time, and removes what it has. Should the
program end before that, the next download removes it, after a day."""


def downloading(
    info: ModelInfo, folder: Path | None, should_stop: Callable[[], bool]
) -> Iterator[tuple[int, int]]:
    """Fetch a model's file, if it is not there yet.

    Parameters
    ----------
    info : ModelInfo
        With a URL.
    folder : Path or None
        As for `fetch`.
    should_stop : callable
        Asked all the time; True ends it, also while the server is silent.

    Yields
    ------
    done, total : int
        Bytes, about ten times a second; 0 and 0 while nothing is loaded, or nothing needs
        to be.

    Raises
    ------
    DownloadError
        As by `fetch`, unless it was told to stop.
    """
    so_far = (0, 0)
    failed: list[Exception] = []

    def progress(done: int, total: int) -> None:
        nonlocal so_far
        so_far = (done, total)

    def work() -> None:
        try:
            fetch(info, folder=folder, progress=progress, cancel=should_stop)
        except Exception as error:  # noqa: BLE001 - raised below, in the worker's thread
            failed.append(error)

    # A daemon: a silent server must not keep the program from ending.
    thread = threading.Thread(target=work, name="napari-sam-amg download", daemon=True)
    thread.start()
    while thread.is_alive():
        yield so_far
        if should_stop():
            thread.join(_PATIENCE)
            return
        thread.join(_PAUSE)
    if failed and not should_stop():
        raise failed[0]
