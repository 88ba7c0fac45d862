"""The tables of tracks: a row a track, and a row an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam_amg.linking.tracks import Tracks
    from napari_sam_amg.masks.ragged import Indices

Columns = dict[str, npt.NDArray[Any]]


def object_rows(
    tracks: Tracks, centroids: Sequence[npt.NDArray[np.float64]], sizes: Sequence[Indices]
) -> Columns:
    """Tabulate the objects of tracks, sorted by track, then time point; see `Tracks`."""
    frames, axes = tracks.frames, tracks.frames.axes
    name = size_name(tracks)
    parts = []
    for number, ids in enumerate(tracks.ids):
        rows = np.flatnonzero(ids)
        part: Columns = {
            "track_id": ids[rows],
            "frame": np.full(len(rows), number, dtype=np.int64),
            "label": frames.names(number)[rows],
            name: sizes[number][rows],
        }
        for axis in range(axes):
            part[f"centroid-{axis}"] = centroids[number][rows, axis - axes]
        part["predicted_iou"] = frames.scores(number)[rows]
        parts.append(part)
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(columns["track_id"], kind="stable")
    columns = {name: values[order] for name, values in columns.items()}
    columns["parent"] = parents(tracks)[columns["track_id"]]
    if tracks.pixel_size is not None:
        unit = tracks.unit
        for axis, length in enumerate(tracks.pixel_size):
            columns[f"centroid_{unit}-{axis}"] = columns[f"centroid-{axis}"] * length
        measure = f"area_{unit}2" if axes == 2 else f"volume_{unit}3"
        columns[measure] = columns[name] * np.prod(tracks.pixel_size)
    return columns


def size_name(tracks: Tracks) -> str:
    """Return what the size of an object in pixels is called."""
    return "area" if tracks.frames.axes == 2 else "voxels"


def parents(tracks: Tracks) -> Indices:
    """Return the parent of each track, 0 for none, int64 N + 1 from track 0."""
    found = np.zeros(len(tracks) + 1, dtype=np.int64)
    for child, parent in tracks.parents.items():
        found[child] = parent
    return found


def track_columns(tracks: Tracks, rows: Columns) -> Columns:
    """Tabulate tracks; see `Tracks`."""
    count, axes = len(tracks), tracks.frames.axes
    group = rows["track_id"] - 1
    objects = np.bincount(group, minlength=count)
    # Rows of a track stand together, by time.
    begin = np.cumsum(objects) - objects
    end = begin + objects - 1
    first, last = rows["frame"][begin], rows["frame"][end]
    parent = parents(tracks)
    name = size_name(tracks)
    columns: Columns = {
        "track_id": np.arange(1, count + 1, dtype=np.int64),
        "parent": parent[1:],
        "children": np.bincount(parent, minlength=count + 1)[1:],
        "first_frame": first,
        "last_frame": last,
        "extent": last - first + 1,
        "missing": last - first + 1 - objects,
        name: np.bincount(group, weights=rows[name], minlength=count) / objects,
    }
    lengths = np.ones(axes) if tracks.pixel_size is None else np.array(tracks.pixel_size)
    places = np.stack([rows[f"centroid-{axis}"] for axis in range(axes)], axis=1) * lengths
    step = np.zeros(len(group))
    step[1:] = np.linalg.norm(np.diff(places, axis=0), axis=1)
    step[begin] = 0
    path = np.bincount(group, weights=step, minlength=count)
    time = np.where(last > first, last - first, np.nan)
    ways = {
        "path_length": path,
        "displacement": np.linalg.norm(places[end] - places[begin], axis=1),
        "speed": path / time,
    }
    columns |= {way: values / lengths[-1] for way, values in ways.items()}
    if tracks.pixel_size is not None:
        columns |= {f"{way}_{tracks.unit}": values for way, values in ways.items()}
    return columns
