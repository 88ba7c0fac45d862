"""Planes that are too large for memory: read, segmented and written tile by tile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.large.result import LargeResult
    from napari_sam_amg.large.run import LargeStep, segment_large, steps_large

__all__ = ["LargeResult", "LargeStep", "segment_large", "steps_large"]

__getattr__ = attach(
    __name__,
    {
        "LargeResult": "result",
        "LargeStep": "run",
        "segment_large": "run",
        "steps_large": "run",
    },
)
