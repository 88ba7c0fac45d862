"""Image files of any number of planes, opened by the names of their axes.

Names are loaded on first use, so importing the package is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.sources.opening import open_source
    from napari_sam_amg.sources.source import ImageSource, Plane

_HOMES = {"ImageSource": "source", "Plane": "source", "open_source": "opening"}

__all__ = ["ImageSource", "Plane", "open_source"]

__getattr__ = attach(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
