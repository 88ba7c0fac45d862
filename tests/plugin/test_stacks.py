"""Runs over slices and time points: what is linked, and where it lies."""

from __future__ import annotations

import json
import time

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.errors import ParameterError, SamAmgError
from napari_sam_amg.linking import link_slices
from napari_sam_amg.masks import Masks
from napari_sam_amg.plugin import look
from napari_sam_amg.plugin.jobs import Progress
from napari_sam_amg.plugin.layers import PROVENANCE
from napari_sam_amg.plugin.widget import AmgWidget
from napari_sam_amg.stack_contrast import stack_contrast


def blob(shape, *centres, radius=6):
    """Return discs with a value of their own each, uint16."""
    image = np.zeros(shape, dtype=np.uint16)
    rows, columns = np.indices(shape)
    for number, (y, x) in enumerate(centres, start=1):
        image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 1000 * number
    return image


# Two objects that drift; the second is not in the first plane.
SERIES = np.stack(
    [
        blob((40, 60), (15, 15)),
        blob((40, 60), (16, 17), (20, 45)),
        blob((40, 60), (17, 19), (21, 44)),
    ]
)


@pytest.fixture
def quick(viewer, monkeypatch):
    """Return a function that docks a widget whose model finds what is not black."""

    def dock(data, **keywords) -> AmgWidget:
        viewer.add_image(data, name="cells", **keywords)
        widget = AmgWidget(viewer)
        viewer.window.add_dock_widget(widget)
        widget.asked = widget.held = 0

        def found(job, control, *, propose=True):
            yield Progress(0, 0, "load", 0.0, float("nan"))
            yield Progress(1, 2, "decode", 0.0, float("nan"))
            while widget.held and widget.held == widget.asked and not control.stopping:
                time.sleep(0.01)
            if control.stopping:
                return None, None
            widget.asked += 1
            parts, count = ndimage.label(job.plane.computed())
            arrays = [parts == number for number in range(1, count + 1)]
            return Masks.from_arrays(arrays, shape=parts.shape), None

        monkeypatch.setattr(widget._session, "found", found)
        return widget

    return dock


def _rows(volume) -> list[list[tuple[int, int]]]:
    """Return the slice and row of each mask of each object."""
    return [
        [(z, row) for z, of in enumerate(volume.labels) for row in np.flatnonzero(of == label)]
        for label in range(1, len(volume) + 1)
    ]


def test_slices_are_those_of_the_engine(widget, wait, sample_images) -> None:
    """The window's objects are what a script gets from the same slices and settings."""
    viewer = widget.viewer
    image = sample_images[0][340:500, 340:540]
    stack = np.stack([image, np.roll(image, 3, axis=1), np.roll(image, 6, axis=1)])
    layer = viewer.add_image(
        stack,
        name="stack",
        scale=(2.0, 0.5, 0.5),
        translate=(1, 2, 3),
        units=("um",) * 3,
        axis_labels=("z", "y", "x"),
    )
    assert widget.z_axis.value == 0
    widget.run_stack()
    wait(widget)
    labels = viewer.layers["stack objects"]
    # One contrast for the whole stack, as the percentiles of all its values say.
    low, high = stack_contrast(stack, widget.profile.percentiles)
    generator = AutomaticMaskGenerator(
        "nuclei-nano", contrast=(low, high), **dict(widget.parameters)
    )
    slices = [generator.segment(plane) for plane in stack]
    expected = link_slices(slices, pixel_size=(2.0, 0.5, 0.5))
    assert len(expected) > 1
    np.testing.assert_array_equal(labels.data, expected.to_labels())
    np.testing.assert_array_equal(labels.scale, layer.scale)
    np.testing.assert_array_equal(labels.translate, layer.translate)
    features = labels.features
    assert len(features) == len(expected) + 1
    sizes = [sum(expected.slices[z][row].sum() for z, row in places) for places in _rows(expected)]
    assert features["voxels"].tolist() == [0, *sizes]
    assert features["volume_um3"][1] == pytest.approx(features["voxels"][1] * 0.5)
    told = labels.metadata[PROVENANCE]
    assert told["brightness"] == "stack"
    assert told["axes"] == {"t": None, "z": 0}
    assert told["parameters"]["points_per_side"] == widget.points_per_side.value


def test_tracks_lie_on_their_objects(quick, wait) -> None:
    widget = quick(SERIES, axis_labels=("time", "y", "x"), scale=(10, 0.5, 0.5))
    assert (widget.t_axis.value, widget.z_axis.value) == (0, "none")
    widget.run_stack()
    wait(widget)
    viewer = widget.viewer
    tracks, labels = viewer.layers["cells tracks"], viewer.layers["cells tracked"]
    np.testing.assert_array_equal(labels.data > 0, SERIES > 0)
    assert sorted(np.unique(labels.data)) == [0, 1, 2]
    for track, *place in tracks.data:
        assert labels.data[tuple(np.round(place).astype(int))] == track
    assert sorted(map(tuple, tracks.data[:, :2])) == [(1, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    np.testing.assert_array_equal(tracks.scale, labels.scale)
    assert "2 tracks in 3 planes" in widget._panel.status.value


# Axes of the layer, in their order, and whether napari can show tracks: with in the order t.
ORDERS = [
    ("tzyx", True),
    ("ztyx", False),
    ("ctzyx", True),
    ("tczyx", False),
    ("tcyx", True),
    ("zctyx", False),
]


@pytest.mark.parametrize(("order", "has_tracks"), ORDERS)
def test_layers_with_more_axes(quick, wait, order, has_tracks) -> None:
    """Objects lie where they are in the image, whatever the order of its axes."""
    volume = np.stack([SERIES, SERIES, np.zeros_like(SERIES)])  # of z: two slices alike
    axes = {"t": 1, "z": 0, "y": 2, "x": 3}
    if "z" not in order:
        volume, axes = SERIES, {"t": 0, "y": 1, "x": 2}
    image = volume.transpose([axes[axis] for axis in order if axis != "c"])
    if "c" in order:
        image = np.stack([image, np.zeros_like(image)], axis=order.index("c"))
    widget = quick(image, axis_labels=tuple(order), translate=np.arange(len(order)))
    widget.viewer.dims.set_current_step(order.index("c") if "c" in order else 0, 0)
    assert widget.z_axis.value == (order.index("z") if "z" in order else "none")
    assert widget.t_axis.value == order.index("t")
    widget.run_stack()
    wait(widget)
    names = [layer.name for layer in widget.viewer.layers]
    assert ("cells tracks" in names) == has_tracks
    labels = widget.viewer.layers["cells tracked"]
    shown = np.take(image, [0], axis=order.index("c")) if "c" in order else image
    np.testing.assert_array_equal(labels.data > 0, shown > 0)
    assert labels.data.max() == 2
    if has_tracks:
        tracks = widget.viewer.layers["cells tracks"]
        for track, *place in tracks.data:
            world = np.asarray(tracks.data_to_world(place))
            lead = np.array(labels.translate[: labels.ndim - len(world)])
            at = np.round(labels.world_to_data((*lead, *world))).astype(int)
            if "z" in order:
                at[order.index("z")] = 0  # a volume's centroid lies between its slices
            assert labels.data[tuple(at)] == track
    else:
        assert "in the order t" in widget._panel.status.value


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        (("z", "y", "x"), (0, "none")),
        (("T", "y", "x"), ("none", 0)),
        (("q", "y", "x"), ("none", "none")),
        (None, ("none", "none")),
        (("channel", "y", "x"), ("none", "none")),
    ],
)
def test_axes_are_told_by_name_alone(quick, labels, chosen) -> None:
    widget = quick(SERIES, **({} if labels is None else {"axis_labels": labels}))
    assert (widget.z_axis.value, widget.t_axis.value) == chosen
    assert 0 in widget.z_axis.choices  # the user may say so


def test_what_cannot_start(quick) -> None:
    widget = quick(SERIES)
    with pytest.raises(ParameterError, match="no axis is chosen"):
        widget.run_stack()
    with pytest.raises(ParameterError, match="no stack was run"):
        widget.relink_stack()
    widget.z_axis.value = widget.t_axis.value = 0
    with pytest.raises(ParameterError, match="same axis"):
        widget.run_stack()
    widget.t_axis.value = "none"
    widget.viewer.dims.order = (1, 0, 2)
    with pytest.raises(ParameterError, match="shows the chosen axis"):
        widget.run_stack()
    assert widget._worker is None
    assert len(widget.viewer.layers) == 1


def test_linking_again_does_not_ask_the_model(quick, wait) -> None:
    widget = quick(SERIES, axis_labels=("z", "y", "x"))
    assert not widget.link_again.enabled
    widget.run_stack()
    wait(widget)
    assert widget.viewer.layers[-1].data.max() == 2
    widget.link_min_extent.value = 3
    widget.relink_stack()
    wait(widget)
    assert widget.viewer.layers[-1].data.max() == 1  # the second is in two slices alone
    assert widget.asked == 3


def test_linking_again_does_not_warn_again(quick, wait, monkeypatch) -> None:
    warned = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", warned.append)
    widget = quick(np.zeros_like(SERIES), axis_labels=("z", "y", "x"))
    for start in (widget.run_stack, widget.relink_stack):
        start()
        wait(widget)
        assert "nothing was found" in widget._panel.status.value
        assert len(warned) == 1
    widget.run_stack()
    wait(widget)
    assert len(warned) == 2


def test_what_was_computed_otherwise_is_said(quick, wait, monkeypatch) -> None:
    widget = quick(SERIES, axis_labels=("z", "y", "x"))
    found = []
    show = widget._stacks.show
    monkeypatch.setattr(widget._stacks, "show", lambda stack: found.append(stack))
    widget.precision.value = "fast"
    widget.run_stack()
    wait(widget)
    for used, said in (("exact", True), ("fast", False)):
        found[0].masks[0].provenance["precision"] = used
        show(found[0])
        assert ("Computed as exact" in widget._panel.status.value) == said


def test_nothing_in_the_planes_so_far_is_no_news(quick, wait, qtbot, monkeypatch) -> None:
    warned = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", warned.append)
    widget = quick(np.zeros_like(SERIES), axis_labels=("z", "y", "x"))
    widget.held = 2
    widget.run_stack()
    qtbot.waitUntil(lambda: widget.asked == 2)
    widget.cancel(keep=True)
    wait(widget)
    assert "in 2 planes of 3" in widget._panel.status.value
    assert not warned


@pytest.mark.parametrize("axis", ["z", "t"])
def test_measuring(quick, wait, qtbot, axis) -> None:
    rng = np.random.default_rng(7)
    marker = rng.normal(500, 90, SERIES.shape).astype(np.float32)
    widget = quick(SERIES, axis_labels=(axis, "y", "x"))
    widget.viewer.add_image(da.from_array(marker, chunks=(1, 40, 60)), name="marker")
    widget.viewer.add_image(marker[:2], name="shorter")
    widget.image_layer.value = widget.viewer.layers["cells"]
    assert not widget.measure_stack.enabled
    widget.track_min_length.value = 1
    widget.run_stack()
    wait(widget)
    layer = next(x for x in widget.viewer.layers if x.name.startswith("cells "))
    # As it is now: what was painted counts.
    layer.data[1, 30:34, 5:9] = 9
    before = layer.features.copy()
    widget.measure_stack.changed.emit(True)
    qtbot.waitUntil(lambda: "Measuring" not in widget._panel.status.value)
    assert widget._panel.status.value.startswith("3 objects measured in cells, marker")
    table = layer.features.set_index("index")
    present = [label for label in np.unique(layer.data) if label]
    assert set(table.index) == {*before["index"], 9}
    for image, name in ((SERIES, "cells"), (marker, "marker")):
        for label in present:
            inside = image[layer.data == label].astype(np.float64)
            expected = [inside.mean(), inside.min(), inside.max(), inside.std()]
            found = [
                table.loc[label, f"intensity_{n}-{name}"] for n in ("mean", "min", "max", "std")
            ]
            np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not [name for name in table if "shorter" in name]
    for name in before:
        kept = layer.features[name][: len(before)]
        np.testing.assert_array_equal(kept.to_numpy(), before[name].to_numpy())
    widget.viewer.layers.remove(layer)
    widget.measure_stack.changed.emit(True)
    assert "press Link again" in widget._panel.status.value


@pytest.mark.parametrize("keep", [False, True])
def test_ending_early(quick, wait, qtbot, keep) -> None:
    widget = quick(SERIES, axis_labels=("t", "y", "x"))
    widget.held = 2
    widget.track_min_length.value = 1
    widget.run_stack()
    qtbot.waitUntil(lambda: widget.asked == 2)
    widget.cancel(keep=keep)
    wait(widget)
    if not keep:
        assert widget._panel.status.value == "Cancelled."
        assert len(widget.viewer.layers) == 1
        return
    labels = widget.viewer.layers["cells tracked"]
    assert labels.data.shape == SERIES.shape
    np.testing.assert_array_equal(labels.data[:2] > 0, SERIES[:2] > 0)
    assert not labels.data[2].any()
    assert labels.metadata[PROVENANCE]["partial"]
    assert "in 2 planes of 3" in widget._panel.status.value


@pytest.mark.parametrize("same", [True, False])
def test_brightness_of_a_stack_is_measured_once(widget, wait, monkeypatch, same) -> None:
    measured = []
    original = look.shared_contrast

    def counting(stack, *arguments, **keywords):
        measured.append(stack.shape)
        return original(stack, *arguments, **keywords)

    monkeypatch.setattr(look, "shared_contrast", counting)
    image = widget.image.data[:64, :64]
    stack = da.from_array(np.stack([image] * 3), chunks=(1, 64, 64))
    widget.viewer.add_image(stack, name="lazy", axis_labels=("z", "y", "x"))
    widget.same_brightness.value = same
    widget.points_per_side.value = 1
    widget.run_stack()
    wait(widget)
    assert measured == ([(3, 64, 64)] if same else [])


def test_settings_hold_how_to_link(quick, tmp_path) -> None:
    widget = quick(SERIES)
    before = widget.linking
    widget.link_max_gap.value, widget.track_max_distance.value = 5, 12.5
    widget.track_divisions.value = False
    widget.save_settings(tmp_path / "settings.json")
    chosen = widget.linking
    assert (chosen["link"].max_gap, chosen["track"].max_distance) == (5, 12.5)
    widget.linking = before
    assert widget.linking == before
    widget.load_settings(tmp_path / "settings.json")
    assert widget.linking == chosen
    # A file of an earlier version, which knows nothing of stacks, brings what was then.
    older = json.loads((tmp_path / "settings.json").read_text())
    del older["linking"]
    (tmp_path / "settings.json").write_text(json.dumps(older))
    widget.load_settings(tmp_path / "settings.json")
    assert widget.linking == before


@pytest.mark.parametrize("linking", [{"link": {"max_gap": -1}}, {"glue": {}}, {"link": 3}, []])
def test_settings_that_cannot_be_used_change_nothing(quick, tmp_path, linking) -> None:
    widget = quick(SERIES)
    widget.save_settings(tmp_path / "settings.json")
    wrong = json.loads((tmp_path / "settings.json").read_text()) | {"linking": linking}
    (tmp_path / "settings.json").write_text(json.dumps(wrong))
    widget.points_per_side.value = 7
    before = widget.parameters, widget.linking
    with pytest.raises(SamAmgError):
        widget.load_settings(tmp_path / "settings.json")
    assert (widget.parameters, widget.linking) == before
