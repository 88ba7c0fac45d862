"""The models that are known by name."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files

import pytest

from napari_sam_amg.errors import ModelError
from napari_sam_amg.models import InputProfile, list_models, model_info, registry
from napari_sam_amg.models.architecture import ARCHITECTURES
from napari_sam_amg.parameters import AmgParameters

BASE = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"


def test_table():
    table = {info.name: info for info in list_models()}
    assert list(table) == [
        "nuclei-nano",
        "sam2.1_hiera_tiny",
        "sam2.1_hiera_small",
        "sam2.1_hiera_base_plus",
        "sam2.1_hiera_large",
    ]
    for name, info in table.items():
        assert info.architecture in ARCHITECTURES
        assert len(bytes.fromhex(info.sha256)) == 32
        AmgParameters(**info.recommended)
        if name != "nuclei-nano":
            assert info.url == f"{BASE}{name}.pt"
            assert (info.recommended, info.profile) == ({}, InputProfile())
            assert "not yet been run with the real weights" in info.notes
    assert table["sam2.1_hiera_tiny"].size_bytes == 156_008_466
    assert table["sam2.1_hiera_large"].size_bytes == 898_083_611
    assert table["sam2.1_hiera_small"].sha256.startswith("6d1aa6f30de5c922")


def test_embedded_model_is_what_its_card_says():
    folder = files("napari_sam_amg.models") / "data"
    card = json.loads((folder / "nuclei-nano.json").read_text("utf-8"))
    data = (folder / "nuclei-nano.safetensors").read_bytes()
    info = model_info("nuclei-nano")
    assert hashlib.sha256(data).hexdigest() == card["sha256"] == info.sha256
    assert len(data) == card["size_bytes"] == info.size_bytes <= 10_000_000
    assert info.url is None
    assert info.profile.map_uint8
    assert info.recommended == card["recommended"] != {}
    assert "nuclei" in info.description
    assert "Not Meta's weights" in info.notes


@pytest.mark.parametrize("name", ["vit_h", "vit_l", "vit_b", "default", "sam_vit_h_4b8939"])
def test_names_of_sam1_get_advice(name):
    with pytest.raises(ModelError, match=r"SAM 1.*sam2\.1_hiera_large.*nuclei-nano"):
        model_info(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("nuclei_nano", "nuclei-nano"),
        ("sam2.1_hiera_tiney", "sam2.1_hiera_tiny"),
        ("sam2.1-hiera-large", "sam2.1_hiera_large"),
    ],
)
def test_misspelt_names_get_the_nearest(name, near):
    with pytest.raises(ModelError, match=f"did you mean '{near}'"):
        model_info(name)


def test_other_names_get_the_list():
    with pytest.raises(ModelError, match=r"known are nuclei-nano.*path of a SAM 2 checkpoint"):
        model_info("qqq")


@pytest.mark.parametrize("content", [None, "{", "\udce9".encode("utf-8", "surrogateescape")])
def test_a_damaged_card_is_named(monkeypatch, tmp_path, content):
    card = tmp_path / "nuclei-nano.json"
    if content is not None:
        card.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(registry, "embedded_file", lambda _suffix: card)
    with pytest.raises(ModelError, match="install napari-sam-amg again"):
        list_models()


@pytest.mark.parametrize(
    "values",
    [
        {"resize": "crop"},
        {"percentiles": (5.0, 5.0)},
        {"percentiles": (-1.0, 99.0)},
        {"percentiles": (0.0, 101.0)},
        {"object_diameter": 0.0},
        {"object_diameter": float("nan")},
    ],
)
def test_impossible_profiles(values):
    with pytest.raises(ModelError, match="input profile"):
        InputProfile(**values)
