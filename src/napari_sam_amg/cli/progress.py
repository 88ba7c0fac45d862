"""How far a download is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from napari_sam_amg.cli.streams import is_terminal, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Progress = Callable[[int, int], None]

_LINES = 10


@contextlib.contextmanager
def download_progress(name: str, *, quiet: bool) -> Iterator[Progress | None]:
    """Give what `models.fetch` tells about a download.

    Nothing is shown if nothing is downloaded.

    Parameters
    ----------
    name : str
        Of the model.
    quiet : bool
        Whether the user asked for silence.

    Yields
    ------
    callable or None
        Takes the bytes done and the bytes in total, 0 if that is unknown.
    """
    if quiet:
        yield None
    elif is_terminal():
        with contextlib.ExitStack() as stack:
            yield _bar(name, stack)
    else:
        yield _lines(name)


def _bar(name: str, stack: contextlib.ExitStack) -> Progress:
    bars: list[Any] = []

    def show(done: int, total: int) -> None:
        from tqdm import tqdm

        if not bars:
            bar = tqdm(
                total=total or None,
                desc=f"Downloading {name}",
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                dynamic_ncols=True,
            )
            bars.append(stack.enter_context(bar))
        # A second attempt begins again.
        bars[0].update(done - bars[0].n)

    return show


def _lines(name: str) -> Progress:
    said = -1

    def show(done: int, total: int) -> None:
        nonlocal said
        # Of a size that is unknown, a line for every 100 MB.
        part = _LINES * done // total if total else done // 10**8
        if part == said:
            return
        said = part
        of = f" of {total / 1e6:.0f}" if total else ""
        warn(f"Downloading {name}: {done / 1e6:.0f}{of} MB")

    return show
