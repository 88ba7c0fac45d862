"""What users did or chose is never lost on the way: edits, corrections, limits, choices."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg.errors import ImageError
from napari_sam_amg.plugin.edited import masks_of_layer
from napari_sam_amg.plugin.jobs import Control
from napari_sam_amg.plugin.planes import displayed_plane
from napari_sam_amg.plugin.promotion import Promotion
from napari_sam_amg.plugin.widget import AmgWidget


@pytest.fixture
def ran(widget, wait):
    widget.run()
    wait(widget)
    return widget


def test_promoting_on_a_painted_layer_keeps_what_was_painted(ran):
    layer = ran.labels_layer
    label = int(np.argmax(ran.result.masks.areas)) + 1
    rows, columns = np.nonzero(layer.data == label)
    y, x = int(rows[len(rows) // 2]), int(columns[len(rows) // 2])
    free = tuple(axis[:9] for axis in np.nonzero(layer.data == 0))
    layer.data_setitem(free, label)  # the user's only stroke
    stroke = layer.data.copy()
    promotion = Promotion(ran.result)
    for _ in range(12):
        said = promotion.promote(x, y)
        if "As it was" in said or "No other" in said:
            break
        assert not np.array_equal(layer.data, stroke)  # a candidate that shows is another one
    np.testing.assert_array_equal(layer.data, stroke)


def test_a_second_run_keeps_corrections(ran, wait, viewer):
    first = ran.labels_layer
    promotion = Promotion(ran.result)
    promotion.remove([1])
    corrected = first.data.copy()
    ran.run()
    wait(ran)
    assert ran.labels_layer is not first
    assert first in viewer.layers
    np.testing.assert_array_equal(first.data, corrected)


def test_a_part_of_a_result_does_not_replace_the_whole(ran, wait, qtbot):
    first, whole = ran.labels_layer, ran.labels_layer.data.copy()
    ran.points_per_side.value = 20
    worker = ran.run()
    heard = []
    worker.yielded.connect(heard.append)
    qtbot.waitUntil(lambda: any(news.stage == "decode" for news in heard), timeout=60_000)
    ran.cancel(keep=True)
    wait(ran)
    assert ran.proposals.provenance["partial"] is True
    np.testing.assert_array_equal(first.data, whole)
    assert ran.labels_layer is not first


@pytest.mark.parametrize("keep", [False, True])
def test_cancel_at_the_last_step(widget, keep):
    control = Control()
    run = widget._session.run(widget._job(widget.image), control)
    found = None
    try:
        while True:
            if next(run).stage == "select":
                control.cancel(keep=keep)
    except StopIteration as end:
        found = end.value
    assert (found is not None) == keep
    if keep:
        assert len(found) > 1


def test_napari_ends_a_run_within_the_encoder(widget, viewer, wait, qtbot):
    """Closing napari only sets a flag of the worker; a run is not to outlast it."""
    worker = widget.run()
    assert not widget._runner._control.stopping
    worker.quit()
    assert widget._runner._control.stopping
    wait(widget)
    assert widget.labels_layer is None


def test_sliders_tune_the_chosen_image_after_apply_to_all(widget, viewer, wait, sample_images):
    viewer.add_image(sample_images[0][200:400, :260], name="other")
    viewer.add_image(
        sample_images[0][:100, :100], name="p", metadata={"napari_sam_amg_preview": 1}
    )
    widget.image_layer.value = viewer.layers["cells"]
    widget.apply_to_all()
    wait(widget)
    assert [x.name for x in viewer.layers if x.name.endswith("masks")] == [
        "cells masks",
        "other masks",
    ]
    assert widget.labels_layer.name == "cells masks"
    other = viewer.layers["other masks"].data.copy()
    before = widget.pred_iou_thresh.value
    widget.pred_iou_thresh.value = 0.5
    expected = widget.proposals.select(**widget._settings.thresholds).to_labels()
    np.testing.assert_array_equal(widget.labels_layer.data, expected)
    np.testing.assert_array_equal(viewer.layers["other masks"].data, other)
    # Each image comes back with its own thresholds.
    widget.image_layer.value = viewer.layers["other"]
    assert widget.labels_layer.name == "other masks"
    assert widget.pred_iou_thresh.value == pytest.approx(before)
    np.testing.assert_array_equal(widget.labels_layer.data, other)
    widget.image_layer.value = viewer.layers["cells"]
    assert widget.pred_iou_thresh.value == pytest.approx(0.5)


def test_apply_to_all_goes_on_where_one_image_cannot_start(
    widget, viewer, wait, qtbot, sample_images
):
    viewer.add_image(sample_images[0][:150, :150], translate=(5000, 5000), name="far away")
    corners = np.array([[10, 10], [10, 90], [80, 90], [80, 10]]) * 0.5
    viewer.add_shapes([corners], shape_type="polygon", name="here")
    widget.image_layer.value = viewer.layers["cells"]
    widget.where.value = viewer.layers["here"]
    with qtbot.captureExceptions() as raised:
        widget.apply_to_all()
        wait(widget)
    assert "cells masks" in viewer.layers
    (error,) = [error for _, error, _ in raised]
    assert str(error).startswith("1 of 2 images failed")
    assert "no shape with an area" in str(error)


def test_limits_in_um2_are_those_in_pixels(ran, viewer):
    pixel = 0.25  # um^2, of the fixture's scale 0.5
    low, high = np.sort(ran.result.masks.areas)[[0, -2]].tolist()
    assert ran.min_area_um2.enabled
    ran.min_area_um2.value = low * pixel - 0.1
    assert ran.parameters.min_area == low
    ran.max_area_um2.value = high * pixel + 0.2
    assert ran.parameters.max_area == high
    assert len(ran.result.masks)
    assert ran.labels_layer.features["area_um2"][1:].between(low * pixel, high * pixel).all()
    ran.min_area.value = 200
    assert ran.min_area_um2.value == 200 * pixel
    ran.min_area.value = None
    assert ran.min_area_um2.value is None
    ran.max_area_um2.value = None
    assert ran.parameters.max_area is None
    viewer.add_image(np.zeros((50, 60)), name="no units")
    assert not ran.min_area_um2.enabled


def test_kept_labels_neither_hide_scores_nor_areas(ran, viewer):
    own = np.zeros((200, 260), int)
    largest = int(np.argmax(ran.result.masks.areas))
    rows = np.flatnonzero(ran.result.masks[largest].any(axis=1))
    own[rows[0] : rows[0] + len(rows) // 4] = 1
    ran.keep_labels.value = viewer.add_labels(own, name="mine", scale=(0.5, 0.5))
    layer = ran.labels_layer
    counts = np.bincount(layer.data.ravel(), minlength=len(layer.features))
    np.testing.assert_array_equal(layer.features["area_visible"][1:], counts[1:])
    data, meta, _ = layer.as_layer_data_tuple()
    ((_, saved),) = masks_of_layer(data, meta)
    assert len(saved) == len(ran.result.masks)
    np.testing.assert_array_equal(saved.predicted_iou, ran.result.masks.predicted_iou)
    assert "edited" not in saved.provenance


def test_pixels_of_another_order_are_not_taken_for_the_run(ran):
    data, meta, _ = ran.labels_layer.as_layer_data_tuple()
    ((_, saved),) = masks_of_layer(np.ascontiguousarray(data.T), meta)
    assert saved.shape == data.T.shape
    np.testing.assert_array_equal(saved.to_labels() > 0, data.T > 0)


def test_settings_with_points_of_ones_own_come_back(widget, viewer, tmp_path):
    widget.point_grids.value = [[(0.25, 0.5), (0.75, 0.5)]]
    widget.min_area.value = 30.0
    assert widget.parameters.min_area == 30
    widget.save_settings(tmp_path / "settings.json")
    other = AmgWidget(viewer)
    other.load_settings(tmp_path / "settings.json")
    assert dict(other.parameters) == dict(widget.parameters)
    assert other.parameters.points_per_side is None


def test_another_model_keeps_what_is_looked_for(widget):
    widget.preset.value = "few, large objects"
    widget.model.value = "sam2.1_hiera_tiny"
    assert widget.points_per_side.value == 12
    assert widget.pred_iou_thresh.value == 0.8  # sam2's own


def test_a_place_where_the_layer_has_no_plane_is_refused(viewer):
    stack = viewer.add_image(np.zeros((3, 20, 20)), name="short")
    viewer.add_image(np.zeros((9, 20, 20)), name="long")
    viewer.dims.set_current_step(0, 2)
    assert displayed_plane(stack, viewer).index[0] == 2
    viewer.dims.set_current_step(0, 3)
    with pytest.raises(ImageError, match="no plane where the viewer stands"):
        displayed_plane(stack, viewer)


def test_a_layer_that_cannot_be_read_is_our_error(widget, monkeypatch):
    def gone(*_, **__):
        raise OSError("disk gone")

    monkeypatch.setattr("napari_sam_amg.plugin.planes.displayed_plane", gone)
    with pytest.raises(ImageError, match="disk gone"):
        widget.run()
