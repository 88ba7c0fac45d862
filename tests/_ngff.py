"""OME-Zarr written by hand, for suites that read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zarr

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

UNITS = {"t": "second", "z": "micrometer", "y": "nanometer", "x": "nanometer"}
TYPES = {"t": "time", "c": "channel"}


def write_ngff(
    folder: Path,
    data: NDArray[Any],
    axes: str,
    *,
    version: str = "0.4",
    scale: list[float] | None = None,
    channels: list[str] | None = None,
    levels: int = 1,
) -> None:
    """Write an OME-Zarr image by hand, as the specification says."""
    form = 2 if version == "0.4" else 3
    group = zarr.open_group(folder, mode="w", zarr_format=form)
    names: dict[str, Any] = {"name": "v2", "separator": "/"} if form == 2 else {"name": "default"}
    datasets = []
    for level in range(levels):
        step = 2**level
        part = data[..., ::step, ::step]
        array = group.create_array(
            str(level),
            shape=part.shape,
            chunks=(1,) * (part.ndim - 2) + (8, 8),
            dtype=part.dtype,
            chunk_key_encoding=names,
        )
        array[...] = part
        at = list(scale or [1.0] * data.ndim)
        at[-2:] = [at[-2] * step, at[-1] * step]
        datasets.append(
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": at}],
            }
        )
    described = [
        {"name": a, "type": TYPES.get(a, "space"), **({"unit": UNITS[a]} if a in UNITS else {})}
        for a in axes.lower()
    ]
    found: dict[str, Any] = {
        "multiscales": [{"version": version, "axes": described, "datasets": datasets}]
    }
    if channels:
        found["omero"] = {"channels": [{"label": name} for name in channels]}
    group.attrs.update(found if form == 2 else {"ome": {"version": version, **found}})
