"""Measure: columns of the features of a Labels layer, of every channel, in a worker."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from skimage.measure import regionprops_table

from napari_sam_amg.errors import ImageError, WriteError
from napari_sam_amg.plugin.measuring import start_measuring, with_measurements
from napari_sam_amg.plugin.to_measure import measurement
from napari_sam_amg.plugin.writers import write_features

INTENSITIES = ("intensity_mean", "intensity_max")


@pytest.fixture
def measured(widget, wait, qtbot, viewer, sample_images):
    """The labels layer of a short run, and how to press Measure."""
    viewer.layers["cells"].data = np.ascontiguousarray(sample_images[0][::2, ::2])
    widget.run()
    wait(widget)

    def press():
        widget.measure.changed.emit(True)
        qtbot.waitUntil(lambda: widget._panel.status.value != "Measuring ...", timeout=60_000)
        return widget._panel.status.value

    return widget, press


def test_the_button(measured, viewer):
    widget, press = measured
    said = press()
    layer, count = widget.labels_layer, len(widget.labels_layer.features) - 1
    assert count > 2
    assert said.startswith(f"{count} masks measured in cells")
    table = layer.features
    image = viewer.layers["cells"].data
    for row, mask in enumerate(widget.result.masks, start=1):
        expected = regionprops_table(
            mask.astype(np.uint8), image, properties=("area", "perimeter", *INTENSITIES)
        )
        for name, value in expected.items():
            assert table.loc[row, name] == value[0]
        assert table.loc[row, "area_um2"] == pytest.approx(table.loc[row, "area"] / 4)
    assert table["index"].tolist() == list(range(count + 1))
    assert table.loc[0, "area"] == 0
    assert "intensity_mean" in widget.colour_by.choices
    columns = list(table)
    press()  # again: no column twice
    assert list(layer.features) == columns
    # Live thresholds show other masks, of which nothing is known yet.
    widget.pred_iou_thresh.value = 0.25
    assert "intensity_mean" not in layer.features


def test_without_a_result(widget):
    widget.measure.changed.emit(True)
    assert widget._panel.status.value == "There are no masks yet: press Run."


def test_a_change_during_the_measuring_wins(measured, viewer, qtbot):
    widget, _ = measured
    said = []
    worker = start_measuring(widget.labels_layer, viewer, said.append)
    widget.labels_layer.features = pd.DataFrame({"index": [0, 1], "mine": [0, 5]})
    qtbot.waitSignal(worker.finished, timeout=60_000).wait()
    qtbot.waitUntil(lambda: bool(said))
    assert "press Measure again" in said[0]
    assert list(widget.labels_layer.features) == ["index", "mine"]


def test_channels(viewer):
    """Every image of the same pixels: lazy, colour, a plane of a stack; no others."""
    rng = np.random.default_rng(5)
    labels = np.zeros((1, 30, 40), dtype=int)
    labels[0, 5:10, 5:12], labels[0, 20:25, 30:35] = 3, 7
    stack = rng.integers(0, 99, (4, 30, 40))
    viewer.add_image(da.from_array(stack), name="dapi")
    viewer.add_image(stack * 2, name="gfp")
    viewer.add_image(rng.integers(0, 99, (1, 30, 40, 3), dtype=np.uint8), name="he", rgb=True)
    viewer.add_image(np.zeros((4, 30, 41)), name="wider")
    viewer.add_image(np.zeros((30, 40)), name="flat")
    where = {"napari_sam_amg": {"plane": {"index": [2, None, None]}}}
    layer = viewer.add_labels(labels, metadata=where)
    what = measurement(layer, viewer)
    assert list(what.channels) == ["dapi", "gfp", "he red", "he green", "he blue"]
    table = what.table()
    assert table["index"].tolist() == [3, 7]
    for row, number in enumerate((3, 7)):
        inside = labels[0] == number
        assert table["intensity_mean-dapi"][row] == stack[2][inside].mean()
        assert table["intensity_max-gfp"][row] == 2 * stack[2][inside].max()
    assert not [name for name in table if "_um" in name]
    layer.metadata.clear()  # nothing says which plane
    assert list(measurement(layer, viewer).channels) == ["he red", "he green", "he blue"]


def test_painted_labels(viewer):
    """Of labels that nobody ran a model for, and of one that was painted over since."""
    data = np.zeros((20, 20), dtype=int)
    data[2:6, 2:6], data[10:13, 10:15] = 2, 9
    viewer.add_image(np.arange(400).reshape(20, 20), name="image")
    features = pd.DataFrame({"index": [0, 2], "label": [0, 2], "area": [0, 99], "own": [0, 4]})
    layer = viewer.add_labels(data, features=features)
    table = with_measurements(layer.features, measurement(layer, viewer).table())
    assert table["index"].tolist() == table["label"].tolist() == [0, 2, 9]
    assert table["area"].tolist() == [0, 16, 15]
    np.testing.assert_array_equal(table["own"], [0, 4, np.nan])
    assert table["intensity_min"].tolist()[1:] == [2 * 20 + 2, 10 * 20 + 10]


def test_images_that_lie_elsewhere_are_no_channels(viewer):
    """Two fields side by side have the same shape, but not the same objects."""
    rng = np.random.default_rng(8)
    size = {"scale": (0.5, 0.5)}
    labels = np.zeros((30, 40), dtype=int)
    labels[5:10, 5:12] = 1
    fine = rng.integers(0, 99, (60, 80))
    viewer.add_image(fine[::2, ::2], name="here", translate=(3, 4), **size)
    viewer.add_image([fine, fine[::2, ::2]], name="levels", scale=(0.25, 0.25), translate=(3, 4))
    viewer.add_image(fine[::2, ::2], name="beside", translate=(3, 24), **size)
    viewer.add_image(fine[::2, ::2], name="smaller", translate=(3, 4), scale=(0.4, 0.4))
    viewer.add_image(fine[::2, ::2], name="turned", translate=(3, 4), rotate=90, **size)
    layer = viewer.add_labels(labels, translate=(3, 4), **size)
    assert list(measurement(layer, viewer).channels) == ["here", "levels"]


def test_features_of_a_users_own_stay(viewer, tmp_path):
    """No row of the background, and labels that are words."""
    data = np.zeros((20, 20), dtype=int)
    data[2:6, 2:6], data[10:13, 10:15] = 1, 2
    own = pd.DataFrame({"index": [1, 2], "label": ["a", "b"], "area": [1, 2]})
    layer = viewer.add_labels(data, features=own)
    table = with_measurements(layer.features, measurement(layer, viewer).table())
    assert table["index"].tolist() == [0, 1, 2]
    assert table["area"].tolist() == [0, 16, 15]
    assert table["label"].tolist()[1:] == ["a", "b"]
    write_features(str(tmp_path / "a.csv"), data, {"name": "a", "features": table})
    found = pd.read_csv(tmp_path / "a.csv")
    assert (found["index"].tolist(), found["label"].tolist()) == ([1, 2], ["a", "b"])


def test_channels_of_different_types_are_exact(viewer):
    """Together they would all become float32, whose sums are off in large masks."""
    shape = (500, 500)
    viewer.add_image(np.full(shape, 60_001, dtype=np.uint16), name="counts")
    viewer.add_image(np.zeros(shape, dtype=np.float32), name="ratio")
    table = measurement(viewer.add_labels(np.ones(shape, dtype=int)), viewer).table()
    assert table["intensity_mean-counts"][0] == 60_001
    assert table["intensity_std-counts"][0] == 0


def test_several_planes_without_an_image_are_refused(viewer):
    layer = viewer.add_labels(np.ones((3, 9, 9), dtype=int), name="stack")
    viewer.add_image(np.zeros((3, 9, 8)), name="narrower")
    with pytest.raises(ImageError, match="'stack' has several planes, and no image layer"):
        measurement(layer, viewer)


def test_objects_of_one_channel(viewer, tmp_path):
    """Of a stack with a further axis, on disk: only what lies under the labels, and unread."""
    rng = np.random.default_rng(10)
    labels = rng.integers(0, 3, (1, 3, 12, 10))
    image = rng.integers(0, 99, (2, 3, 12, 10))
    stored = zarr.create_array(tmp_path / "image.zarr", shape=image.shape, dtype=image.dtype)
    stored[:] = image
    viewer.add_image(stored, name="on disk")
    where = {"napari_sam_amg": {"plane": {"index": [1, 0, None, None]}}}
    layer = viewer.add_labels(labels, metadata=where)
    what = measurement(layer, viewer)
    assert isinstance(what.channels["on disk"], da.Array)
    table = what.table()
    for row, label in enumerate((1, 2)):
        assert table["intensity_mean"][row] == pytest.approx(image[1][labels[0] == label].mean())
    layer.metadata.clear()  # nothing says which channel
    with pytest.raises(ImageError, match="no image layer has the same ones"):
        measurement(layer, viewer)


def test_painting_while_a_stack_is_measured(viewer, qtbot):
    layer = viewer.add_labels(np.ones((3, 20, 20), dtype=int), name="objects")
    viewer.add_image(np.zeros((3, 20, 20)), name="image")
    said = []
    for paint in (True, False):
        start_measuring(layer, viewer, said.append)
        if paint:
            layer.paint((1, 5, 5), 7)
        qtbot.waitUntil(lambda: bool(said), timeout=60_000)
        assert ("press Measure again" in said[-1]) == paint
        assert ("intensity_mean" in layer.features) != paint
        said.clear()


@pytest.mark.parametrize("levels", [1, 2])
def test_objects_in_several_planes(viewer, levels):
    rng = np.random.default_rng(9)
    labels = rng.integers(0, 4, (2, 3, 12, 10)) * 5
    image = rng.normal(0, 40, labels.shape)
    data = [labels, labels[..., ::2, ::2]] if levels == 2 else da.from_array(labels)
    layer = viewer.add_labels(data, name="objects", scale=(1, 2, 0.5, 0.5))
    viewer.add_image(image, name="marker", scale=(1, 2, 0.5, 0.5))
    viewer.add_image(image, name="beside", scale=(1, 2, 0.5, 0.5), translate=(0, 2, 0, 0))
    table = measurement(layer, viewer).table()
    assert table["index"].tolist() == [5, 10, 15]
    expected = regionprops_table(
        labels.reshape(6, 12, 10), image.reshape(6, 12, 10), properties=INTENSITIES
    )
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12)
    deviations = [image[labels == label].std() for label in table["index"]]
    np.testing.assert_allclose(table["intensity_std"], deviations, rtol=1e-9)


def test_the_table_as_csv(measured, tmp_path):
    """What napari's Save writes of a layer is its features without the background."""
    widget, press = measured
    press()
    path = tmp_path / "cells.csv"
    assert widget.labels_layer.save(str(path), plugin="napari-sam-amg") == [str(path)]
    found, table = pd.read_csv(path), widget.labels_layer.features
    assert found["label"].tolist() == list(range(1, len(table)))
    for name in ("area", "perimeter_um", "intensity_std", "predicted_iou"):
        np.testing.assert_allclose(found[name], table[name][1:], rtol=1e-12)


def test_a_layer_without_features(tmp_path):
    with pytest.raises(WriteError, match="Measure masks first"):
        write_features(str(tmp_path / "a.csv"), np.ones((3, 3)), {"name": "a", "features": {}})
