"""A checkpoint's architecture, from the names and shapes of its tensors alone."""

from __future__ import annotations

import pytest
import torch

from napari_sam_amg.errors import ModelError
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from napari_sam_amg.models.recognition import check_fit, find_weights, recognise


def _shapes(state: dict) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_size(name):
    shapes = _shapes(build(ARCHITECTURES[name]).state_dict())
    assert recognise(shapes).name == name
    assert recognise(dict(reversed(shapes.items()))).name == name


def test_every_two_sizes_differ_in_their_tensors():
    tables = {name: _shapes(build(a).state_dict()) for name, a in ARCHITECTURES.items()}
    for name, shapes in tables.items():
        for other, expected in tables.items():
            if name == other:
                check_fit(shapes, expected, other, "x")
            else:
                with pytest.raises(ModelError, match=f"does not fit {other}"):
                    check_fit(shapes, expected, other, "x")


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        ({"image_encoder.patch_embed.proj.weight": (1280, 3, 16, 16)}, "SAM 1"),
        ({"vision_encoder.backbone.x": (1,)}, "Hugging Face"),
        ({"layer.weight": (3, 3)}, r"not a SAM 2 model: it has 1 tensors, such as layer\.weight"),
        ({"image_encoder.trunk.blocks.0.x": (1,)}, "not a SAM 2 model"),
        (
            {
                "image_encoder.trunk.blocks.3.x": (1,),
                "image_encoder.trunk.pos_embed": (1, 64, 7, 7),
                "image_encoder.trunk.pos_embed_window": (1, 64, 8, 8),
                "no_mem_embed": (1, 1, 256),
            },
            r"no known size: trunk of width 64 with 4 blocks.*sam2\.1_hiera_tiny",
        ),
        (
            {
                "image_encoder.trunk.blocks.3.x": (1,),
                "image_encoder.trunk.pos_embed": (),
                "image_encoder.trunk.pos_embed_window": (1, 64, 8, 8),
                "no_mem_embed": (1, 1, 256),
            },
            "not a SAM 2 model",
        ),
    ],
)
def test_what_is_none_of_them(shapes, told):
    with pytest.raises(ModelError, match=told):
        recognise(shapes)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"model": w, "epoch": 3, "optimizer": {"state": {}}},
        lambda w: {"state_dict": w},
        lambda w: {"model_state_dict": w, "loss": 0.5},
        lambda w: {"model": {f"module.{k}": v for k, v in w.items()}},
        lambda w: {f"module._orig_mod.{k}": v for k, v in w.items()},
    ],
)
def test_where_the_weights_are(wrap):
    weights = {"a.weight": torch.ones(2), "b.bias": torch.zeros(1)}
    assert find_weights(wrap(weights), "x") == weights


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([torch.ones(1)], "holds a list"),
        (torch.ones(1), "holds a Tensor"),
        (None, "holds a NoneType"),
        ({}, "only nothing"),
        ({"epoch": 3, "lr": 0.1}, "only epoch, lr"),
        ({"model": {}}, "only model"),
        ({"model": {"a": 1}}, "only model"),
        ({1: torch.ones(1)}, "only 1"),
    ],
)
def test_no_weights(content, told):
    with pytest.raises(ModelError, match=told):
        find_weights(content, "x")
