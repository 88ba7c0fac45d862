"""Lines to the two standard streams, whoever still reads them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


def say(line: str) -> None:
    """Write a line to standard output.

    Parameters
    ----------
    line : str
        Without its end. What the stream has no letters for is escaped. If it cannot be
        written at all (``| head``, a full disk, a closed stream), nothing more is: the
        results matter, not the report.
    """
    _write(sys.stdout, line)


def warn(line: str) -> None:
    """Write a line to standard error; see `say`."""
    _write(sys.stderr, line)


def is_terminal() -> bool:
    """Return whether somebody watches both streams."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def _write(stream: TextIO | None, line: str) -> None:
    # Python has none where the program was started with a closed one.
    if stream is None:
        return
    try:
        try:
            stream.write(line + "\n")
        except UnicodeEncodeError:
            encoding = stream.encoding or "ascii"
            stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except (OSError, ValueError):
        # The interpreter flushes once more when it ends, and would complain.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
