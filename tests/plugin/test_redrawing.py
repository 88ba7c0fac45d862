"""What a move of a slider draws, and what it need not draw; on made-up candidates."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy

from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.plugin.planes import displayed_plane
from napari_sam_amg.plugin.promotion import Promotion
from napari_sam_amg.plugin.tuning import Result

SHAPE = (60, 80)


def _holed(side, hole):
    window = np.ones((side, side), dtype=bool)
    window[5 : 5 + hole, 5] = False
    return window


@pytest.fixture(params=[False, True], ids=["viewer", "proxy"])
def result(make_napari_viewer, request):
    """Three candidates: one apart, one with a hole of a pixel, and a worse one in its place."""
    viewer = make_napari_viewer()
    layer = viewer.add_image(np.zeros(SHAPE, dtype=np.uint8), name="cells")
    store = MaskStore.from_windows(
        SHAPE, [(1, 1, _holed(12, 0)), (30, 20, _holed(20, 1)), (32, 22, _holed(18, 3))]
    )
    proposals = Proposals(
        store,
        MaskTable.unknown(store, predicted_iou=[0.9, 0.5, 0.4]),
        area_high=[1, 1, 1],
        area_low=[1, 1, 1],
        crop_index=[0, 0, 0],
        crop_boxes_all=[(0, 0, SHAPE[1], SHAPE[0])],
        parameters=AmgParameters(
            pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.6
        ),
    )
    plane = displayed_plane(layer, viewer)
    return Result(PublicOnlyProxy(viewer) if request.param else viewer, plane, proposals)


@pytest.mark.parametrize(
    ("change", "drawn"),
    [
        ({"pred_iou_thresh": 0.35}, 0),
        ({"max_area": 10_000}, 0),
        ({"pred_iou_thresh": 0.6}, 1),
        ({"overlap": "largest_on_top"}, 1),
        ({"min_mask_region_area": 2}, 1),
    ],
)
def test_only_what_changes_the_masks_is_drawn(result, change, drawn):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)  # napari's, of what is not public
        result.show()
        version = result.shown.version
        masks = result.show(**change)
    assert result.shown.version == version + drawn
    np.testing.assert_array_equal(result.layer.data, masks.to_labels())
    assert result.layer.metadata["napari_sam_amg_masks"] is masks
    assert result.layer.features["area"].tolist() == [0, *masks.areas.tolist()]


def test_a_promoted_mask_that_the_thresholds_select_later_is_cleaned(result):
    """The same candidates are shown then, but not the same pixels."""
    result.show(pred_iou_thresh=0.6, min_mask_region_area=2)
    assert Promotion(result).promote(45, 35).startswith("Candidate 1 of 2")
    assert result.layer.features["area"].tolist() == [0, 144, 399]
    masks = result.show(pred_iou_thresh=0.45, min_mask_region_area=2)
    assert masks.areas.tolist() == [144, 400]
    assert result.layer.features["area"].tolist() == [0, 144, 400]
    np.testing.assert_array_equal(result.layer.data, masks.to_labels())


def test_features_that_someone_else_set_are_replaced(result):
    result.show()
    result.layer.features = result.layer.features.iloc[:1]
    masks = result.show(pred_iou_thresh=0.1)
    assert len(result.layer.features) == len(masks) + 1


def test_a_move_ends_a_cycle_of_candidates(result):
    result.show()
    promotion = Promotion(result)
    assert promotion.promote(45, 35).startswith("Candidate 1 of 1")
    result.show(overlap="largest_on_top")
    # The candidate is shown by now, so that what it stands for is in reserve.
    assert promotion.promote(45, 35).startswith("Candidate 1 of 1")
    assert promotion.promote(45, 35).startswith("As it was before")
