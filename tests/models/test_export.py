"""The script that makes the embedded model's files, and the model that comes of them."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from napari_sam_amg.errors import ModelError, ParameterError
from napari_sam_amg.models import loading, registry, resolve

SCRIPT = Path(__file__).parents[2] / "training" / "export.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("export_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def options(script) -> dict:
    return {
        "recommended": {"pred_iou_thresh": 0.5, "stability_score_offset": 8.0},
        "profile": script.PROFILE,
        "doubt": {
            "below": 0.4,
            "pred_iou_thresh": 0.5,
            "stability_score_thresh": 0.6,
            "stability_score_offset": 8.0,
        },
        "figures": {"AP50": 0.5},
        "training": {"steps": 3},
    }


def test_logits_as_steep_as_the_architecture_says(script, nano_weights, tmp_path, caplog):
    # sam2's delta of 0.05, times what recalibrate.py multiplied the embedded model's logits by.
    assert script.ARCHITECTURES["nuclei-nano"].stability_delta == pytest.approx(0.05 * 8)
    assert script.ARCHITECTURES["nuclei-nano"].stability_delta == pytest.approx(
        0.05 * registry.embedded_card()["training"]["steepness"]
    )
    for state, steepness in (({"steepness": 8.0}, 8), ({"steepness": 4.0}, 4), ({}, 1)):
        caplog.clear()
        torch.save({"average": nano_weights, "step": None, **state}, tmp_path / "checkpoint.pt")
        *_, found = script.read_weights(tmp_path / "checkpoint.pt", "average")
        assert found == steepness
        script.warn_of_steepness(found)
        assert len(caplog.messages) == (steepness != 8)
        assert all(f"multiplied by {steepness}" in said for said in caplog.messages)


def test_a_loaded_model_is_what_was_written(script, options, nano_weights, tmp_path, monkeypatch):
    torch.save({"average": nano_weights, "step": 200}, tmp_path / "checkpoint.pt")
    weights, step, _ = script.read_weights(tmp_path / "checkpoint.pt", "average")
    assert step == 200
    card = script.export(weights, tmp_path, **options)
    data = (tmp_path / "nuclei-nano.safetensors").read_bytes()
    assert card["sha256"] == hashlib.sha256(data).hexdigest()
    assert card == json.loads((tmp_path / "nuclei-nano.json").read_text("utf-8"))
    assert len(data) <= 10_000_000

    for module in (loading, registry):
        monkeypatch.setattr(module, "embedded_file", lambda s: tmp_path / f"nuclei-nano{s}")
    loaded = resolve("nuclei-nano", device="cpu")
    assert loaded.info.recommended == options["recommended"]
    written = script.compress(nano_weights)
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, written[key].float())
        limit = 0 if written[key].dtype == torch.float32 else 2**-11
        assert bool(((value - nano_weights[key]).abs() <= limit * value.abs() + 2**-24).all())


def test_the_same_weights_give_the_same_file(script, options, nano_weights, tmp_path):
    first = script.export(nano_weights, tmp_path / "a", **options)
    assert script.export(nano_weights, tmp_path / "b", **options) == first


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"recommended": {"pred_iou_tresh": 0.5}}, ParameterError),
        ({"recommended": {"pred_iou_thresh": 5}}, ParameterError),
        ({"profile": {"percentiles": [9, 1]}}, ModelError),
        ({"doubt": {"below": 0.4}}, SystemExit),
        ({"recommended": {"stability_score_offset": 1.0}}, SystemExit),
    ],
)
def test_bad_cards_are_not_written(script, options, nano_weights, tmp_path, change, error):
    with pytest.raises(error):
        script.export(nano_weights, tmp_path / "out", **{**options, **change})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_bad_weights_are_not_written(script, options, nano_weights, tmp_path, value):
    weights = {key: tensor.clone() for key, tensor in nano_weights.items()}
    weights["image_encoder.neck.convs.0.conv.weight"][0, 0] = value
    with pytest.raises(SystemExit, match="not finite"):
        script.export(weights, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
