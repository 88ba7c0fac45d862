"""Measurements of a Labels layer's masks in all channels, as features of the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.plugin.choice import image_layers
from napari_sam_amg.plugin.edited import labelled_masks_of_layer
from napari_sam_amg.plugin.layer_measurement import Measurement, StackMeasurement
from napari_sam_amg.plugin.layers import PREVIEW, PROVENANCE, pixel_sides_um
from napari_sam_amg.plugin.placement import plane_axes
from napari_sam_amg.plugin.planes import level_data

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari.viewer
    import numpy.typing as npt
    import pandas as pd
    from napari.layers import Image, Labels
    from napari.qt.threading import FunctionWorker


_OWN = ("index", "area")
"""Features that are both a run's and a measurement's."""


def measurement(layer: Labels, viewer: napari.viewer.Viewer) -> Measurement | StackMeasurement:
    """Say what is to be measured of a Labels layer; of a single plane, labels are computed.

    Parameters
    ----------
    layer : napari.layers.Labels
    viewer : napari.viewer.Viewer
        Every image layer in it that has the same pixels, in the same place, gives a channel.

    Raises
    ------
    ImageError
        If the layer has several planes and no image has them too: there are no shapes of such
        objects to measure.
    """
    data = layer.data[0] if layer.multiscale else layer.data
    shape = tuple(data.shape)
    axes = [axis for axis, length in enumerate(shape) if length > 1]
    flat = len(axes) <= 2
    if flat:
        axes = plane_axes(shape)
    channels: dict[str, Any] = {}
    for image in image_layers(viewer):
        if PREVIEW not in image.metadata:
            channels |= _channels(image, shape, axes, layer, flat=flat)
    if not flat:
        if not channels:
            raise ImageError(
                f"layer {layer.name!r} has several planes, and no image layer has the same ones "
                "in the same place: open the image that its objects are to be measured in"
            )
        return StackMeasurement(data, channels)
    ((_, labels, masks),) = labelled_masks_of_layer(
        data, {"name": layer.name, "metadata": layer.metadata}
    )
    keywords = {"scale": layer.scale, "units": layer.units}
    return Measurement(labels, masks, channels, pixel_sides_um(keywords, axes))


def _channels(
    image: Image, shape: tuple[int, ...], axes: Sequence[int], layer: Labels, *, flat: bool
) -> dict[str, Any]:
    """Return the pixels of an image layer on which a Labels layer of `shape` lies, by name.

    Along axes that are not among `axes` it is a single place, left out if `flat`.
    """
    recorded = layer.metadata.get(PROVENANCE, {}).get("plane", {}).get("index")
    for level in range(len(image.data) if image.multiscale else 1):
        data = level_data(image, level)
        sides = tuple(data.shape[: image.ndim])
        if len(sides) != len(shape) or any(sides[axis] != shape[axis] for axis in axes):
            continue
        offset = np.zeros(len(shape), dtype=int)
        for axis, length in enumerate(sides):
            if axis not in axes and length > 1:
                if recorded is None or len(recorded) != len(shape):
                    return {}  # nothing says which of its planes
                offset[axis] = min(int(recorded[axis] or 0), length - 1)
        factors = image.downsample_factors[level] if image.multiscale else np.ones(len(shape))
        if not _in_place(image, axes, offset, np.asarray(factors, dtype=float), shape, layer):
            return {}
        pixels = data[
            tuple(
                slice(None) if axis in axes else at if flat else slice(at, at + 1)
                for axis, at in enumerate(offset.tolist())
            )
        ]
        if image.rgb:
            colours = ("red", "green", "blue")
            return {f"{image.name} {name}": pixels[..., i] for i, name in enumerate(colours)}
        return {image.name: pixels}
    return {}


def _in_place(
    image: Image,
    axes: Sequence[int],
    offset: npt.NDArray[np.int64],
    factors: npt.NDArray[np.float64],
    shape: tuple[int, ...],
    layer: Labels,
) -> bool:
    """Return whether an image's pixels lie on those of a Labels layer, to half a pixel."""
    # The first corner and those beside it tell of any shift, turn and stretch.
    corners = np.zeros((1 + len(axes), len(shape)))
    for number, axis in enumerate(axes, start=1):
        corners[number, axis] = shape[axis] - 1
    for at in corners:
        found = layer.world_to_data(image.data_to_world((at + offset) * factors))
        if (np.abs(np.asarray(found) - at)[list(axes)] > 0.5).any():
            return False
    return True


def start_measuring(
    layer: Labels, viewer: napari.viewer.Viewer, done: Callable[[str], object]
) -> FunctionWorker[pd.DataFrame]:
    """Measure in a worker thread; the features of the layer grow when it is done.

    Parameters
    ----------
    layer, viewer
        As for `measurement`.
    done : callable
        Called in the window's thread with a sentence that says what was done.

    Raises
    ------
    ImageError
        As `measurement`.
    """
    from napari.qt.threading import create_worker

    what = measurement(layer, viewer)
    # Whatever the user does meanwhile replaces the features: these are then of other masks.
    before, data, painted = layer.features, layer.data, False

    def note(_: object) -> None:
        nonlocal painted
        painted = True

    # Objects of several planes are read while the worker goes on.
    events = (
        [layer.events.paint, layer.events.labels_update]
        if isinstance(what, StackMeasurement)
        else []
    )
    for event in events:
        event.connect(note)

    def finish(table: pd.DataFrame) -> None:
        for event in events:
            event.disconnect(note)
        if painted or layer.data is not data or not layer.features.equals(before):
            done("The masks have changed while they were measured: press Measure again.")
            return
        layer.features = with_measurements(layer.features, table)
        names = ", ".join(what.channels) or "no image: shapes only"
        kind = "masks" if isinstance(what, Measurement) else "objects"
        done(f"{len(table)} {kind} measured in {names}; see the features table.")

    worker: FunctionWorker[pd.DataFrame] = create_worker(
        what.table, _start_thread=False, _progress={"total": 0, "desc": "Measuring masks"}
    )
    worker.returned.connect(finish)
    worker.errored.connect(lambda error: done(f"Not measured: {error}"))
    worker.start()
    return worker


def with_measurements(features: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Return a layer's features with the columns of measurements, in rows of the same label.

    Parameters
    ----------
    features : DataFrame
        By napari's rules: ``index`` is the label, or else the row's number.
    table : DataFrame
        As `Measurement.table` returns it; its columns replace those of an earlier one.
    """
    import pandas as pd

    known = features if "index" in features else features.assign(index=np.arange(len(features)))
    # Labels that were painted have no row yet; the background is one of napari's.
    rows = pd.DataFrame({"index": np.union1d(known["index"], np.append(table["index"], 0))})
    kept = rows.merge(
        known.drop(columns=[n for n in table if n in known and n not in _OWN]), "left"
    )
    new = rows.merge(table, "left", on="index")
    if "label" in kept and _is_index(known, "label"):
        kept["label"] = kept["index"]
    if "area" in new and "area" in kept:
        # What the run said of a label that was painted over since is no longer so.
        kept["area"] = new.pop("area").fillna(kept["area"]).fillna(0).astype(int)
    elif "area" in new:
        new["area"] = new["area"].fillna(0).astype(int)
    return kept.merge(new, on="index")


def _is_index(features: pd.DataFrame, name: str) -> bool:
    """Return whether a column is the label again, as a run has it, and nothing of a user's."""
    return bool((features[name] == features["index"]).all())
