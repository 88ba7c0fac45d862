"""Point grids from files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from napari_sam_amg.errors import ParameterError

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
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > _MOST_BYTES:
            raise ParameterError(
                f"point_grids {path}: the file has {size} bytes, more than the "
                f"{_MOST_BYTES} allowed; give fewer points"
            )
        value = _read_npy(path) if path.suffix.lower() == ".npy" else _read_json(path)
    except OSError as error:
        raise ParameterError(
            f"point_grids {path}: cannot be read ({error.strerror or error}); give a JSON or "
            ".npy file"
        ) from error
    except (ValueError, EOFError, RecursionError) as error:
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


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_npy(path: Path) -> Any:
    import numpy as np

    array = np.load(path, allow_pickle=False)
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
