"""Planes that are too large for memory: read, segmented and written tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.large.result import LargeResult, LargeStep
    from napari_sam_amg.large.run import segment_large, steps_large

__all__ = ["LargeResult", "LargeStep", "segment_large", "steps_large"]

__getattr__ = attach(
    __name__,
    {
        "LargeResult": "result",
        "LargeStep": "result",
        "segment_large": "run",
        "steps_large": "run",
    },
)
