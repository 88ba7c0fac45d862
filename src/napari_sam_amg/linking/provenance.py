"""What linked or tracked objects, as a dict that is JSON."""

from __future__ import annotations

import datetime
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam_amg.linking.sizes import PixelSize
    from napari_sam_amg.parameters import ParameterSet


def describe(parameters: ParameterSet, size: PixelSize | None, unit: str) -> dict[str, Any]:
    """Describe a job so that it can be repeated."""
    from napari_sam_amg import __version__

    return {
        "versions": {"napari-sam-amg": __version__},
        "parameters": json.loads(parameters.model_dump_json()),
        "pixel_size": None if size is None else list(size),
        "unit": unit,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
