"""Planes as tasks on many machines, by Dask: one model for each worker, results as on one.

Needs the package ``distributed`` (``pip install napari-sam-amg[distributed]``), on the scheduler
and the workers the same versions as here, and files that all of them see under the same path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.distributed.many import segment_many

__all__ = ["segment_many"]

__getattr__ = attach(__name__, {"segment_many": "many"})
