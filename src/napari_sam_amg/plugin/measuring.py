"""Measurements of a Labels layer's masks in all channels, as features of the layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.compat import isalive

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.plugin.layer_measurement import StackMeasurement
from napari_sam_amg.plugin.to_measure import measurement
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    import pandas as pd
    from magicgui.widgets import PushButton
    from napari.layers import Labels
    from napari.qt.threading import FunctionWorker

    from napari_sam_amg.plugin.section import Host


_OWN = ("index", "area")
"""Features that are both a run's and a measurement's."""


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
        kind = "object" if isinstance(what, StackMeasurement) else "mask"
        done(f"{counted(len(table), kind)} measured in {names}; see the features table.")

    worker: FunctionWorker[pd.DataFrame] = create_worker(
        what.table, _start_thread=False, _progress={"total": 0, "desc": "Measuring masks"}
    )
    worker.returned.connect(finish)
    worker.errored.connect(lambda error: done(f"Not measured: {error}"))
    worker.start()
    return worker


def measure_shown(layer: Labels | None, host: Host, button: PushButton, gone: str) -> None:
    """Measure the layer of a section's last result, which becomes the active one.

    Parameters
    ----------
    layer : napari.layers.Labels or None
    host : Host
        Is told what was done, while the section's `button` lives.
    button : PushButton
    gone : str
        What is wrong if the layer is not in the viewer.

    Raises
    ------
    ParameterError
        If it is not.
    ImageError, ReadError
        As `measurement`.
    """
    if layer is None or layer not in host.viewer.layers:
        raise ParameterError(gone)
    host.viewer.layers.selection.active = layer
    host.say("Measuring ...")

    def done(text: str) -> None:
        if isalive(button.native):  # type: ignore[no-untyped-call]
            host.say(text)

    start_measuring(layer, host.viewer, done)


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
