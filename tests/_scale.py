"""How much of a statistical suite runs: all of it under ``tox -e full``, else a tenth."""

from __future__ import annotations

import os

FULL = os.environ.get("NAPARI_SAM_AMG_FULL") == "1"


def scaled(count: int) -> int:
    """Return `count` in a full run, a tenth of it (at least one) otherwise."""
    return count if FULL else max(1, count // 10)
