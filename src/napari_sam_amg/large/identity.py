"""What must be the same for a run to be gone on with."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.large.source import Source

Identity = dict[str, Any]


def identity_of(
    generator: AutomaticMaskGenerator,
    source: Source,
    pixel_size: float | tuple[float, float] | None,
    unit: str,
) -> Identity:
    """Return what a result depends on, besides the pixels: JSON.

    Raises
    ------
    ParameterError
        If the size of a pixel is not above 0.
    """
    described = generator.describe({}, "")
    known: Identity = {
        "image": [list(source.full_shape), str(source.dtype)],
        "weights": generator.info.sha256 or generator.weights_digest(),
        "brightness": dataclasses.asdict(generator.brightness),
        "pixel_size": _sizes(pixel_size),
        "unit": None if pixel_size is None else unit,
        "device": generator.device.type,
        **{key: described[key] for key in ("versions", "model", "parameters", "precision")},
    }
    # What is said of a result afterwards changes nothing in it.
    known["model"] = {key: value for key, value in known["model"].items() if key != "doubt"}
    plain: Identity = json.loads(json.dumps(known))  # as it is once written and read
    return plain


def differing(one: Mapping[str, Any], other: Mapping[str, Any], within: str = "") -> list[str]:
    """Return what differs, and how; names of mappings in mappings have a dot."""
    found: list[str] = []
    for name in sorted({*one, *other}):
        before, now = one.get(name), other.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            found += differing(before, now, f"{within}{name}.")
        elif before != now:
            found.append(f"{within}{name} ({before!r}, now {now!r})")
    return found


def short(identity: Identity) -> str:
    """Return a hash of an identity, hexadecimal."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _sizes(pixel_size: float | tuple[float, float] | None) -> list[float]:
    if pixel_size is None:
        return [1.0, 1.0]
    height, width = pixel_size if isinstance(pixel_size, tuple) else (pixel_size, pixel_size)
    if not (height > 0 and width > 0):
        raise ParameterError(f"pixel_size={pixel_size!r}: give lengths above 0")
    return [float(height), float(width)]
