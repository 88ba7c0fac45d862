"""Checkpoints and the embedded model, loaded."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, OrderedDict
from importlib.resources import files
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_sam_amg.errors import DeviceError, ModelError
from napari_sam_amg.models import InputProfile, load_model, loading, resolve
from napari_sam_amg.models.architecture import ARCHITECTURES, build

DATA = Path(str(files("napari_sam_amg.models"))) / "data"


def _same(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    state = model.state_dict()
    return state.keys() == weights.keys() and all(
        torch.equal(state[k], weights[k]) and state[k].dtype == torch.float32 for k in state
    )


FORMS = {
    "as Meta": lambda w: {"model": w},
    "bare": lambda w: w,
    "ordered": OrderedDict,
    "trainer, plain": lambda w: {
        "model": w,
        "epoch": 3,
        "best": 0.5,
        "name": "run é",
        "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]},
        "seen": Counter([1, 1]),
        "ids": {1, 2},
        "none": None,
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
        "steps": torch.arange(3),
    },
    "DataParallel": lambda w: {"state_dict": {f"module.{k}": v for k, v in w.items()}},
    "parameters": lambda w: {k: torch.nn.Parameter(v) for k, v in w.items()},
    "not contiguous": lambda w: {
        k: v.mT.contiguous().mT if v.ndim > 1 else v for k, v in w.items()
    },
    "float64": lambda w: {k: v.double() for k, v in w.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_pt(form, tmp_path, nano_weights):
    path = tmp_path / "mine é.pt"
    torch.save(FORMS[form](nano_weights), path)
    loaded = resolve(path, device="cpu")
    assert _same(loaded.model, nano_weights)
    assert not loaded.model.training
    info = loaded.info
    assert (info.name, info.architecture, info.recommended, info.url) == (
        "mine é", "nuclei-nano", {}, None,
    )  # fmt: skip
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.size_bytes == path.stat().st_size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("suffix", ["pt", "safetensors", "unusual"])
def test_storage_types(dtype, suffix, tmp_path, nano_weights):
    stored = {k: v.to(dtype) for k, v in nano_weights.items()}
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save(stored, path)
    else:
        safetensors.torch.save_file(stored, path)
    assert _same(load_model(str(path), device="cpu"), {k: v.float() for k, v in stored.items()})


@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "sam2_hiera_tiny"])
def test_tiny_is_recognised_and_gives_the_same_features(name, tmp_path):
    made = build(ARCHITECTURES[name])
    torch.save({"model": made.state_dict()}, tmp_path / "weights.pt")
    loaded = resolve(tmp_path / "weights.pt", device="cpu")
    assert loaded.info.architecture == name
    assert loaded.info.profile == InputProfile()
    image = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        a = made.image_encoder(image)["backbone_fpn"]
        b = loaded.model.image_encoder(image)["backbone_fpn"]
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_named_architecture_is_used_and_checked(tmp_path, nano_weights):
    path = tmp_path / "weights.pt"
    torch.save(nano_weights, path)
    load_model(path, device="cpu", architecture="nuclei-nano")
    with pytest.raises(ModelError, match=r"does not fit sam2\.1_hiera_tiny"):
        load_model(path, device="cpu", architecture="sam2.1_hiera_tiny")
    with pytest.raises(ModelError, match=r"no architecture 'hiera'.*nuclei-nano"):
        load_model(path, device="cpu", architecture="hiera")


def test_an_object_head_is_optional_but_whole(tmp_path):
    made = build(ARCHITECTURES["nuclei-nano"], object_head=True)
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(made.state_dict(), path)
    loaded = load_model(path, device="cpu")
    assert _same(loaded, made.state_dict())
    finest = torch.rand(2, 128, 8, 6, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = loaded.object_head(finest)
        assert torch.equal(answer, made.object_head(finest))
    assert answer.shape == (2, 2, 8, 6)

    plain = build(ARCHITECTURES["nuclei-nano"]).state_dict()
    safetensors.torch.save_file(plain, path)
    assert not hasattr(load_model(path, device="cpu"), "object_head")
    safetensors.torch.save_file(
        plain | {"object_head.layers.0.bias": torch.zeros(32)}, tmp_path / "part.safetensors"
    )
    with pytest.raises(ModelError, match=r"lacks object_head\.layers\.0\.weight"):
        load_model(tmp_path / "part.safetensors", device="cpu")


def test_links_to_models_are_followed(tmp_path, nano_weights):
    (tmp_path / "elsewhere").mkdir()
    torch.save(nano_weights, tmp_path / "elsewhere" / "a.pt")
    (tmp_path / "b.pt").symlink_to(tmp_path / "elsewhere" / "a.pt")
    assert resolve(tmp_path / "b.pt", device="cpu").info.name == "b"


def test_embedded_model():
    loaded = resolve("nuclei-nano", device="cpu")
    stored = safetensors.torch.load_file(DATA / "nuclei-nano.safetensors")
    assert _same(loaded.model, {k: v.float() for k, v in stored.items()})
    assert (
        loaded.info.sha256
        == hashlib.sha256((DATA / "nuclei-nano.safetensors").read_bytes()).hexdigest()
    )
    assert type(loaded.model).__module__ == "sam2.modeling.sam2_base"
    assert not loaded.model.training
    assert _same(load_model("nuclei-nano", device="cpu"), loaded.model.state_dict())


def test_a_checkpoint_of_the_embedded_size_has_its_profile(tmp_path):
    shutil.copy(DATA / "nuclei-nano.safetensors", tmp_path / "mine.safetensors")
    info = resolve(tmp_path / "mine.safetensors", device="cpu").info
    assert info.profile == resolve("nuclei-nano", device="cpu").info.profile
    assert info.recommended == {}


@pytest.mark.parametrize("place", [0, 5000, -1])
def test_embedded_file_is_verified(place, monkeypatch, tmp_path):
    data = bytearray((DATA / "nuclei-nano.safetensors").read_bytes())
    data[place] ^= 1
    (tmp_path / "x").write_bytes(data)
    monkeypatch.setattr(loading, "embedded_file", lambda _suffix: tmp_path / "x")
    with pytest.raises(ModelError, match=r"nuclei-nano: is not the file.*SHA-256.*install"):
        load_model("nuclei-nano", device="cpu")


def test_embedded_file_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "embedded_file", lambda _suffix: tmp_path / "x")
    with pytest.raises(ModelError, match="install napari-sam-amg again"):
        load_model("nuclei-nano", device="cpu")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("vit_h", "SAM 1"),
        ("nuclei_nano", "did you mean 'nuclei-nano'"),
        ("no/such.pt", "no such checkpoint file"),
        ("weights.safetensors", "no such checkpoint file"),
        (Path("nuclei-nano"), "no such checkpoint file"),
        ("", "there is no model ''"),
        ("x\0.pt", "cannot be opened"),
        ("x" * 5000, "there is no model"),
    ],
)
def test_names_and_paths(given, told, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match=told):
        load_model(given, device="cpu")


def test_a_file_named_like_a_model_does_not_replace_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nuclei-nano").write_bytes(b"")
    (tmp_path / "mine").write_bytes(b"")
    load_model("nuclei-nano", device="cpu")
    with pytest.raises(ModelError, match="empty"):
        load_model("mine", device="cpu")


def test_the_device_is_checked_before_anything_is_read(tmp_path):
    with pytest.raises(DeviceError):
        load_model(tmp_path / "missing.pt", device="nonsense")
