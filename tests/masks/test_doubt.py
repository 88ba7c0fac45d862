"""Which results deserve doubt, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg import Masks
from napari_sam_amg.masks.doubt import NOTHING, doubt_of_planes, sureness

RULE = {
    "below": 0.5,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.6,
    "stability_score_offset": 8.0,
}
MODEL = {"name": "some-model", "doubt": RULE}


def _masks(
    scores: list[tuple[float, float]], model: dict | str | None = MODEL, offset: float = 8.0
) -> Masks:
    arrays = [np.eye(6, dtype=bool)] * len(scores)
    iou, stability = zip(*scores, strict=True) if scores else ((), ())
    return Masks.from_arrays(
        arrays,
        shape=(6, 6),
        predicted_iou=np.array(iou, dtype=np.float32),
        stability_score=np.array(stability, dtype=np.float32),
        provenance={"parameters": {"stability_score_offset": offset}}
        | ({} if model is None else {"model": model}),
    )


CASES = {
    "sure": ([(0.9, 0.9), (0.8, 1.0)], MODEL, ""),
    "unsure": ([(0.5, 0.7), (0.7, 0.7)], MODEL, "0.42 on average"),
    "as sure as it must be": ([(0.5, 1.0)], MODEL, ""),
    "masks that lower thresholds let through": ([(0.9, 0.9)] + [(0.1, 0.1)] * 9, MODEL, ""),
    "nothing but such": ([(0.3, 0.9), (0.9, 0.3)], MODEL, "none of them is above"),
    "no rule known": ([(0.1, 0.1)], MODEL | {"doubt": None}, ""),
    "a card without a rule": ([(0.1, 0.1)], {"name": "a"}, ""),
    "no model known": ([(0.1, 0.1)], None, ""),
    "what of the rule is missing": (
        [(0.1, 0.1)],
        MODEL | {"doubt": {k: v for k, v in RULE.items() if k != "below"}},
        "",
    ),
    "a name for a model": ([(0.1, 0.1)], "some-model", ""),
    "barely unsure": (
        [(0.4996, 1.0)],
        MODEL,
        "0.4996 on average; images that it is for give 0.5000",
    ),
    "no stability known": ([(0.1, np.nan)], MODEL, ""),
    "no scores known": ([(np.nan, np.nan)], MODEL, ""),
    "no masks": ([], MODEL, NOTHING),
    "no masks of an unknown model": ([], None, NOTHING),
}


@pytest.mark.parametrize("case", CASES)
def test_doubt(case):
    scores, model, said = CASES[case]
    found = _masks(scores, model).doubt
    assert said in found
    assert bool(found) == bool(said)
    if "none of" in said or "average" in said:
        assert found.startswith("some-model is unsure")


def test_no_verdict_where_stability_is_another_quantity():
    assert _masks([(0.5, 0.7)]).doubt
    assert not _masks([(0.5, 0.7)], offset=1.0).doubt
    masks = _masks([(0.5, 0.7)])
    del masks.provenance["parameters"]
    assert not masks.doubt


def test_nothing_found_so_far_is_no_news():
    masks = _masks([])
    masks.provenance["partial"] = True
    assert not masks.doubt


def test_sureness_is_the_mean_product_of_what_counts():
    rng = np.random.default_rng(3)
    iou, stability = rng.random((2, 500)).astype(np.float32)
    kept = [
        float(i) * float(s)
        for i, s in zip(iou, stability, strict=True)
        if i > RULE["pred_iou_thresh"] and s >= RULE["stability_score_thresh"]
    ]
    assert sureness(iou, stability, RULE) == pytest.approx(np.mean(kept), rel=1e-6)


def test_doubt_follows_what_is_chosen():
    masks = _masks([(0.5, 0.7)] * 3 + [(0.95, 0.95)])
    assert masks.doubt
    assert not masks[[3]].doubt


@pytest.mark.parametrize(
    ("doubts", "said"),
    [
        ([], ""),
        ([""], ""),
        (["why"], "why"),
        (["why", ""], ""),
        (["why", "", "because", ""], ""),
        (["", "why", "because", "so"], "3 of 4 planes are doubtful; the first: why"),
    ],
)
def test_doubts_of_the_planes_of_a_stack(doubts, said):
    assert doubt_of_planes(doubts) == said
