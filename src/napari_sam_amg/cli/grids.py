"""Point grids from files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from napari_sam_amg.errors import ParameterError, ReadError

_MOST_BYTES = 64 * 1024 * 1024


def read_point_grids(path: str | Path) -> list[list[list[float]]]:
    """Read ``point_grids`` from a file.

    Parameters
    ----------
    path : str or Path
        JSON: a list of (x, y), or for the image and each crop layer such a list. Or
        ``.npy``: an array of shape (points, 2) or (layers, points, 2). Points are shares
        of width and height.

    Returns
    -------
    list of lists of [x, y]
        One list of points for each layer; not checked beyond its form.

    Raises
    ------
    ParameterError
        If the file cannot be read or does not hold points.
    """
    from napari_sam_amg.formats.reading import read_bytes

    path = Path(path)
    try:
        data = read_bytes(path, max_bytes=_MOST_BYTES)
        value = _from_npy(data) if path.suffix.lower() == ".npy" else _from_json(data)
    except ReadError as error:
        raise ParameterError(f"point_grids {error}; give a JSON or .npy file") from error
    except (ValueError, EOFError, MemoryError, RecursionError) as error:
        raise ParameterError(
            f"point_grids {path}: is no valid {path.suffix.lower() or 'JSON'} file; give JSON "
            "such as [[0.25, 0.5], [0.75, 0.5]], or a .npy array of numbers"
        ) from error
    if _is_points(value):
        return [value]
    if isinstance(value, list) and value and all(_is_points(grid) for grid in value):
        return value
    raise ParameterError(
        f"point_grids {path}: found no points in it; give a list of [x, y] between 0 and 1, or "
        "one such list for the image and each crop layer"
    )


def _from_json(data: bytes) -> Any:
    return json.loads(data.decode("utf-8"))


def _from_npy(data: bytes) -> Any:
    import numpy as np

    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "uif":
        raise ValueError("no array of numbers")
    return array.astype(np.float64).tolist()


def _is_points(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(
            isinstance(point, list)
            and len(point) == 2
            and all(isinstance(n, int | float) and not isinstance(n, bool) for n in point)
            for point in value
        )
    )
