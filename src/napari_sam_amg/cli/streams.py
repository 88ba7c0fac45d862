"""Lines to the two standard streams, whoever still reads them."""

from __future__ import annotations

import contextlib
import os
import sys


def say(line: str) -> None:
    """Write a line to standard output.

    Parameters
    ----------
    line : str
        Without its end. If the reader of a pipe went away (``| head``), nothing more is
        written: the results matter, not the report.
    """
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends, and would complain.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def warn(line: str) -> None:
    """Write a line to standard error.

    Parameters
    ----------
    line : str
        Without its end.
    """
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
