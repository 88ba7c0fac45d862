"""One image's masks as GeoJSON, which QuPath takes by drag and drop, every pixel kept."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import numpy as np

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.records import run_record, to_json
from napari_sam_amg.masks.outlines import outlines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.outlines import Outline, Ring

KEY = "napari_sam_amg"
"""Where the record of the run is, beside the features."""

# Any fixed one will do; it keeps our names apart from those of others.
_NAMESPACE = UUID("d1c2f6a4-5b0e-4c58-9a0e-6f0f3f6f2b7d")


def write_geojson(
    masks: Masks, path: AnyPath, *, measurements: pd.DataFrame | None = None
) -> None:
    """Write one FeatureCollection, a detection a mask, as QuPath 0.4 and later read it.

    Outlines run along the edges of pixels, in pixels of the image from its top left corner,
    so their areas are exactly those of the masks, also where masks overlap. The same masks
    give the same bytes, objects' ids included.

    Parameters
    ----------
    masks : Masks
    path : path
        The file; QuPath wants ``.geojson`` for its suffix.
    measurements : DataFrame, optional
        Numbers to show with each object, a row a mask in their order; a column ``label`` is
        left out. Predicted IoU, stability score and area are there anyway. What is not
        known, or infinite, is left out for that object.

    Raises
    ------
    ParameterError
        If `measurements` has not a row for each mask, or columns that are not of numbers or
        of one name.
    WriteError
        If it cannot be written; what was there is as it was.
    """
    columns = _columns(masks, measurements)
    with write_file(path) as file:
        file.write(b'{"type": "FeatureCollection", ')
        file.write(f'"{KEY}": {to_json(run_record(masks))}, "features": ['.encode("ascii"))
        for place, feature in enumerate(_features(masks, columns)):
            # A feature a line: readable, and not all of them in memory at once.
            file.write((",\n" if place else "\n").encode("ascii"))
            file.write(to_json(feature).encode("ascii"))
        file.write(b"]}\n")


def _columns(masks: Masks, measurements: pd.DataFrame | None) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {
        "Predicted IoU": masks.predicted_iou.tolist(),
        "Stability score": masks.stability_score.tolist(),
        "Area px^2": masks.areas.tolist(),
    }
    if measurements is None:
        return columns
    if len(measurements) != len(masks):
        raise ParameterError(
            f"measurements has {len(measurements)} rows for {len(masks)} masks; give one for "
            "each mask, in their order"
        )
    for key, column in measurements.items():
        name = str(key)
        if name == "label":
            continue
        if name in columns:
            raise ParameterError(f"measurements: {name!r} comes twice; rename the column")
        columns[name] = _numbers(name, column)
    return columns


def _numbers(name: str, column: pd.Series[Any]) -> list[float]:
    from pandas.api.types import is_complex_dtype, is_numeric_dtype

    if not is_numeric_dtype(column.dtype) or is_complex_dtype(column.dtype):
        raise ParameterError(
            f"measurements: {name!r} is of {column.dtype}, not of numbers; leave the column out"
        )
    numbers: list[float] = column.to_numpy(dtype=np.float64, na_value=np.nan).tolist()
    return numbers


def _features(masks: Masks, columns: dict[str, list[float]]) -> Iterator[dict[str, Any]]:
    source = str(masks.provenance.get("source"))
    for index in range(len(masks)):
        left, top, window = masks.window(index)
        geometry = _geometry(outlines(window, left=left, top=top))
        name = str(index + 1)
        values = {key: column[index] for key, column in columns.items()}
        yield {
            "type": "Feature",
            # With the outline, as two results of one image may be in QuPath side by side.
            "id": str(uuid5(_NAMESPACE, json.dumps([source, name, geometry]))),
            "geometry": geometry,
            "properties": {
                "objectType": "detection",
                "name": name,
                "measurements": {k: v for k, v in values.items() if math.isfinite(v)},
            },
        }


def _geometry(parts: list[Outline]) -> dict[str, Any]:
    # Exteriors run counter-clockwise and holes clockwise in the numbers, as RFC 7946 has it
    # for readers whose y points up. QuPath does not mind.
    polygons = [[_closed(ring) for ring in (exterior, *holes)] for exterior, holes in parts]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: Ring) -> list[list[int]]:
    corners: list[list[int]] = ring.tolist()
    return [*corners, corners[0]]
