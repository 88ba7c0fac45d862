"""The napari side of the package: nothing below it knows napari."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.plugin.scripting import segment_layer
    from napari_sam_amg.plugin.widget import AmgWidget

__all__ = ["AmgWidget", "segment_layer"]

__getattr__ = attach(__name__, {"AmgWidget": "widget", "segment_layer": "scripting"})
