"""Runs into a folder: what is written, shown, cancelled and gone on with."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import dask
import dask.array as da
import numpy as np
import pytest

from _linked import same_partition
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.errors import ImageError, ParameterError, ReadError, WriteError
from napari_sam_amg.large import LargeResult
from napari_sam_amg.large.source import Source
from napari_sam_amg.models.registry import model_info
from napari_sam_amg.plugin import jobs, look, seeing
from napari_sam_amg.plugin.commands import measure_masks
from napari_sam_amg.plugin.large_run import folder_name
from napari_sam_amg.plugin.look import Channel, Look, Stacked
from napari_sam_amg.plugin.planes import Plane, displayed_plane
from napari_sam_amg.plugin.readers import get_reader
from napari_sam_amg.plugin.to_measure import measurement
from napari_sam_amg.plugin.widget import AmgWidget
from napari_sam_amg.stack_contrast import stack_contrast

TILES = {"tile_size": 120, "tile_halo": 30}


@pytest.fixture(scope="module")
def stack(sample_images):
    """Three planes, of which the last is an eighth of the second: uint16, 3x240x300."""
    field = np.ascontiguousarray(sample_images[0][:240, :300]).astype(np.uint16) * 100
    return np.stack([field[::-1], field, field // 8])


@pytest.fixture
def dock(viewer, tmp_path):
    """Return a function that opens an image and the widget, with a folder for results."""

    def make(data, **keywords) -> AmgWidget:
        viewer.add_image(data, **{"name": "slide 1/2", **keywords})
        widget = AmgWidget(viewer)
        viewer.window.add_dock_widget(widget)
        widget.set_parameters(TILES)
        widget.result_folder.value = tmp_path
        return widget

    return make


def expected(plane, contrast=None):
    generator = AutomaticMaskGenerator("nuclei-nano", device="cpu", contrast=contrast, **TILES)
    labels = generator.segment(plane).to_labels()
    assert labels.max() > 1
    return labels


@pytest.mark.parametrize("brightness", ["plane", "stack", "layer"])
def test_a_plane_of_a_lazy_stack(dock, wait, stack, tmp_path, brightness) -> None:
    lazy = da.from_array(stack, chunks=(1, 100, 300))
    keywords = {"scale": (2, 0.5, 0.25), "translate": (7, 8, 9), "units": ("um",) * 3}
    widget = dock(lazy, contrast_limits=(500, 9000), **keywords)
    widget.viewer.dims.set_current_step(0, 1)
    widget.brightness.value = brightness
    widget.run_large()
    wait(widget)
    folder = tmp_path / "slide 1_2_1 masks"
    result = LargeResult.open(folder)
    contrast = {
        "plane": None,
        "stack": stack_contrast(stack, (0.1, 99.9)),
        "layer": (500, 9000),
    }[brightness]
    wanted = expected(stack[1], contrast)
    (layer,) = (one for one in widget.viewer.layers if one.name == folder.name)
    assert isinstance(layer.data[0] if layer.multiscale else layer.data, da.Array)
    (finest,) = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    assert same_partition(finest, wanted)
    assert len(layer.features) == len(result) + 1
    assert result.provenance["pixel_size"] == [0.5, 0.25]
    assert result.provenance["brightness"] == brightness
    # It lies where the plane lies, now and when it is opened again.
    image = widget.image
    place = (1, 17, 42)
    for shown in layer, widget.viewer.add_layer(_opened(folder)):
        np.testing.assert_allclose(shown.data_to_world((0, 17, 42)), image.data_to_world(place))
        assert shown.units == image.units
        value = shown.get_value(image.data_to_world(place), world=True)
        assert (value[-1] if isinstance(value, tuple) else value) == finest[17, 42]
    assert (
        f"{len(result)} masks, in layer {folder.name} and in {folder}"
        in widget._panel.status.value
    )


def test_what_lies_in_a_folder_is_measured(dock, wait, qtbot, stack, tmp_path, monkeypatch):
    """By the section's button, and by the menu once it is opened again; masks whole."""
    lazy = da.from_array(stack[:2], chunks=(1, 100, 300))
    widget = dock(lazy, name="slide", scale=(1, 0.5, 0.25), units=("um",) * 3)
    viewer = widget.viewer
    viewer.dims.set_current_step(0, 1)
    assert not widget.measure_large.enabled
    widget.run_large()
    wait(widget)
    (layer,) = (one for one in viewer.layers if one.name == "slide_1 masks")
    assert viewer.layers.selection.active is not widget.image
    read, original = [], Source.__getitem__

    def counted(self, rows):
        part = rows[0] if isinstance(rows, tuple) else rows
        read.append(part.stop - part.start)
        return original(self, rows)

    monkeypatch.setattr(Source, "__getitem__", counted)
    widget.measure_large.changed.emit(True)
    qtbot.waitUntil(lambda: widget._panel.status.value != "Measuring ...", timeout=60_000)
    result = LargeResult.open(tmp_path / "slide_1 masks")
    count = len(result)
    assert count > 1
    assert widget._panel.status.value.startswith(f"{count} masks measured in slide")
    assert 0 < max(read) < 240  # no whole plane
    table = result.masks().measure(stack[1], pixel_size=(0.5, 0.25))
    names = ["perimeter", "centroid-0", "area_um2", "intensity_mean", "intensity_max"]
    for name in names:
        np.testing.assert_allclose(layer.features[name][1:], table[name], rtol=1e-6)
    again = _opened(tmp_path / "slide_1 masks")
    viewer.add_layer(again)
    viewer.layers.selection.active = again
    measure_masks(viewer)
    qtbot.waitUntil(lambda: "intensity_mean" in again.features, timeout=60_000)
    np.testing.assert_allclose(again.features["intensity_mean"][1:], table["intensity_mean"])
    # Labels that someone took into memory, and a part of them, are measured as they are shown.
    shown = np.asarray(again.data[0] if again.multiscale else again.data).copy()
    shown[:, :4, :6] = 77
    changed = {"edited": shown, "cut": shown[:, :90, :80]}
    for name, data in changed.items():
        keywords = {"name": name, "metadata": again.metadata, "scale": again.scale}
        edited = viewer.add_labels(data, **keywords, units=again.units)
        measured = measurement(edited, viewer).table()
        assert sorted(measured["index"]) == np.unique(data[data > 0]).tolist()
        assert measured.set_index("index").loc[77, "area"] == 24
    # Nothing of a result that is not there any more is made up, nor another's taken for it.
    (tmp_path / "slide_1 masks").rename(tmp_path / "moved")
    viewer.layers.selection.active = again
    with pytest.raises(ReadError, match=r"no longer in .*slide_1 masks; open the"):
        measure_masks(viewer)
    widget.set_parameters({"pred_iou_thresh": 0.2})
    widget.run_large()
    wait(widget)
    assert LargeResult.open(tmp_path / "slide_1 masks").count >= count
    viewer.layers.selection.active = again
    with pytest.raises(ReadError, match="where another run's is now"):
        measure_masks(viewer)
    viewer.layers.clear()
    widget.measure_large.changed.emit(True)
    assert "no longer there" in widget._panel.status.value


def test_colours_are_read_once_and_measured_apart(dock, wait, stack, tmp_path) -> None:
    colours = np.stack([stack[1] // 90, stack[1] // 100, stack[1] // 120], -1).astype(np.uint8)
    read = []

    def block(number):
        read.append(number)
        return colours[100 * number : 100 * number + 100]

    parts = [
        da.from_delayed(dask.delayed(block)(n), (min(100, 240 - 100 * n), 300, 3), np.uint8)
        for n in range(3)
    ]
    widget = dock(da.concatenate(parts), name="slide", rgb=True)
    widget.run_large()
    wait(widget)
    result = LargeResult.open(tmp_path / "slide masks")
    (layer,) = (one for one in widget.viewer.layers if one.name == "slide masks")
    what = measurement(layer, widget.viewer)
    read.clear()
    table = what.table()
    assert len(table) == len(result) > 1
    batches = len(list((result.path / "masks").glob("*.npz")))
    assert len(read) <= 3 * batches
    expected = result.masks().measure(
        {f"slide {name}": colours[..., i] for i, name in enumerate(("red", "green", "blue"))}
    )
    for name in ("red", "green", "blue"):
        column = f"intensity_mean-slide {name}"
        np.testing.assert_allclose(table[column], expected[column])


def _opened(folder):
    from napari.layers import Layer

    return Layer.create(*get_reader(str(folder))(str(folder))[0])


def test_the_full_resolution_is_taken_unless_another_is_chosen(
    dock, wait, stack, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("napari_sam_amg.plugin.planes.MAX_DEFAULT_PIXELS", 20_000)
    levels = [stack[1], stack[1][::2, ::2]]
    widget = dock(levels, name="slide", contrast_limits=(0, 20000))
    assert widget._job(widget.image).plane.shape == (120, 150)
    widget.run_large()
    wait(widget)
    folder = tmp_path / "slide masks"
    assert LargeResult.open(folder).shape == (240, 300)
    assert same_partition(np.asarray(LargeResult.open(folder).levels[0]), expected(stack[1]))
    widget.level.value = 1
    widget.result_folder.value = tmp_path / "coarse"
    widget.run_large()
    wait(widget)
    assert LargeResult.open(tmp_path / "coarse" / folder.name).shape == (120, 150)


def test_what_was_cancelled_goes_on(dock, wait, qtbot, stack, tmp_path, monkeypatch) -> None:
    asked = []
    original = AutomaticMaskGenerator.find_in_tile

    def counted(self, *arguments, **keywords):
        asked.append(1)
        if len(asked) == 3:
            qtbot.waitUntil(lambda: widget._runner._control.stopping, timeout=60_000)
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(AutomaticMaskGenerator, "find_in_tile", counted)
    widget = dock(stack[1], name="slide")
    widget.run_large()
    qtbot.waitUntil(lambda: len(asked) == 3, timeout=60_000)
    widget._panel.cancel_button.changed.emit(True)
    wait(widget)
    folder = tmp_path / "slide masks"
    status = widget._panel.status.value
    assert status == (
        f"Cancelled. What is finished is kept in {folder}: press Run into folder to go on."
    )
    assert len(widget.viewer.layers) == 1
    widget.pred_iou_thresh.value = 0.6  # that would be another result
    with qtbot.capture_exceptions() as caught:
        widget.run_large()
        wait(widget)
    assert [type(error[1]) for error in caught] == [WriteError]
    assert "differs in parameters.pred_iou_thresh (0.43, now 0.6)" in widget._panel.status.value
    widget.pred_iou_thresh.value = 0.43
    asked.clear()
    asked.extend([1] * 3)  # not held any more
    widget.run_large()
    wait(widget)
    result = LargeResult.open(folder)
    assert len(asked) - 3 == result.provenance["tiles"]["count"] - 2
    assert same_partition(np.asarray(result.levels[0]), expected(stack[1]))


def test_what_cannot_be(dock, stack, tmp_path, monkeypatch) -> None:
    widget = dock(stack[1], name="slide")
    widget.result_folder.value = None
    with pytest.raises(ParameterError, match="no folder is chosen"):
        widget.run_large()
    widget.result_folder.value = tmp_path
    widget.channels.value = "layers"
    widget.red_layer.value = widget.image
    with pytest.raises(ParameterError, match="channels as colours are not for very large images"):
        widget.run_large()
    widget.channels.value = "as it is"
    widget.where.value = "current view"
    with pytest.raises(ParameterError, match="a region is not for very large images"):
        widget.run_large()
    widget.where.value = "whole image"
    # What is not in memory and too large for it is not begun there.
    monkeypatch.setattr(jobs, "MAX_PIXELS", 70_000)
    assert widget._job(widget.image).plane.shape == (240, 300)
    lazy = widget.viewer.add_image(da.from_array(stack[1], chunks=100), name="lazy")
    widget.image_layer.value = lazy
    with pytest.raises(ImageError, match=r"240 x 300 pixels.*use Very large image"):
        widget.run()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_read_as_a_whole(stack, monkeypatch) -> None:
    """Neither for the brightness of a stack, nor for the little picture."""

    class Chunked:
        shape, dtype, chunks = stack.shape, stack.dtype, (1, 60, 100)
        most = 0

        def __getitem__(self, place):
            found = stack[place]
            Chunked.most = max(Chunked.most, found.size)
            return found

    monkeypatch.setattr(look, "MOST_TO_READ", 1000)
    monkeypatch.setattr(seeing, "MOST_TO_READ", 1000)
    profile = model_info("nuclei-nano").profile
    channel = Channel("a", Chunked(), 2, (0, 1), 1.0)
    _, contrast, _ = Look("stack", (channel,)).prepared(stack[1], profile)
    assert contrast == stack_contrast(stack, profile.percentiles)
    assert Chunked.most == 60 * 300
    plane = Plane(None, "a", Chunked(), (slice(None),) * 2, {}, np.ones(2))
    plane = replace(plane, pixels=SimpleNamespace(shape=(240, 300)))
    assert not plane.in_memory
    assert seeing._seen(plane, None, profile).startswith("240 x 300 pixels")
    # Layers as colours that are in memory are not on disk.
    colours = replace(plane, pixels=Stacked((stack[0], None, stack[1])))
    assert colours.in_memory
    assert not replace(plane, pixels=Stacked((stack[0], da.from_array(stack[1])))).in_memory


def test_files_of_others_stay(dock, wait, qtbot, stack, tmp_path) -> None:
    mine = tmp_path / "slide masks" / "mine.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    widget = dock(stack[1], name="slide")
    with qtbot.capture_exceptions() as caught:
        widget.run_large_button.changed.emit(True)
        wait(widget)
    assert [type(error[1]) for error in caught] == [WriteError]
    assert "mine.txt; choose another folder" in widget._panel.status.value
    assert [path.name for path in mine.parent.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("a", "a masks"),
        ('a/b\\c:*?"<>|d', "a_b_c_d masks"),
        (" .. ", "image masks"),
        ("x\n", "x_ masks"),
    ],
)
def test_names_of_folders(viewer, name, wanted) -> None:
    layer = viewer.add_image(np.zeros((5, 5)), name=name)
    assert folder_name(displayed_plane(layer, viewer)) == wanted


def test_it_says_that_it_was_computed_before(dock, wait, stack, tmp_path) -> None:
    """Pressing again with the same settings shows the finished result, and asks nothing."""
    widget = dock(stack[1], name="slide")
    for count in (2, 3):
        widget.run_large()
        wait(widget)
        assert len(widget.viewer.layers) == count
    image, layer = widget.image, widget.viewer.layers[-1]
    np.testing.assert_allclose(layer.data_to_world((5, 5)), image.data_to_world((5, 5)))
    image.translate = (11, 12)  # it lies where the image lies now
    widget.run_large()
    wait(widget)
    layer = widget.viewer.layers[-1]
    np.testing.assert_allclose(layer.data_to_world((5, 5)), image.data_to_world((5, 5)))
    record = json.loads((tmp_path / "slide masks" / "run.json").read_text())
    assert record["masks"] == len(widget.viewer.layers[-1].features) - 1
