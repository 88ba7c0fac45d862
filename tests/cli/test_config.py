"""``--config``: what the widget saves is what the command line does, unless a flag differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from napari_sam_amg.cli import main
from napari_sam_amg.cli.options import parse
from napari_sam_amg.errors import ParameterError, ReadError
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.settings_file import read_settings, write_settings

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = ["--input", "in.png", "--output", "out"]
OWN = {"points_per_side": 20, "min_area": 30, "pred_iou_thresh": 0.65}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    def save(*, drop: str = "", parameters: Any = None, **changes: Any) -> str:
        found = AmgParameters(**(OWN if parameters is None else parameters))
        values = {
            "model": "nuclei-nano",
            "device": "cpu",
            "precision": "fast",
            "brightness": "plane",
            "parameters": json.loads(found.model_dump_json()),
            **changes,
        }
        values.pop(drop, None)
        write_settings(values, tmp_path / "settings.json")
        return str(tmp_path / "settings.json")

    return save


def test_everything_of_the_file_is_taken(saved: Any) -> None:
    options = parse([*PLACES, "--config", saved()])
    assert (options.model, options.checkpoint) == ("nuclei-nano", None)
    assert (options.device, options.precision) == ("cpu", "fast")
    assert options.brightness == "plane"
    wanted = dict(AmgParameters(**OWN))
    wanted.pop("output_mode")
    assert options.parameters == wanted


def test_flags_prevail(saved: Any) -> None:
    words = ["--min-area", "7", "--device", "auto", "--precision", "exact"]
    words += ["--brightness", "stack", "--model-type", "sam2.1_hiera_tiny"]
    options = parse([*PLACES, "--config", saved(), *words])
    assert options.parameters["min_area"] == 7
    assert options.parameters["points_per_side"] == 20
    assert (options.device, options.precision) == ("auto", "exact")
    assert (options.brightness, options.model) == ("stack", "sam2.1_hiera_tiny")


def test_together_they_must_make_sense(saved: Any) -> None:
    with pytest.raises(ParameterError, match="no mask could be kept"):
        parse([*PLACES, "--config", saved(), "--max-area", "10"])


def test_a_checkpoint(saved: Any, tmp_path: Path) -> None:
    model = tmp_path / "own.pt"
    model.write_bytes(b"x")
    options = parse([*PLACES, "--config", saved(model=str(model))])
    assert (options.model, options.checkpoint) == (None, model)
    options = parse([*PLACES, "--config", saved(model=str(model)), "--checkpoint", "b.pt"])
    assert (options.model, options.checkpoint) == (None, Path("b.pt"))


def test_a_model_that_is_not_here(saved: Any, tmp_path: Path, capsys: Any) -> None:
    words = ["--input", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*words, "--config", saved(model="own.pt")]) == 2
    assert "own.pt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"points": 3}, ReadError, r"holds points, which means nothing here"),
        ({"kind": "other"}, ReadError, "holds no settings"),
        ({"version": 2}, ReadError, "has version 2"),
        ({"drop": "model"}, ReadError, "'model'"),
        ({"precision": "double"}, ParameterError, "precision='double' is not known"),
        ({"device": 3}, ParameterError, "device=3 is not known"),
        ({"brightness": "layer"}, ParameterError, "give --contrast LO HI"),
    ],
)
def test_what_cannot_be_used(saved: Any, changes: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        parse([*PLACES, "--config", saved(**changes)])


@pytest.mark.parametrize(
    ("values", "said"),
    [({"points_per_sid": 3}, "points_per_sid"), ({"points_per_side": 0}, "points_per_side=0")],
)
def test_parameters_that_cannot_be_used(saved: Any, values: Any, said: str) -> None:
    path = saved()
    content = json.loads(Path(path).read_text())
    content["parameters"] |= values
    Path(path).write_text(json.dumps(content))
    with pytest.raises(ParameterError, match=said) as caught:
        parse([*PLACES, "--config", path])
    assert path in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null"])
def test_no_file_of_settings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(ReadError, match=r"x\.json"):
        parse([*PLACES, "--config", str(tmp_path / "x.json")])
    with pytest.raises(ReadError, match="cannot be read"):
        parse([*PLACES, "--config", str(tmp_path / "none.json")])


def test_a_contrast_stands_for_that_of_the_layer(saved: Any) -> None:
    words = ["--config", saved(brightness="layer"), "--contrast", "3", "9"]
    assert parse([*PLACES, *words]).contrast == (3.0, 9.0)


def test_settings_come_back(saved: Any) -> None:
    path = saved()
    before = Path(path).read_bytes()
    values = read_settings(path, strict=True)
    write_settings({k: v for k, v in values.items() if k not in ("kind", "version")}, path)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize(
    "words",
    [["--z", "a"], ["--z", "3:3"], ["--t", "5:2"], ["--z", "1:9:0"], ["--t", ":0"], ["--z", "-1"]],
)
def test_ranges_that_are_none(words: list[str]) -> None:
    with pytest.raises(ParameterError, match=f"{words[0]}.*"):
        parse([*PLACES, *words])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("0:10", slice(0, 10)),
        ("5:", slice(5, None)),
        (":4", slice(None, 4)),
        ("::2", slice(None, None, 2)),
    ],
)
def test_ranges(text: str, expected: Any) -> None:
    assert parse([*PLACES, "--z", text]).z == expected
