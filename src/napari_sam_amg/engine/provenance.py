"""What made a result, as a dict that is JSON."""

from __future__ import annotations

import datetime
import functools
import json
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam_amg.models import ModelInfo
    from napari_sam_amg.parameters import AmgParameters


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for package in ("napari-sam-amg", "torch", "sam2", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def describe(
    *,
    info: ModelInfo,
    parameters: AmgParameters,
    mapping: Mapping[str, Any],
    device: str,
    precision: str,
    source: str,
) -> dict[str, Any]:
    """Describe a run so that it can be repeated.

    Parameters
    ----------
    info : ModelInfo
        The model; its name and hash are recorded.
    parameters : AmgParameters
        As resolved.
    mapping : mapping
        How the image became 8-bit RGB, by `napari_sam_amg.image.prepare_image`.
    device, precision : str
        What it ran on and how.
    source : str
        Name of the image.
    """
    return {
        "versions": dict(_versions()),
        "model": {
            "name": info.name,
            "title": info.title,
            "architecture": info.architecture,
            "sha256": info.sha256,
            "notes": info.notes,
            "profile": info.profile.to_json(),
            "doubt": None if info.doubt is None else dict(info.doubt),
        },
        "parameters": json.loads(parameters.model_dump_json()),
        "input": dict(mapping),
        "source": source,
        "device": device,
        "precision": precision,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
