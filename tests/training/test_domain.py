"""Foreign images, and what a run says of itself, on masks whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest

import domain
from foreign import DRAWN, SIDE, foreign
from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters


def test_foreign_images_are_the_same_each_time_and_all_different():
    found = [(family, name, image) for family, name, image in foreign(1)]
    again = [image for _, _, image in foreign(1)]
    assert set(DRAWN) <= {family for family, _, _ in found}
    assert len({image.tobytes() for image in again}) == len(found) == len({n for _, n, _ in found})
    for (_, _, image), other in zip(found, again, strict=True):
        np.testing.assert_array_equal(image, other)
        assert image.dtype == np.uint8
        assert np.ptp(image) > 5
        assert max(image.shape[:2]) <= SIDE


def square(x, y, side):
    return x, y, np.ones((side, side), dtype=bool)


@pytest.fixture
def proposals():
    """Two squares of one place, one elsewhere, one that does not pass, as of four prompts."""
    items = [square(2, 2, 10), square(2, 2, 8), square(20, 20, 10), square(20, 2, 6)]
    store = MaskStore.from_windows((40, 40), items)
    table = MaskTable.unknown(
        store,
        predicted_iou=[0.9, 0.8, 0.6, 0.2],
        points=[(4, 4), (5, 5), (25, 25), (22, 4)],
    )
    return Proposals(
        store,
        table,
        area_high=[90, 60, 80, 30],
        area_low=[100, 100, 100, 60],
        crop_index=np.zeros(4),
        crop_boxes_all=[(0, 0, 40, 40)],
        parameters=AmgParameters(
            pred_iou_thresh=0.5, stability_score_thresh=0.5, box_nms_thresh=0.3
        ),
    )


def test_the_figures_of_a_run(proposals):
    found = domain.statistics(proposals)
    assert found["masks"] == 2
    expected = {
        "decided": 3 / 4,
        "passing prompts": 3 / 4,
        "quality": 0.75,
        "stability": 0.85,
        "quality x stability": (0.81 + 0.48) / 2,
        "uncovered": 1 - 200 / 1600,
        "box filling": 1,
        "even sizes": 0,
        "unshared pixels": 1,
        "share of good masks": 0.5,
        "agreement": (1 + 0.64 + 1) / 3,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_nothing_found_has_no_figures_and_no_alarm(proposals):
    proposals.parameters = AmgParameters(pred_iou_thresh=0.95)
    found = domain.statistics(proposals)
    assert found["masks"] == 0
    assert "quality" not in found
    assert not domain.alarmed(found, {"quality": 1})
    assert domain.alarmed({"masks": 3, "quality": 0.4}, {"stability": 1, "quality": 0.5})
    assert not domain.alarmed({"masks": 3, "quality": 0.6}, {"quality": 0.5})


def test_the_table_has_the_limit_of_its_own_and_what_is_caught():
    own = [{"masks": 1, "quality": q} for q in np.linspace(0.5, 1, 101)]
    others = {"noise": [{"masks": 1, "quality": 0.4}, {"masks": 1, "quality": 0.9}, {"masks": 0}]}
    lines = domain.table(own, ["f"] * 101, others, 0.1).splitlines()
    cells = [cell.strip() for cell in lines[-1].strip("|").split("|")]
    # 0.9 is the 81st of the 101 values of its own: 20 lie above, one beside.
    assert cells == ["quality", f"{(1 + 20.5 / 101) / 2:.3f}", "0.550", "0.000", "0.50", "1/2"]
    assert "1/3" in lines[2]


def test_limits_of_false_alarms_are_those_of_other_fields():
    values = np.array([0.1, 0.5, 0.6, 0.7, 0.8])
    fields = np.array(list("aabbc"))
    expected = []
    for i in range(5):
        rest = [values[j] for j in range(5) if fields[j] != fields[i]]
        expected.append(values[i] < np.quantile(rest, 0.2))
    assert domain.alarms_left_out(values, fields, 0.2) == expected == [True, True] + [False] * 3
