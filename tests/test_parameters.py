"""Reliability row 5: what parameters are refused, before any model is loaded."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

from _scale import scaled
from napari_sam_amg.cli import main
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import (
    SAM2_PARAMETERS,
    SELECT_PARAMETERS,
    AmgParameters,
    group_of,
    limits,
)

# Written down a second time on purpose: what is allowed, as smallest and largest.
WHOLE = {
    "points_per_side": (1, 1024),
    "points_per_batch": (1, 65536),
    "crop_n_layers": (0, 6),
    "crop_n_points_downscale_factor": (1, 1024),
    "min_mask_region_area": (0, None),
    "min_area": (0, None),
    "max_area": (0, None),
    "tile_size": (16, 65536),
    "tile_halo": (0, 16384),
}
REAL = {
    "pred_iou_thresh": (0, 2),
    "stability_score_thresh": (0, 1),
    "stability_score_offset": (0, 1000),
    "mask_threshold": (-1000, 1000),
    "box_nms_thresh": (0, 1),
    "crop_nms_thresh": (0, 1),
    "crop_overlap_ratio": (0, 0.999999),
    "object_diameter": (1, 20_000),
    "scale": (0.01, 64),
}
OPTIONAL = ("min_area", "max_area", "object_diameter", "scale", "tile_size", "tile_halo")
YES_NO = ("use_m2m", "multimask_output", "exclude_border")
NAMED = ("output_mode", "overlap")
TEXTS = ["", "many", "1", "0.5", "nan", "true", "٣", "1\n", "\x00", "None", "'; drop table"]
NEITHER = [math.nan, math.inf, -math.inf, 1 + 2j, object(), b"1", {}, [1], (1, 2), len]


def bad_values(name: str, chance: random.Random) -> list[Any]:
    """Return values that the parameter must refuse."""
    values: list[Any] = [chance.choice(TEXTS), chance.choice(NEITHER)]
    if name in WHOLE:
        low, high = WHOLE[name]
        values += [low - chance.randint(1, 10**6), chance.randint(0, 99) + 0.5, True, -(10**30)]
        values += [np.float32(1.5), np.array([3, 4])]
        values += [] if high is None else [high + chance.randint(1, 10**9), 10**30]
    elif name in REAL:
        low, high = REAL[name]
        values += [low - chance.uniform(1e-6, 1e6), high + chance.uniform(1e-5, 1e6)]
        values += [] if name in OPTIONAL else [None]
        values += [1e308, -1e308, np.float64("nan"), np.array([0.1, 0.2])]
    elif name in YES_NO:
        values += [chance.randint(-5, 5), None, chance.random(), np.zeros(2, bool)]
    elif name in NAMED:
        values += [chance.randint(-5, 5), None, True, "smallest_on_to", "binary_masks"]
    else:
        values += [
            chance.randint(-5, 5),
            [],
            [[]],
            [[(chance.uniform(1.0001, 1e6), 0.5)]],
            [[(0.5, -chance.random() - 1e-9)]],
            [[(0.5, math.nan)]],
            [[(0.5,)]],
            [[(0.5, 0.5, 0.5)]],
            [0.5, 0.5],
            [["ab"]],
            np.full((1, 3, 3), 0.5),
        ]
    return values


def misspell(name: str, chance: random.Random) -> str:
    """Leave out, double, swap or replace one letter."""
    at = chance.randrange(len(name) - 1)
    letter = chance.choice("abcdefghijklmnopqrstuvwxyz_")
    return chance.choice(
        [
            name[:at] + name[at + 1 :],
            name[: at + 1] + name[at:],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
            name[:at] + letter + name[at + 1 :],
        ]
    )


def distance(a: str, b: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make loading a model an error that no refusal could be mistaken for."""

    def load(*args: object, **keywords: object) -> None:
        raise AssertionError("a model was loaded")

    # No model can come to be without these two.
    monkeypatch.setattr("sam2.modeling.sam2_base.SAM2Base.__init__", load)
    monkeypatch.setattr("napari_sam_amg.cli.run.load_generator", load)


@pytest.mark.usefixtures("no_model")
def test_good_values_would_load_one() -> None:
    from napari_sam_amg import AutomaticMaskGenerator

    with pytest.raises(AssertionError, match="a model was loaded"):
        AutomaticMaskGenerator("nuclei-nano", pred_iou_thresh=0.5)


@pytest.mark.usefixtures("no_model")
def test_bad_values_are_refused_before_a_model_is_loaded() -> None:
    from napari_sam_amg import AutomaticMaskGenerator

    chance = random.Random(5)
    names = list(AmgParameters.model_fields)
    count = 0
    while count < scaled(5000):
        name = chance.choice(names)
        for value in bad_values(name, chance):
            with pytest.raises(ParameterError) as caught:
                AutomaticMaskGenerator("nuclei-nano", **{name: value})
            message = str(caught.value)
            assert name in message, (name, value)
            assert "pydantic" not in message
            count += 1


@pytest.mark.usefixtures("no_model")
def test_misspelt_names_suggest_the_near_one() -> None:
    from napari_sam_amg import AutomaticMaskGenerator

    chance = random.Random(6)
    names = list(AmgParameters.model_fields)
    for _ in range(scaled(2500)):
        name = chance.choice(names)
        wrong = misspell(name, chance)
        if wrong in names:
            continue
        with pytest.raises(ParameterError) as caught:
            AutomaticMaskGenerator("nuclei-nano", **{wrong: 1})
        suggested = str(caught.value).partition("did you mean '")[2].partition("'")[0]
        assert suggested in names, wrong
        # One letter apart, or two where it lies between min_area and max_area.
        assert distance(suggested, wrong) <= 2, (wrong, suggested)


@pytest.mark.usefixtures("no_model")
def test_the_command_line_refuses_them_too(capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(7)
    flags = [f"--{name.replace('_', '-')}" for name in {**WHOLE, **REAL}]
    for _ in range(scaled(2500)):
        name = chance.choice(list({**WHOLE, **REAL}))
        flag = f"--{name.replace('_', '-')}"
        low, high = {**WHOLE, **REAL}[name]
        value = chance.choice(
            [
                str(low - chance.randint(1, 10**6)),
                "-1e9",
                "nan",
                "many",
                "",
                *(["1.5", "1e3"] if name in WHOLE else []),
                *([] if high is None else [str(high + chance.randint(1, 10**6)), "1" + "0" * 30]),
            ]
        )
        written = chance.choice([flag, flag.replace("-", "_").replace("__", "--")])
        if chance.random() < 0.3:
            wrong = "--" + misspell(flag[2:], chance).strip("-")
            if wrong.replace("_", "-") in flags:
                continue
            written, value, expected = wrong, "1", "did you mean --"
        else:
            expected = flag
        words = ["--input", "x.png", "--output", "y", f"{written}={value}"]
        assert main(words) == 2, words
        assert expected in capsys.readouterr().err, words


@pytest.mark.parametrize("name", sorted(WHOLE | REAL))
def test_limits_are_allowed_and_stated(name: str) -> None:
    low, high = (WHOLE | REAL)[name]
    for value in (low, high):
        if value is None:
            continue
        given = {name: value if name in WHOLE else float(value)}
        if name == "crop_n_layers":
            given["points_per_side"] = 1024
        if name == "crop_n_points_downscale_factor":
            given |= {"points_per_side": 1024, "crop_n_layers": 1}
        assert getattr(AmgParameters(**given), name) == value
    stated_low, stated_high, exclusive = limits(name)
    assert stated_low == low
    assert stated_high == (1 if exclusive else high)


@pytest.mark.parametrize(
    ("given", "finding"),
    [
        ({"points_per_side": None}, "either points_per_side or point_grids"),
        ({"points_per_side": 4, "point_grids": [[(0.5, 0.5)]]}, "not both"),
        ({"point_grids": [[(0.5, 0.5)]], "crop_n_layers": 1}, "need 2"),
        ({"min_area": 9, "max_area": 8}, "no mask could be kept"),
        (
            {"points_per_side": 3, "crop_n_layers": 2, "crop_n_points_downscale_factor": 2},
            "leaves no point in crop layer 2",
        ),
        ({"pred_iou": 0.5}, "did you mean 'pred_iou_thresh'"),
        ({"qqqq": 1}, "known are points_per_side"),
    ],
)
def test_values_that_do_not_go_together(given: dict[str, Any], finding: str) -> None:
    with pytest.raises(ParameterError, match=finding):
        AmgParameters(**given)


def test_names_and_defaults_are_those_of_sam2() -> None:
    import inspect

    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    theirs = inspect.signature(SAM2AutomaticMaskGenerator.__init__).parameters
    names = [n for n in theirs if n not in ("self", "model", "kwargs")]
    assert list(SAM2_PARAMETERS) == names
    for name in names:
        assert AmgParameters.model_fields[name].default == theirs[name].default, name


def test_every_parameter_has_title_help_and_group() -> None:
    for name, field in AmgParameters.model_fields.items():
        assert field.title, name
        assert len(str(field.description)) > 20, name
        assert group_of(name)
    assert set(SELECT_PARAMETERS) < set(AmgParameters.model_fields)


def test_numpy_values_and_json_round_trip() -> None:
    parameters = AmgParameters(
        points_per_side=np.int64(16),
        pred_iou_thresh=np.float32(0.5),
        use_m2m=np.bool_(True),
        min_area=np.uint8(3),
    )
    assert type(parameters.points_per_side) is int
    assert parameters.use_m2m is True
    grids = AmgParameters(point_grids=[np.array([[0.25, 0.5]]), np.array([[0.75, 0.5]])])
    assert grids.points_per_side is None
    assert grids.point_grids == (((0.25, 0.5),), ((0.75, 0.5),))
    for given in (parameters, grids):
        assert AmgParameters(**json.loads(given.model_dump_json())) == given
