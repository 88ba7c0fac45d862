"""Corrections by clicks: promote, remove, undo; nesting and colours; in a real viewer."""

from __future__ import annotations

import numpy as np
import pytest
from napari.utils.interactions import mouse_press_callbacks

from napari_sam_amg.masks.covering import covering
from napari_sam_amg.plugin.corrections import Corrections
from napari_sam_amg.plugin.promotion import Promotion


def test_corrections_stand_above_thresholds():
    chosen = Corrections()
    rows = np.array([2, 5, 9])
    assert chosen.applied(rows) is rows
    chosen.promote(7, 5)
    assert chosen.applied(rows).tolist() == [2, 7, 9]
    assert chosen.applied(np.array([2])).tolist() == [2, 7]  # 5 is not selected: 7 stays
    chosen.promote(8, 7)  # the next one in the same place
    assert chosen.applied(rows).tolist() == [2, 8, 9]
    chosen.remove(np.array([9]))
    assert chosen.applied(rows).tolist() == [2, 8]
    chosen.promote(11, None)
    assert chosen.applied(rows).tolist() == [2, 8, 11]
    chosen.promote(9, None)  # removed before, wanted again
    assert 9 in chosen.applied(rows).tolist()
    for _ in range(5):
        chosen.undo()
    assert chosen.applied(rows).tolist() == [2, 5, 9]
    assert not chosen.can_undo
    chosen.undo()
    assert chosen.applied(rows).tolist() == [2, 5, 9]


@pytest.fixture
def ran(widget, wait):
    widget.run()
    wait(widget)
    return widget


def _place(ran) -> tuple[int, int]:
    """A pixel of a shown mask that other candidates cover too."""
    result = ran.result
    for label in range(1, len(result.rows) + 1):
        rows, columns = np.nonzero(ran.labels_layer.data == label)
        for number in (len(rows) // 2, len(rows) // 3):
            if len(rows) > number:
                x, y = int(columns[number]), int(rows[number])
                others = set(covering(result.proposals, x, y).tolist()) - set(result.rows.tolist())
                if len(others) > 1:
                    return x, y
    raise AssertionError("no pixel with candidates in reserve")


def test_promote_cycles_and_leaves_the_other_labels(ran):
    x, y = _place(ran)
    result, layer = ran.result, ran.labels_layer
    promotion = Promotion(result)
    before = layer.data.copy()
    label = promotion.label_at(x, y)
    order = [r for r in covering(result.proposals, x, y).tolist() if r not in result.rows]
    masks = {i + 1: m for i, m in enumerate(result.masks)}
    for row in order:
        said = promotion.promote(x, y)
        assert f"of {len(order)}" in said
        np.testing.assert_array_equal(result.masks[label - 1], result.proposals.store.full(row))
        for other, mask in masks.items():
            if other != label:
                np.testing.assert_array_equal(result.masks[other - 1], mask)
        np.testing.assert_array_equal(layer.data, result.masks.to_labels())
    assert "As it was" in promotion.promote(x, y)
    np.testing.assert_array_equal(layer.data, before)
    assert ran.labels_layer is layer


def test_promoted_and_removed_masks_outlive_a_slider(ran):
    x, y = _place(ran)
    promotion = Promotion(ran.result)
    promotion.promote(x, y, add=True)
    (added,) = set(ran.result.rows.tolist()) - set(ran.result.selection.rows.tolist())
    gone = int(ran.result.rows[0])
    promotion.remove([1])
    ran.pred_iou_thresh.value = 0.1
    ran.pred_iou_thresh.value = 0.2
    assert added in ran.result.rows
    assert gone not in ran.result.rows
    assert ran.result.masks.provenance["corrected"] is True
    ran.undo_correction.changed.emit(True)
    ran.undo_correction.changed.emit(True)
    np.testing.assert_array_equal(ran.result.rows, ran.result.selection.rows)


def test_on_an_edited_layer_only_its_pixels_change(ran):
    x, y = _place(ran)
    layer, result = ran.labels_layer, ran.result
    layer.data_setitem((np.array([0, 1]), np.array([0, 1])), 3)  # by hand
    edited = layer.data.copy()
    promotion = Promotion(result)
    label = promotion.label_at(x, y)
    row = next(r for r in covering(result.proposals, x, y) if r not in result.rows)
    promotion.promote(x, y)
    candidate = result.proposals.store.full(int(row))
    expected = np.where(edited == label, 0, edited)
    expected = np.where(candidate & (expected == 0), label, expected)
    np.testing.assert_array_equal(layer.data, expected)
    layer.undo()
    np.testing.assert_array_equal(layer.data, edited)
    assert promotion.remove([label]) == 1
    np.testing.assert_array_equal(layer.data, np.where(edited == label, 0, edited))
    assert promotion.remove([10**6]) == 0


def test_no_other_candidate_is_said(ran):
    rows, columns = np.nonzero(ran.labels_layer.data == 0)
    for x, y in zip(columns[::997].tolist(), rows[::997].tolist(), strict=True):
        if not len(covering(ran.result.proposals, x, y)):
            assert "No other candidate" in Promotion(ran.result).promote(x, y)
            return
    raise AssertionError("every pixel is covered")


class _Click:
    """A mouse event as napari hands it on."""

    def __init__(self, position, modifiers=(), button=1, moves=False):
        self.position, self.modifiers, self.button = position, modifiers, button
        self.type, self.moves, self.handled = "mouse_press", moves, False
        self.is_dragging = False


def _click(viewer, position, **keywords) -> None:
    event = _Click(position, **keywords)
    for callback in viewer.mouse_drag_callbacks:
        steps = callback(viewer, event)
        if steps is None:
            continue
        next(steps, None)
        event.type = "mouse_move" if event.moves else "mouse_release"
        next(steps, None)


@pytest.mark.parametrize("modifiers", [(), ("Shift",)])
def test_clicks(ran, viewer, modifiers):
    assert mouse_press_callbacks  # napari's own way to call these
    x, y = _place(ran)
    world = ran.labels_layer.data_to_world((y, x))
    rows = ran.result.rows.copy()
    _click(viewer, world, modifiers=modifiers)
    np.testing.assert_array_equal(ran.result.rows, rows)  # clicks move the picture at first
    ran.click.value = "shows another candidate"
    _click(viewer, world, modifiers=modifiers, moves=True)
    _click(viewer, world, modifiers=modifiers, button=2)
    np.testing.assert_array_equal(ran.result.rows, rows)
    _click(viewer, world, modifiers=modifiers)
    new = ran.result.rows
    assert len(set(new.tolist()) - set(rows.tolist())) == 1
    assert len(new) == len(rows) + bool(modifiers)
    ran.undo_correction.changed.emit(True)
    ran.click.value = "removes a mask"
    label = int(ran.labels_layer.data[y, x])
    _click(viewer, world)
    assert ran.result.rows.tolist() == [r for i, r in enumerate(rows.tolist()) if i != label - 1]
    _click(viewer, (-50, -50))
    assert "outside" in ran._panel.status.value
    ran.labels_layer.selected_label = 1
    count = len(ran.result.rows)
    ran.remove_selected.changed.emit(True)
    assert len(ran.result.rows) == count - 1


def test_clicks_are_left_to_the_viewer_when_the_widget_is_closed(ran, viewer):
    before = list(viewer.mouse_drag_callbacks)
    ran.click.value = "removes a mask"
    assert len(viewer.mouse_drag_callbacks) == len(before) + 1
    viewer.window.remove_dock_widget(ran.native)
    assert list(viewer.mouse_drag_callbacks) == before


@pytest.mark.parametrize(("level", "deep"), [("whole", 0), ("part", 1), ("sub-part", 2)])
def test_one_level_of_nesting(ran, level, deep):
    ran.pred_iou_thresh.value = 0.0
    ran.stability_score_thresh.value = 0.0
    ran.box_nms_thresh.value = 1.0
    everything = ran.result.masks
    parents = everything.features["parent"].to_numpy()

    def depth(label):
        parent = int(parents[label - 1])
        return 0 if parent == 0 else 1 + depth(parent)

    wanted = [
        i
        for i in range(len(everything))
        if depth(i + 1) == deep or (deep == 2 and depth(i + 1) > 2)
    ]
    ran.nesting.value = level
    assert len(wanted) > 0
    assert len(ran.result.masks) == len(wanted)
    np.testing.assert_array_equal(ran.labels_layer.data, everything[np.array(wanted)].to_labels())
    ran.nesting.value = "all"
    assert len(ran.result.masks) == len(everything)


def test_colour_by_feature_stays_while_tuning(ran):
    ran.colour_by.value = "area"

    def check():
        layer = ran.labels_layer
        areas = layer.features["area"].to_numpy()[1:]
        bright = np.array([sum(layer.get_color(i + 1)[:3]) for i in range(len(areas))])
        assert bright[np.argmax(areas)] == bright.max()
        assert bright[np.argmin(areas)] == bright.min()
        return len(areas)

    first = check()
    ran.pred_iou_thresh.value = 0.0
    assert check() > first
    assert "dark" in ran._panel.status.value or "masks" in ran._panel.status.value


def test_counts_say_what_each_threshold_removes(ran):
    section = next(s for s in ran._sections if hasattr(s, "removed"))
    ran.pred_iou_thresh.value = 0.5
    low = int((~(ran.proposals.predicted_iou > 0.5)).sum())
    assert f"{low:,} low predicted IoU" in section.removed.value
    ran.min_area.value = 10**6
    assert "too small" in section.removed.value
    ran.pred_iou_thresh.value = 0.0
    plot, _ = section._plots["predicted_iou"]
    assert f"{len(ran.proposals):,} candidates" in plot.toolTip()
