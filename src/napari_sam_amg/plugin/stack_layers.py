"""Linked objects and tracks as napari's layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.plugin.layers import PROVENANCE, layer_features

if TYPE_CHECKING:
    import napari.layers
    import napari.viewer
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.linking import Tracks
    from napari_sam_amg.plugin.stack_run import LinkedStack, StackJob


_MOST_AXES = 4
"""Of a Tracks layer."""


def show_stack(
    found: LinkedStack, viewer: napari.viewer.Viewer
) -> tuple[napari.layers.Labels, napari.layers.Tracks | None]:
    """Add the layers of linked objects to a viewer, where their image lies.

    Parameters
    ----------
    found : LinkedStack
    viewer : napari.viewer.Viewer

    Returns
    -------
    labels : napari.layers.Labels
        Objects of a volume, or tracks, as 1 to N; its features have a row for each.
    tracks : napari.layers.Tracks or None
        None without time, without any track, or where napari cannot show them: it takes the
        first axis for time, and no more than three others.
    """
    job = found.job
    plane = job.first.plane
    kind = "objects" if job.t is None else "tracked"
    labels = viewer.add_labels(
        placed(job, found.linked.to_labels(), len(plane.index)),
        name=f"{plane.name} {kind}",
        features=_features(found.linked.features),
        metadata={PROVENANCE: _provenance(found)},
        **plane.keywords,
    )
    if job.t is None or not len(found.linked):
        return labels, None
    axes = _tracks_axes(job, len(plane.index))
    if axes is None:
        return labels, None
    return labels, _add_tracks(found, axes, viewer)


def placed(job: StackJob, labels: npt.NDArray[Any], ndim: int) -> npt.NDArray[Any]:
    """Return labels of time, slices, rows and columns in the order of the layer's axes.

    Parameters
    ----------
    job : StackJob
    labels : ndarray
        Along ``job.axes``.
    ndim : int
        Of the layer; its other axes get the length 1.
    """
    ordered = labels.transpose(np.argsort(job.axes))
    return ordered[tuple(slice(None) if axis in job.axes else None for axis in range(ndim))]


def _features(table: pd.DataFrame) -> pd.DataFrame:
    columns = {str(name): column.to_numpy() for name, column in table.items()}
    if "track_id" in columns:
        columns = {"label": columns["track_id"], **columns}
    return layer_features(columns)


def _provenance(found: LinkedStack) -> dict[str, Any]:
    """Say what made the objects: the masks of the first plane, and how they were linked."""
    job = found.job
    axes = {"t": job.t, "z": job.z}
    told = {**found.masks[0].provenance, "linking": found.linked.provenance, "axes": axes}
    return {**told, "partial": True} if found.partial else told


def _tracks_axes(job: StackJob, ndim: int) -> list[int] | None:
    """Return the layer's axes that a Tracks layer shows, time first; None if it cannot be."""
    first = job.t or 0
    sheared = bool(first) and np.any(job.first.plane.keywords["shear"])
    if sheared or set(range(first)) & set(job.axes) or ndim - first > _MOST_AXES:
        return None
    return list(range(first, ndim))


def _add_tracks(
    found: LinkedStack, axes: list[int], viewer: napari.viewer.Viewer
) -> napari.layers.Tracks | None:
    tracks: Tracks = found.linked  # type: ignore[assignment]
    job, plane = found.job, found.job.first.plane
    data, graph, features = tracks.to_napari()
    vertices = np.zeros((len(data), 1 + len(axes)))
    vertices[:, 0] = data[:, 0]
    for column, axis in enumerate(job.axes, start=1):
        vertices[:, 1 + axes.index(axis)] = data[:, column]
    return viewer.add_tracks(
        vertices,
        graph=graph,
        features=features,
        name=f"{plane.name} tracks",
        metadata={PROVENANCE: _provenance(found)},
        **_cut(plane.keywords, axes[0]),
    )


def _cut(keywords: dict[str, Any], first: int) -> dict[str, Any]:
    """Return the transform of a layer that has no axes before `first`."""
    if not first:
        return keywords
    cut = {name: keywords[name][first:] for name in ("scale", "translate", "units", "axis_labels")}
    for name in ("rotate", "affine"):
        cut[name] = np.asarray(keywords[name])[first:, first:]
    return cut
