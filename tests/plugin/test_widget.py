"""A user's way through the widget, in a real viewer."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine import arguments
from napari_sam_amg.errors import ImageError, RunError
from napari_sam_amg.plugin.layers import MASKS, PROVENANCE
from napari_sam_amg.plugin.settings import LIVE
from napari_sam_amg.plugin.widget import AmgWidget

TIMEOUT = 120_000
FEW = {"points_per_side": 14, "pred_iou_thresh": 0.06, "stability_score_thresh": 0.2}


def _run(widget: AmgWidget, qtbot) -> None:
    widget.run()
    _wait(widget, qtbot)


def _wait(widget: AmgWidget, qtbot) -> None:
    # Not for a signal: a run can be over before one waits for it.
    qtbot.waitUntil(lambda: widget._worker is None, timeout=TIMEOUT)


def _shown(widget: AmgWidget) -> np.ndarray:
    values = {name: getattr(widget, name).value for name in LIVE}
    return widget.proposals.select(**values).to_labels()


def test_run_gives_the_masks_of_a_script(widget, viewer, sample_images, qtbot):
    assert widget.labels_layer is None
    assert widget.proposals is None
    _run(widget, qtbot)
    layer = widget.labels_layer
    assert layer in viewer.layers
    generator = AutomaticMaskGenerator("nuclei-nano", device="cpu", **FEW)
    masks = generator.segment(sample_images[0][:200, :260])
    assert len(masks) > 1
    np.testing.assert_array_equal(layer.data, masks.to_labels())
    assert list(layer.features["label"]) == list(range(len(masks) + 1))
    assert list(layer.features.columns[:3]) == ["index", "label", "area"]
    np.testing.assert_allclose(layer.features["area_um2"], layer.features["area"] / 4)
    np.testing.assert_allclose(layer.features["predicted_iou"][1:], masks.predicted_iou, atol=1e-6)
    assert np.isnan(layer.features["predicted_iou"][0])
    assert layer.metadata[PROVENANCE]["source"] == "cells"
    assert layer.metadata[PROVENANCE]["model"]["name"] == "nuclei-nano"
    assert len(layer.metadata[MASKS]) == len(masks)
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pred_iou_thresh", 0.5),
        ("pred_iou_thresh", 0.0),
        ("stability_score_thresh", 0.6),
        ("box_nms_thresh", 0.1),
        ("min_area", 300),
        ("max_area", 600),
        ("exclude_border", True),
        ("overlap", "largest_on_top"),
        ("pred_iou_thresh", 2.0),
    ],
)
def test_thresholds_act_at_once(widget, qtbot, name, value, monkeypatch):
    _run(widget, qtbot)
    layer = widget.labels_layer
    monkeypatch.setattr(widget._session, "generator", None)  # no model from here on
    getattr(widget, name).value = value
    assert widget.labels_layer is layer
    np.testing.assert_array_equal(layer.data, _shown(widget))
    assert len(layer.features) == int(layer.data.max()) + 1 or name == "overlap"


def test_an_object_keeps_its_colour(widget, qtbot):
    _run(widget, qtbot)
    layer = widget.labels_layer
    before = {
        tuple(m["bbox"]): layer.get_color(i + 1)
        for i, m in enumerate(layer.metadata[MASKS].records())
    }
    widget.pred_iou_thresh.value = float(np.median(layer.features["predicted_iou"][1:]))
    after = {
        tuple(m["bbox"]): layer.get_color(i + 1)
        for i, m in enumerate(layer.metadata[MASKS].records())
    }
    assert 0 < len(after) < len(before)
    for box, colour in after.items():
        np.testing.assert_allclose(colour, before[box])


def test_a_layer_edited_by_hand_is_never_overwritten(widget, viewer, qtbot):
    _run(widget, qtbot)
    first = widget.labels_layer
    first.data[:5, :5] = 77
    edited = first.data.copy()
    widget.pred_iou_thresh.value = 0.4
    assert widget.labels_layer is not first
    np.testing.assert_array_equal(first.data, edited)
    np.testing.assert_array_equal(widget.labels_layer.data, _shown(widget))
    assert len(viewer.layers) == 3


def test_a_second_run_updates_the_layer_in_place(widget, viewer, qtbot):
    _run(widget, qtbot)
    layer = widget.labels_layer
    widget.points_per_side.value = 10
    assert "Run" in widget._panel.status.value
    _run(widget, qtbot)
    assert widget.labels_layer is layer
    np.testing.assert_array_equal(layer.data, _shown(widget))
    assert len(viewer.layers) == 2


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    """What the window warns of."""
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    return said


@pytest.mark.parametrize("name", ["noise", "fibres"])
def test_images_that_the_model_is_not_for_are_warned_of(viewer, qtbot, warned, name):
    rng = np.random.default_rng(5)
    y, x = np.indices((256, 256))
    images = {
        "noise": rng.normal(100, 20, (256, 256)),
        "fibres": 100 + 50 * np.sin(x / 3 + 4 * np.sin(y / 40)) + 50 * np.sin((x - 2 * y) / 5),
    }
    viewer.add_image(np.clip(images[name], 0, 255).astype(np.uint8), name=name)
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    _run(widget, qtbot)
    status = widget._panel.status.value
    (said,) = warned
    assert said.startswith(f"{name}: ")
    assert ("nothing was found" in said) == (len(widget.result.masks) == 0)
    assert ("unsure of these masks" in said) == (len(widget.result.masks) > 0)
    assert f" Warning: {said.removeprefix(f'{name}: ')}" in status


def test_nuclei_are_not_warned_of(viewer, sample_images, qtbot, warned):
    viewer.add_image(sample_images[0][:300, :340], name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    _run(widget, qtbot)
    assert len(widget.result.masks) > 2
    assert not warned
    assert "unsure" not in widget._panel.status.value


def test_hidden_masks_are_not_taken_for_nothing_found(viewer, sample_images, qtbot, warned):
    viewer.add_image(sample_images[0][:300, :340], name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    _run(widget, qtbot)
    widget.nesting.value = "sub-part"
    _run(widget, qtbot)
    assert widget.labels_layer.data.max() == 0
    assert widget._panel.status.value.startswith("0 masks shown")
    assert not warned
    assert "nothing was found" not in widget._panel.status.value


def test_what_is_shown_by_hand_is_not_nothing_found(viewer, sample_images, qtbot):
    viewer.add_image(sample_images[0][:300, :340], name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    _run(widget, qtbot)
    best = int(np.argmax(widget.proposals.predicted_iou))
    widget.pred_iou_thresh.value = 1.0
    assert "nothing was found" in widget._panel.status.value
    widget.result.corrections.promote(best, None)
    widget.result.update()
    widget.stability_score_thresh.value = 0.9
    assert widget._panel.status.value.startswith("1 mask shown")
    assert "nothing was found" not in widget._panel.status.value
    # Nor are masks that were all taken away.
    widget.pred_iou_thresh.value = 0.43
    widget.result.corrections.remove(np.arange(len(widget.proposals)))
    widget.result.update()
    widget.stability_score_thresh.value = 0.85
    assert widget._panel.status.value.startswith("0 masks shown")
    assert "nothing was found" not in widget._panel.status.value


def test_what_was_computed_otherwise_is_said(viewer, sample_images, qtbot, monkeypatch):
    monkeypatch.setattr(arguments, "multiplies_bfloat16", lambda device: False)
    viewer.add_image(sample_images[0][:100, :100], name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    widget.precision.value = "fast"
    _run(widget, qtbot)
    assert "Computed as exact" in widget._panel.status.value
    widget.precision.value = "exact"
    _run(widget, qtbot)
    assert "Computed as" not in widget._panel.status.value


@pytest.mark.parametrize("keep", [False, True])
def test_cancel(widget, qtbot, keep):
    widget.points_per_side.value = 64
    widget.points_per_batch.value = 16
    chunks = []
    worker = widget.run()
    worker.yielded.connect(lambda p: chunks.append(p.done) if p.total else None)
    qtbot.waitUntil(lambda: len(chunks) > 3, timeout=TIMEOUT)
    widget.cancel(keep=keep)
    _wait(widget, qtbot)
    assert chunks[-1] < 200
    assert (widget.labels_layer is not None) == keep
    if keep:
        assert len(widget.proposals) > 0
    widget.points_per_side.value = 6
    _run(widget, qtbot)
    np.testing.assert_array_equal(widget.labels_layer.data, _shown(widget))


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError(), OSError("gone")])
def test_a_fault_is_said_once_and_the_widget_goes_on(widget, qtbot, monkeypatch, error, capsys):
    def fail(job):
        raise error

    real = widget._session.generator
    monkeypatch.setattr(widget._session, "generator", fail)
    with qtbot.captureExceptions() as said:
        _run(widget, qtbot)
    assert [kind for kind, _, _ in said] == [RunError]
    assert "What to do" in str(said[0][1])
    assert "loading the model" in widget._panel.status.value
    monkeypatch.setattr(widget._session, "generator", real)
    _run(widget, qtbot)
    assert widget.labels_layer is not None


def _rename(viewer):
    viewer.layers[0].name = "other"


def _remove(viewer):
    viewer.layers.pop(0)


def _change(viewer):
    viewer.layers[0].data = np.zeros((50, 60), np.uint8)


def _rescale(viewer):
    viewer.layers[0].scale = (9, 9)


@pytest.mark.parametrize("change", [_rename, _remove, _change, _rescale])
def test_the_image_layer_may_change_during_a_run(widget, viewer, qtbot, change):
    widget.run()
    change(viewer)
    _wait(widget, qtbot)
    assert widget.labels_layer.data.shape == (200, 260)
    np.testing.assert_allclose(widget.labels_layer.scale, (0.5, 0.5))
    assert widget.labels_layer.name == "cells masks"


def test_what_cannot_start_says_why(make_napari_viewer, qtbot, widget):
    with pytest.raises(ImageError, match="no image layer"):
        AmgWidget(make_napari_viewer()).run()
    widget.run()
    with pytest.raises(RunError, match="a run is on"):
        widget.run()
    widget.cancel()
    _wait(widget, qtbot)


def test_the_image_follows_the_active_layer_but_no_labels(widget, viewer):
    cells = viewer.layers["cells"]
    other = viewer.add_image(np.zeros((20, 20)), name="other")
    assert widget.image_layer.value is other
    viewer.add_labels(np.zeros((20, 20), int))
    assert widget.image_layer.value is other
    viewer.layers.selection.active = cells
    assert widget.image_layer.value is cells
    viewer.layers.remove(cells)
    assert widget.image_layer.value is other


def test_another_model_changes_only_untouched_fields(widget):
    widget.points_per_side.value = 11
    assert widget.stability_score_offset.value != 1.0  # the embedded model's own
    widget._settings.touched.discard("pred_iou_thresh")
    widget.model.value = "sam2.1_hiera_tiny"
    assert widget.points_per_side.value == 11
    assert widget.pred_iou_thresh.value == 0.8  # sam2's own
    assert widget.stability_score_thresh.value == FEW["stability_score_thresh"]
    assert widget.stability_score_offset.value == 1.0  # sam2's own


def test_presets(widget):
    widget.preset.value = "everything"
    assert widget.parameters.pred_iou_thresh == 0
    assert widget.parameters.points_per_side == 48
    widget.preset.value = "as recommended"
    assert widget.parameters.pred_iou_thresh > 0


def test_nothing_is_left_when_it_is_over(widget, viewer, qtbot):
    _run(widget, qtbot)
    widget.free_memory()
    assert widget._session._generator is None
    gc.collect()
    assert [t.name for t in threading.enumerate() if "sam" in t.name.lower()] == []
