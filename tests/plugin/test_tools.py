"""Size by example, settings in files, labels that are kept, menu entries, preferences."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_sam_amg.errors import ParameterError, ReadError
from napari_sam_amg.models.registry import model_info
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.plugin.commands import colour_layer
from napari_sam_amg.plugin.example import proposal
from napari_sam_amg.plugin.widget import AmgWidget


@pytest.mark.parametrize("side", [300, 512, 1024, 4096])
@pytest.mark.parametrize("breadth", [8, 25, 60, 150])
@pytest.mark.parametrize("ratio", [1.0, 2.5])
@pytest.mark.parametrize(("trained", "image_size"), [(40.0, 512), (None, 1024)])
def test_every_object_of_the_size_is_hit(side, breadth, ratio, trained, image_size):
    found = proposal(breadth * ratio, breadth, (side, side * 2 // 3), trained, image_size)
    p = AmgParameters(**found.parameters)
    spacing = p.tile_size / p.points_per_side
    # A disc of this breadth holds a point of any grid whose cells' half diagonal is smaller.
    assert spacing / math.sqrt(2) <= breadth / 2
    diameter = breadth * math.sqrt(ratio)
    assert p.object_diameter == pytest.approx(diameter, abs=0.06)
    assert p.scale * diameter == pytest.approx(trained or image_size / 16, rel=0.01)
    area = math.pi / 4 * breadth**2 * ratio
    assert p.min_area <= area / 8.5
    assert p.max_area >= area * 8.5
    assert f"{p.points_per_side} points" in found.why
    assert ("tiles of" in found.why) == (p.tile_size < side)


@pytest.mark.parametrize(
    ("length", "breadth", "words"), [(0, 0, "whole object"), (900, 900, "900 pixels long")]
)
def test_an_example_of_no_use_is_refused(length, breadth, words):
    with pytest.raises(ParameterError, match=words):
        proposal(length, breadth, (300, 400), 40.0, 512)


@pytest.mark.parametrize(
    ("kind", "corners"),
    [
        ("line", [[50, 60], [50, 100]]),
        ("rectangle", [[30, 60], [30, 100], [70, 100], [70, 60]]),
        ("ellipse", [[30, 60], [30, 100], [70, 100], [70, 60]]),
    ],
)
def test_drawing_proposes_and_only_a_click_applies(widget, viewer, kind, corners):
    before = dict(widget.parameters)
    widget.draw_example.changed.emit(True)
    layer = viewer.layers["one object"]
    assert layer.mode == "add_line"
    scale = np.array([0.5, 0.5])  # of the image: the layer itself is in um
    layer.add([np.array(corners) * scale / layer.scale], shape_type=kind)
    assert "40 x 40 pixels" in _said(widget)
    assert "20 x 20" in _said(widget)  # um
    assert dict(widget.parameters) == before
    widget.apply_example.changed.emit(True)
    trained = widget.profile.object_diameter
    expected = proposal(40, 40, (200, 260), trained, widget.input_size).parameters
    assert expected.items() <= dict(widget.parameters).items()
    assert widget.image_layer.value is viewer.layers["cells"]


def _said(widget):
    section = next(s for s in widget._sections if hasattr(s, "draw_example"))
    return section.example.value


def test_settings_come_back(widget, viewer, tmp_path, sample_images):
    path = tmp_path / "settings.json"
    widget.brightness.value = "layer"
    widget.precision.value = "fast"
    widget.max_area.value = 4321
    widget.overlap.value = "largest_on_top"
    widget.save_settings(path)
    saved = dict(widget.parameters)
    other = AmgWidget(viewer)
    assert dict(other.parameters) != saved
    other.load_settings(path)
    assert dict(other.parameters) == saved
    assert (other.brightness.value, other.precision.value) == ("layer", "fast")
    other.model.value = "sam2.1_hiera_tiny"
    assert dict(other.parameters) == saved  # loaded ones count as the user's


def _changed(change):
    def write(good):
        values = json.loads(good)
        change(values)
        return json.dumps(values)

    return write


@pytest.mark.parametrize(
    ("write", "error", "words"),
    [
        (lambda good: good[:30], ReadError, "no JSON"),
        (lambda good: "[]", ReadError, "no settings"),
        (lambda good: "[" * 100_000, ReadError, "no JSON"),
        (lambda good: " " * (1 << 21), ReadError, "bytes"),
        (_changed(lambda v: v.update(version=9)), ReadError, "version 9"),
        (_changed(lambda v: v.update(model=3)), ReadError, "'model'"),
        (_changed(lambda v: v.update(model="vit_x")), ParameterError, "vit_x"),
        (_changed(lambda v: v.update(device="tpu")), ParameterError, "tpu"),
        (_changed(lambda v: v["parameters"].update(min_area=-5)), ParameterError, "min_area"),
        (_changed(lambda v: v["parameters"].update(colour=1)), ParameterError, "colour"),
    ],
)
def test_wrong_settings_change_nothing(widget, tmp_path, write, error, words):
    path = tmp_path / "settings.json"
    widget.save_settings(path)
    path.write_text(write(path.read_text()))
    widget.points_per_side.value = 17
    before = dict(widget.parameters), widget.model.value, widget.device.value
    with pytest.raises(error, match=words):
        widget.load_settings(path)
    assert (dict(widget.parameters), widget.model.value, widget.device.value) == before


def test_settings_that_are_not_there(widget, tmp_path):
    with pytest.raises(ReadError, match="none"):
        widget.load_settings(tmp_path / "none.json")


def test_existing_labels_are_kept(widget, viewer, wait):
    widget.run()
    wait(widget)
    free = widget.labels_layer.data.copy()
    count = len(widget.result.masks)
    first = widget.result.masks[0]
    columns = np.flatnonzero(first.any(axis=0))
    own = np.zeros((200, 260), int)
    own[first] = 1  # the whole of one mask
    largest = int(np.argmax(widget.result.masks.areas))
    other = widget.result.masks[largest]
    rows = np.flatnonzero((other & ~first).any(axis=1))
    own[rows[0] : rows[0] + max(1, len(rows) // 5)] = 2  # a strip through another
    layer = viewer.add_labels(own, name="mine", scale=(0.5, 0.5))
    widget.keep_labels.value = layer
    shown = widget.labels_layer.data
    assert not shown[own > 0].any()
    share = [m[own > 0].sum() / m.sum() for m in widget.result.masks]
    assert max(share) <= 0.5
    assert 0 < len(widget.result.masks) < count
    assert len(columns)
    np.testing.assert_array_equal(layer.data, own)
    # Every mask that lies mostly beside them is there.
    everything = widget.proposals.select(
        **{k: getattr(widget.parameters, k) for k in ("pred_iou_thresh", "stability_score_thresh")}
    )
    expected = sum(m[own > 0].sum() / m.sum() <= 0.5 for m in everything)
    assert len(widget.result.masks) == expected
    widget.pred_iou_thresh.value = 0.3
    assert not widget.labels_layer.data[own > 0].any()
    widget.pred_iou_thresh.value = 0.2
    widget.keep_labels.value = "none"
    np.testing.assert_array_equal(widget.labels_layer.data, free)


def test_free_memory(widget, wait):
    widget.run()
    wait(widget)
    before = widget.labels_layer.data.copy()
    widget.free_button.changed.emit(True)
    assert widget._session._generator is None
    np.testing.assert_array_equal(widget.labels_layer.data, before)


def test_menu_entries(widget, viewer, wait, monkeypatch):
    from napari._app_model import get_app_model

    widget.run()
    wait(widget)
    viewer.layers.selection.active = widget.labels_layer
    run = get_app_model().commands.execute_command
    run("napari-sam-amg.features_table").result()
    assert "Features table widget (napari)" in viewer.window.dock_widgets
    monkeypatch.setattr("magicgui.widgets.request_values", lambda **_: {"feature": "area"})
    run("napari-sam-amg.colour_by_feature").result()
    areas = widget.labels_layer.features["area"].to_numpy()[1:]
    brightness = [sum(widget.labels_layer.get_color(i + 1)[:3]) for i in range(len(areas))]
    assert brightness[int(np.argmax(areas))] == max(brightness)
    assert brightness[int(np.argmin(areas))] == min(brightness)


def test_labels_of_others_are_coloured_too(viewer):
    import pandas as pd

    table = pd.DataFrame({"index": [0, 7, 3], "size": [0.0, 5.0, np.nan]})
    layer = viewer.add_labels(np.array([[7, 3], [0, 7]]), features=table)
    colour_layer(layer, "size")
    np.testing.assert_allclose(layer.get_color(3), (0.5, 0.5, 0.5, 1), atol=0.01)
    assert not np.allclose(layer.get_color(7), layer.get_color(3))


def test_preferences_are_what_a_widget_begins_with(viewer):
    from napari.settings import get_plugin_settings

    chosen = get_plugin_settings("napari-sam-amg").defaults
    before = chosen.model, chosen.device, chosen.precision
    try:
        chosen.model, chosen.device, chosen.precision = "sam2.1_hiera_small", "cpu", "fast"
        widget = AmgWidget(viewer)
        assert widget.model.value == "sam2.1_hiera_small"
        assert (widget.device.value, widget.precision.value) == ("cpu", "fast")
        assert widget.parameters.pred_iou_thresh == 0.8  # sam2's own
    finally:
        chosen.model, chosen.device, chosen.precision = before
    assert AmgWidget(viewer).model.value == "nuclei-nano"


def _shown(widget):
    names = ("scale", "tile_size", "tile_halo", "points_per_side", "min_area", "max_area")
    return {name: getattr(widget, name).value for name in names}


def test_a_diameter_sets_what_follows_and_leaves_what_was_touched(viewer):
    widget = AmgWidget(viewer)
    first = _shown(widget)
    assert first["tile_size"] == model_info("nuclei-nano").recommended["tile_size"]
    widget.object_diameter.value = 20.0
    # A box three times as wide as a disc of the diameter, and 3.5 points to it.
    assert _shown(widget) == {
        "scale": widget.profile.object_diameter / 20,
        "tile_size": 256,
        "tile_halo": 30,
        "points_per_side": math.ceil(3.5 * 256 / 20),
        "min_area": math.floor(math.pi * 10**2 / 9),
        "max_area": math.ceil(math.pi * 10**2 * 9),
    }
    widget.max_area.value = 777
    widget.points_per_side.value = 11
    widget.object_diameter.value = 40.0
    assert _shown(widget) == {
        "scale": 1.0,
        "tile_size": 512,
        "tile_halo": 60,
        "points_per_side": 11,
        "min_area": math.floor(math.pi * 20**2 / 9),
        "max_area": 777,
    }
    widget.object_diameter.value = None
    assert _shown(widget) == first | {"points_per_side": 11, "max_area": 777}


def test_half_typed_sizes_change_nothing(viewer):
    widget = AmgWidget(viewer)
    first = _shown(widget)
    for name in ("object_diameter", "scale", "tile_size"):
        getattr(widget, name).native.setText("0")
        assert {**_shown(widget), **{name: first.get(name)}}.items() >= first.items()
        getattr(widget, name).native.setText("")


def test_another_model_goes_by_the_diameter_too(viewer):
    widget = AmgWidget(viewer)
    widget.object_diameter.value = 20.0
    widget.model.value = "sam2.1_hiera_tiny"
    assert (widget.scale.value, widget.tile_size.value) == (3.2, 320)  # 1024 / 16 / 20
    assert widget.points_per_side.value == 56
    widget.model.value = "nuclei-nano"
    assert (widget.scale.value, widget.tile_size.value) == (2.0, 256)
    widget.preset.value = "few, large objects"
    assert widget.tile_size.value is None


@pytest.mark.parametrize("how", ["example", "file"])
def test_what_follows_goes_on_following(viewer, tmp_path, how):
    widget = AmgWidget(viewer)
    if how == "example":
        trained = widget.profile.object_diameter
        widget.set_parameters(proposal(20, 20, (900, 900), trained, widget.input_size).parameters)
    else:
        widget.object_diameter.value = 20.0
        widget.save_settings(tmp_path / "s.json")
        widget = AmgWidget(viewer)
        widget.load_settings(tmp_path / "s.json")
    assert (widget.tile_size.value, widget.points_per_side.value) == (256, 45)
    widget.object_diameter.value = 40.0
    assert (widget.tile_size.value, widget.points_per_side.value) == (512, 45)
    assert widget.max_area.value == math.ceil(math.pi * 20**2 * 9)


def test_settings_of_an_earlier_version_mean_what_they_meant(widget, tmp_path):
    path = tmp_path / "old.json"
    widget.save_settings(path)
    values = json.loads(path.read_text("utf-8"))
    for name in ("object_diameter", "scale", "tile_size", "tile_halo"):
        del values["parameters"][name]
    path.write_text(json.dumps(values), "utf-8")
    widget.load_settings(path)
    assert widget.tile_size.value is None  # the whole image at once


def test_a_scale_sets_the_tile_size(viewer):
    widget = AmgWidget(viewer)
    widget.scale.value = 2.0
    assert (widget.tile_size.value, widget.tile_halo.value) == (256, 30)
    widget.object_diameter.value = 10.0
    assert (widget.scale.value, widget.tile_size.value) == (2.0, 256)
    assert widget.points_per_side.value == math.ceil(3.5 * 256 / 10)


def test_a_diameter_in_um_is_that_in_pixels(widget, viewer):
    assert widget.object_diameter_um.enabled
    widget.object_diameter_um.value = 10.0  # pixels of 0.5 um
    assert widget.object_diameter.value == 20.0
    widget.object_diameter.value = 30.0
    assert widget.object_diameter_um.value == 15.0
    viewer.layers["cells"].units = "pixel"
    assert not widget.object_diameter_um.enabled
    assert widget.object_diameter.value == 30.0


def test_what_is_no_number_is_said(widget):
    widget.object_diameter.native.setText("large")
    with pytest.raises(ParameterError, match="object_diameter: 'large' is no number"):
        _ = widget.parameters


def test_a_run_goes_by_the_diameter(widget, wait):
    widget.object_diameter.value = 60.0
    widget.tile_size.value = 128
    widget.points_per_side.value = 4
    widget.run()
    wait(widget)
    made = widget.proposals.provenance
    assert made["parameters"]["object_diameter"] == 60.0
    assert made["tiles"]["count"] > 1
    assert made["tiles"]["size"] == 128
    np.testing.assert_array_equal(
        widget.labels_layer.data,
        widget.proposals.select(
            **{name: getattr(widget.parameters, name) for name in widget._settings.live}
        ).to_labels(),
    )


def test_where_the_model_is_asked(viewer):
    widget = AmgWidget(viewer)
    assert widget.prompts.value == "objects"
    assert not widget.points_per_side.enabled
    assert widget.object_score_thresh.enabled
    widget.prompts.value = "grid"
    assert widget.points_per_side.enabled
    assert not widget.object_score_thresh.enabled
    widget.prompts.value = "objects"
    widget.point_grids.value = [[(0.5, 0.5)]]
    assert widget.parameters.prompts == "grid"  # points of one's own are one
    widget.point_grids.value = None

    widget.model.value = "sam2.1_hiera_tiny"  # has not learned it
    assert not widget.prompts.enabled
    assert widget.parameters.prompts == "grid"
    assert widget.points_per_side.enabled
    widget.model.value = "nuclei-nano"
    assert widget.prompts.enabled
    assert widget.parameters.prompts == "objects"
    widget.preset.value = "many, small objects"
    assert widget.parameters.prompts == "grid"
    assert widget.points_per_side.enabled
