"""Faults, cancelling and closing during a run (rows 12, 16 and 18 of the reliability table)."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import numpy as np
import psutil
import pytest
import torch

from _scale import FULL, scaled
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.errors import DeviceError, RunError, SamAmgError
from napari_sam_amg.plugin.widget import AmgWidget

FEW = {
    "prompts": "grid",
    "points_per_side": 8,
    "pred_iou_thresh": 0.0,
    "stability_score_thresh": 0.0,
}


@pytest.fixture
def quick(widget, small, monkeypatch):
    """The widget with a model that is quick."""
    generator = AutomaticMaskGenerator(small)
    monkeypatch.setattr(
        widget._session, "generator", lambda job: generator.configured(**job.parameters)
    )
    for name, value in FEW.items():
        getattr(widget, name).value = value
    return widget


STAGES = {
    "the layer": ("napari_sam_amg.plugin.planes.displayed_plane", OSError, None),
    "the pixels": ("napari_sam_amg.plugin.planes.Plane.computed", OSError, "reading the image"),
    "the brightness": ("napari_sam_amg.plugin.look.Look.prepared", ValueError, "reading"),
    "the import": ("napari_sam_amg.plugin.session.prepare_torch_import", ImportError, "loading"),
    "the file": ("napari_sam_amg.engine.generator.load", OSError, "loading the model"),
    "the settings": (
        "napari_sam_amg.engine.AutomaticMaskGenerator.configured",
        TypeError,
        "loading the model",
    ),
    "the input": ("napari_sam_amg.engine.generator.prepare_image", MemoryError, "encoding"),
    "the encoder": ("napari_sam_amg.engine.generator.encode_together", RuntimeError, "encoding"),
    "its memory": (
        "napari_sam_amg.engine.generator.encode_together",
        torch.OutOfMemoryError,
        "too little memory",
    ),
    "the decoder": (
        "napari_sam_amg.engine.decoder.Decoder.decode",
        RuntimeError,
        "asking the model",
    ),
    "the masks": ("napari_sam_amg.engine.run.Scorer", RuntimeError, "asking the model"),
    "the table": ("napari_sam_amg.engine.run.MaskTable", MemoryError, "selecting masks"),
    "the candidates": ("napari_sam_amg.engine.run.Proposals", MemoryError, "selecting masks"),
    "the label image": (
        "napari_sam_amg.masks.Masks.labels_and_columns",
        MemoryError,
        "showing the masks",
    ),
    "the layer of masks": (
        "napari_sam_amg.plugin.shown.ShownLayer.draw",
        RuntimeError,
        "showing the masks",
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_at_any_stage_is_said_once_and_the_next_run_is_right(
    widget, wait, qtbot, monkeypatch, stage
):
    target, kind, words = STAGES[stage]

    def fail(*_, **__):
        raise kind("boom")

    shown = []
    monkeypatch.setattr("napari.utils.notifications.show_error", shown.append)
    with monkeypatch.context() as patch, qtbot.captureExceptions() as said:
        patch.setattr(target, fail)
        widget._panel.run_button.changed.emit(True)
        wait(widget)
    text = widget._panel.status.value
    assert "boom" in text
    memory = kind is torch.OutOfMemoryError  # said in words of its own
    assert memory or kind.__name__ in text
    if words is None:  # it could not even start
        assert shown == [text]
        assert not said
    else:
        assert [error for error, _, _ in said] == [DeviceError if memory else RunError]
        assert str(said[0][1]) == text
        assert words in text
        assert memory or "What to do" in text
        assert not shown
    assert widget._panel.run_button.enabled
    assert not widget._panel.cancel_button.enabled
    widget.run()
    wait(widget)
    expected = widget.proposals.select(
        **{name: getattr(widget.parameters, name) for name in ("pred_iou_thresh",)}
        | {"stability_score_thresh": widget.parameters.stability_score_thresh}
    )
    assert len(expected) > 1
    np.testing.assert_array_equal(widget.labels_layer.data, expected.to_labels())
    assert not widget.viewer.layers[0].name.endswith("masks")


def _delete(viewer):
    viewer.layers.pop(0)


def _rename(viewer):
    viewer.layers[0].name = "other"


def _reorder(viewer):
    viewer.layers.move(0, 2)


def _replace(viewer):
    viewer.layers[0].data = np.zeros((50, 60), np.uint8)


def _rescale(viewer):
    viewer.layers[0].scale = (9, 9)


@pytest.mark.parametrize("time", range(scaled(20)))
@pytest.mark.parametrize("change", [_delete, _rename, _reorder, _replace, _rescale])
def test_the_viewer_may_change_during_a_run(quick, viewer, wait, change, time):
    viewer.add_points(np.zeros((1, 2)), name="points")
    quick.image_layer.value = viewer.layers["cells"]
    quick.points_per_batch.value = 2  # so that the run has more steps than that
    worker = quick.run()
    steps = []
    worker.yielded.connect(
        lambda p: steps.append(p) or (len(steps) == time + 1 and change(viewer))
    )
    wait(quick)
    assert len(steps) > time
    layer = quick.labels_layer
    assert layer in viewer.layers
    assert layer.data.shape == (200, 260)
    np.testing.assert_allclose(layer.scale, (0.5, 0.5))
    assert "points" in viewer.layers


@pytest.mark.parametrize("time", range(scaled(20)))
def test_closing_the_widget_keeps_what_was_found(quick, viewer, wait, time, qtbot):
    quick.points_per_batch.value = 4
    worker = quick.run()
    steps = []
    worker.yielded.connect(lambda p: steps.append(p))
    qtbot.waitUntil(lambda: len(steps) > 3 + time % 5, timeout=60_000)
    viewer.window.remove_dock_widget(quick.native)
    wait(quick)
    assert quick.labels_layer in viewer.layers
    assert steps[-1].done < steps[-1].total
    # It can be docked again, and goes on.
    viewer.window.add_dock_widget(quick)
    quick.run()
    wait(quick)
    assert len(quick.proposals) > 0


@pytest.mark.parametrize("time", range(scaled(20)))
def test_closing_the_viewer(make_napari_viewer, small, monkeypatch, sample_images, qtbot, time):
    viewer = make_napari_viewer()
    viewer.add_image(sample_images[0][:200, :260])
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    generator = AutomaticMaskGenerator(small)
    monkeypatch.setattr(
        widget._session, "generator", lambda job: generator.configured(**job.parameters)
    )
    for name, value in (FEW | {"points_per_batch": 4}).items():
        getattr(widget, name).value = value
    worker = widget.run()
    steps = []
    worker.yielded.connect(lambda p: steps.append(p))
    qtbot.waitUntil(lambda: len(steps) > 2 + time % 5, timeout=60_000)
    with qtbot.captureExceptions() as said:
        viewer.close()
        qtbot.waitUntil(lambda: widget._worker is None, timeout=60_000)
    assert not said
    assert not worker.is_running


SCRIPT = """
import sys
import imageio.v3 as iio, napari
from qtpy.QtCore import QTimer
viewer = napari.Viewer(show=True)
viewer.add_image(iio.imread(sys.argv[1])[:200, :260])
_, widget = viewer.window.add_plugin_dock_widget("napari-sam-amg", "Automatic mask generation")
widget.prompts.value = "grid"
widget.points_per_batch.value = 1
worker = widget.run()
steps = []
def step(progress):
    steps.append(progress)
    if len(steps) == int(sys.argv[2]):
        viewer.window._qt_window.close(quit_app=True, confirm_need=False)
worker.yielded.connect(step)
napari.run()
assert len(steps) >= int(sys.argv[2]), len(steps)
assert steps[-1].total == 0 or steps[-1].done < steps[-1].total, steps[-1]
sys.stdout.write("closed")
"""


@pytest.mark.parametrize("after", np.linspace(1, 20, scaled(20), dtype=int).tolist())
def test_quitting_during_a_run(sample_paths, after):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sample_paths[0]), str(after)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.endswith("closed"), done.stderr
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_cancel_and_restart_many_times(quick, small, viewer, wait, qtbot):
    """Row 12: 100 cycles here, 500 in the full suite."""
    rng = np.random.default_rng(0)
    cycles = 500 if FULL else 100
    quick.points_per_batch.value = 8
    process = psutil.Process()
    chunks_after = []
    rss = 0
    threads = None
    for cycle in range(cycles):
        worker = quick.run()
        steps: list = []
        late: list = []
        worker.yielded.connect(steps.append)
        wanted = int(rng.integers(0, 8))
        qtbot.waitUntil(lambda s=steps, n=wanted: len(s) > n, timeout=60_000)
        quick.cancel(keep=bool(rng.integers(2)))
        seen = len(steps)
        wait(quick)
        late = steps[seen:]
        chunks_after.append(len(late))
        if cycle == 20:
            gc.collect()
            rss = process.memory_info().rss
            threads = threading.active_count()
    gc.collect()
    # What the worker had under way when the click came, and no more.
    assert np.percentile(chunks_after, 95) <= 2
    assert threading.active_count() <= threads
    assert process.memory_info().rss - rss < 50 * 2**20
    quick.run()
    wait(quick)
    fresh = AutomaticMaskGenerator(
        quick._session.generator(quick._job(quick.image)).model, **dict(quick.parameters)
    )
    expected = fresh.propose(viewer.layers["cells"].data)
    assert len(expected) > 0
    np.testing.assert_array_equal(quick.proposals.store.windows, expected.store.windows)
    np.testing.assert_array_equal(quick.proposals.predicted_iou, expected.predicted_iou)


def test_a_typed_error_passes_as_it_is(widget, wait, qtbot, monkeypatch):
    def fail(*_, **__):
        raise SamAmgError("said well already")

    monkeypatch.setattr("napari_sam_amg.engine.generator.load", fail)
    with qtbot.captureExceptions() as said:
        widget.run()
        wait(widget)
    assert [str(error) for _, error, _ in said] == ["said well already"]
