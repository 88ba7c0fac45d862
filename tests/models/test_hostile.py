"""Checkpoints that are damaged, hostile or not what they seem: refused, and nothing runs."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import struct
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

sys.path.insert(0, str(Path(__file__).parent))

from _craft import Call, Storage, program, tensor, write_archive, write_pt

from napari_sam_amg.errors import ModelError, SamAmgError
from napari_sam_amg.models import checkpoint, load_model

SAVED = io.BytesIO()
torch.save({"model": {"a.weight": torch.ones(4)}}, SAVED)
PLAIN = {"a": tensor(Storage("0", 4), (4,), (1,))}
RECORD = {"0": b"\0" * 16}


class Trainer:
    """Stands for a trainer's own class, saved whole."""


def _save(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def _bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _canary(path: Path) -> Call:
    """Makes the file "canary" beside `path` if it is called."""
    return Call(os.mkdir, str(path.parent / "canary"))


def _write_open(path: Path) -> Call:
    return Call(open, str(path.parent / "canary"), "w")


def _tar(path: Path) -> Path:
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps(_canary(path), 2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def _duplicate(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", program(PLAIN))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a/data.pkl", program(_canary(path)))
    return path


def _overlap(path: Path) -> Path:
    """A zip whose table of contents lists one member's bytes a hundred times."""
    write_archive(path, {"data.pkl": program(PLAIN), "data/0": b"\0" * 10_000})
    data = path.read_bytes()
    start = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    one = data[data.rindex(b"PK\x01\x02") : end]
    table = data[start:end] + b"".join(
        one.replace(b"archive/data/0", b"archive/data/%d" % n) for n in range(1, 10)
    )
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 11, 11, len(table), start, 0)
    return _bytes(path, data[:start] + table + tail)


def _safetensors(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return _bytes(path, struct.pack("<Q", len(text)) + text + body)


def _scripted(path: Path) -> Path:
    return write_archive(
        path, {"data.pkl": b"", "constants.pkl": b"", "code/__torch__.py": b"import os"}
    )


HOSTILE = {
    "reduce": (lambda p: write_pt(p, _canary(p)), "mkdir.*can run code.*state_dict"),
    "reduce nested": (lambda p: write_pt(p, {"model": {"a": [1, _canary(p)]}}), "can run code"),
    "reduce as key": (lambda p: write_pt(p, [{(_canary(p),): 1}]), "can run code"),
    "reduce in a tensor": (
        lambda p: write_pt(p, {"a": Call(torch._utils._rebuild_parameter, _canary(p), 0, {})}),
        "can run code",
    ),
    "open": (lambda p: write_pt(p, _write_open(p)), "open"),
    "getattr": (
        lambda p: write_pt(p, Call(getattr, "x", "upper")),
        r"builtin\w*\.getattr.*can run code",
    ),
    "import": (lambda p: write_pt(p, Call(__import__, "this")), "__import__"),
    "bytearray of 1 TB": (lambda p: write_pt(p, Call(bytearray, 10**12)), "bytearray"),
    "tensor of 4 TB": (lambda p: write_pt(p, Call(torch.FloatTensor, 10**12)), "FloatTensor"),
    "codec": (lambda p: write_pt(p, {"x": b"bytes"}), r"_codecs\.encode"),
    "protocol 4": (
        lambda p: write_archive(p, {"data.pkl": program(_canary(p), 4)}),
        "STACK_GLOBAL.*can run code",
    ),
    "trainer": (lambda p: _save(p, {"model": Trainer()}), r"Trainer'.*trainers save.*state_dict"),
    "whole model": (lambda p: _save(p, torch.nn.Linear(2, 2)), "Linear.*state_dict"),
    "numpy": (lambda p: _save(p, {"a": np.ones(2)}), "refused.*numpy"),
    "namespace": (
        lambda p: _save(p, {"args": __import__("argparse").Namespace(a=1)}),
        "argparse.Namespace",
    ),
    "sparse": (lambda p: _save(p, {"a": torch.eye(3).to_sparse()}), "_rebuild_sparse_tensor"),
    "quantised": (
        lambda p: write_pt(p, {"a": Call(torch._utils._rebuild_qtensor, Storage("0", 4))}, RECORD),
        "refused.*_rebuild_qtensor",
    ),
    "old form": (lambda p: _save(p, {"a": 1}, _use_new_zipfile_serialization=False), "old form"),
    "old form, code": (lambda p: _bytes(p, pickle.dumps(_canary(p), 2)), "can run code"),
    "legacy tar": (_tar, "old form"),
    "torchscript": (_scripted, "TorchScript"),
    "zip slip": (
        lambda p: write_archive(p, {"data.pkl": program(PLAIN), "!../../canary": b"x"}),
        r"\.\./\.\./canary",
    ),
    "zip slip, absolute": (
        lambda p: write_archive(p, {"data.pkl": program(PLAIN), "!/tmp/canary": b"x"}),
        "refused",
    ),
    "zip slip, all": (lambda p: write_archive(p, {"data.pkl": b""}, prefix="../"), "refused"),
    "compressed": (
        lambda p: write_archive(p, {"data.pkl": b"\0" * 10**7}, compression=zipfile.ZIP_DEFLATED),
        "zip bomb",
    ),
    "overlapping": (_overlap, "zip bomb|damaged"),
    "two roots": (
        lambda p: write_archive(p, {"data.pkl": program(PLAIN), "!b/data.pkl": b""}),
        "2 tables",
    ),
    "no table": (lambda p: write_archive(p, {"data/0": b"\0"}), "0 tables"),
    "duplicates": (_duplicate, "1 differ|each once"),
    "another zip": (lambda p: write_archive(p, {"!word/document.xml": b"x"}), "another kind"),
    "huge table": (
        lambda p: write_archive(p, {"data.pkl": b"\0" * (2**24 + 1)}),
        "table of contents has",
    ),
    "cut zip": (lambda p: _bytes(p, SAVED.getvalue()[:-100]), "damaged.*cut off"),
    "cut zip, early": (lambda p: _bytes(p, SAVED.getvalue()[:300]), "damaged"),
    "garbage table": (lambda p: write_archive(p, {"data.pkl": b"\xff" * 50}), "makes no sense"),
    "empty table": (lambda p: write_archive(p, {"data.pkl": b""}), "makes no sense|damaged"),
    "claims more than it has": (
        lambda p: write_pt(p, {"a": tensor(Storage("0", 10**10), (4,), (1,))}, RECORD),
        "damaged",
    ),
    "tensor beyond its storage": (
        lambda p: write_pt(p, {"a": tensor(Storage("0", 4), (10**9,), (1,))}, RECORD),
        "damaged",
    ),
    "negative size": (
        lambda p: write_pt(p, {"a": tensor(Storage("0", 4), (-4,), (1,))}, RECORD),
        "damaged",
    ),
    "record missing": (
        lambda p: write_pt(p, {"a": tensor(Storage("7", 4), (4,), (1,))}, RECORD),
        "damaged",
    ),
    "one number as a billion": (
        lambda p: write_pt(p, {"a": tensor(Storage("0", 4), (10**9,), (0,))}, RECORD),
        "not a SAM 2 model",
    ),
    "a list": (lambda p: _save(p, [torch.ones(1)]), "holds a list"),
    "no tensors": (lambda p: _save(p, {"epoch": 3}), "only epoch"),
    "other model": (lambda p: _save(p, {"fc.weight": torch.ones(1)}), "not a SAM 2 model"),
    "empty": (lambda p: _bytes(p, b""), "empty"),
    "one byte": (lambda p: _bytes(p, b"P"), "not a .pt file"),
    "noise": (lambda p: _bytes(p, bytes(range(1, 256)) * 9), "not a .pt file"),
    "web page": (lambda p: _bytes(p, b"\n<!DOCTYPE html><html>"), "web page"),
    "lfs pointer": (
        lambda p: _bytes(p, b"version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    "hdf5": (lambda p: _bytes(p, b"\x89HDF\r\n\x1a\n"), "HDF5"),
    "safetensors, no JSON": (lambda p: _safetensors(p, b"{not json}"), "damaged"),
    "safetensors, outside": (
        lambda p: _safetensors(
            p, {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"\0" * 8
        ),
        "damaged",
    ),
    "safetensors, shape against size": (
        lambda p: _safetensors(
            p, {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}, b"\0" * 8
        ),
        "damaged",
    ),
    "safetensors, overlapping": (
        lambda p: _safetensors(
            p,
            {n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"},
            b"\0" * 8,
        ),
        "damaged",
    ),
    "safetensors, unknown type": (
        lambda p: _safetensors(
            p, {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4
        ),
        "damaged",
    ),
    "safetensors, header beyond the end": (
        lambda p: _bytes(p, struct.pack("<Q", 2**60) + b"{" + b" " * 30),
        "not a .pt file",
    ),
    "folder": (lambda p: p.mkdir() or p, "is a folder"),
    "pipe": (lambda p: os.mkfifo(p) or p, "pipe or device"),
    "link to nothing": (lambda p: p.symlink_to("nowhere") or p, "link points to nothing"),
    "link to itself": (lambda p: p.symlink_to(p) or p, "cannot be opened"),
    "link to a device": (lambda p: p.symlink_to("/dev/zero") or p, "pipe or device"),
    "not there": (lambda p: p, "no such checkpoint file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_refused_and_nothing_runs(name, tmp_path):
    make, told = HOSTILE[name]
    path = make(tmp_path / "weights.pt")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ModelError, match=told) as caught:
        load_model(path, device="cpu")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "canary").exists()
    assert sorted(tmp_path.rglob("*")) == before


def test_the_canary_would_sing(tmp_path):
    pickle.loads(program(_canary(tmp_path / "x")))
    assert (tmp_path / "canary").is_dir()


def test_what_the_host_declared_safe_is_not_safe_here(tmp_path):
    path = write_pt(tmp_path / "weights.pt", _canary(tmp_path / "x"))
    with torch.serialization.safe_globals([os.mkdir]), pytest.raises(ModelError):
        load_model(path, device="cpu")
    assert not (tmp_path / "canary").exists()


def test_size_cap_comes_before_reading(tmp_path, monkeypatch):
    path = tmp_path / "weights.pt"
    with path.open("wb") as file:
        file.truncate(checkpoint.MAX_BYTES + 1)
    monkeypatch.setattr(checkpoint.hashlib, "file_digest", lambda *_: pytest.fail("was read"))
    with pytest.raises(ModelError, match=r"refused: 4294967297 bytes"):
        load_model(path, device="cpu")


def test_old_torch_is_refused(tmp_path, monkeypatch, nano_weights):
    path = _save(tmp_path / "weights.pt", nano_weights)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(ModelError, match=r"install torch 2\.10"):
        load_model(path, device="cpu")


def _changed(weights: dict, key: str, change: object) -> dict:
    out = {k: v.clone() for k, v in weights.items()}
    out[key] = change(out[key])
    return out


def _fill(value: float):
    def change(weight: torch.Tensor) -> torch.Tensor:
        weight.view(-1)[-1] = value
        return weight

    return change


KEY = "sam_mask_decoder.iou_prediction_head.layers.0.weight"
MISFITS = {
    "nan": (lambda w: _changed(w, KEY, _fill(float("nan"))), f"{KEY}.*not finite"),
    "inf": (lambda w: _changed(w, KEY, _fill(float("inf"))), f"{KEY}.*not finite"),
    "too large for float32": (
        lambda w: _changed(w, KEY, lambda t: _fill(1e300)(t.double())),
        "not finite",
    ),
    "integers": (lambda w: _changed(w, KEY, lambda t: t.to(torch.int8)), "int8.*quantised"),
    "complex": (
        lambda w: _changed(w, KEY, lambda t: t.to(torch.complex64)),
        "floating-point|ComplexFloatStorage",
    ),
    "missing": (lambda w: {k: v for k, v in w.items() if k != KEY}, f"lacks {KEY}"),
    "half": (
        lambda w: {k: v for k, v in w.items() if not k.startswith("sam_")},
        "lacks sam_prompt_encoder.*more",
    ),
    "adapter": (lambda w: {**w, "lora.A": torch.ones(2)}, "unknown lora.A.*adapters"),
    "transposed": (
        lambda w: _changed(w, "mask_downsample.weight", lambda t: t[..., None]),
        r"mask_downsample.weight is \(1, 1, 4, 4, 1\) instead of \(1, 1, 4, 4\)",
    ),
    "empty tensor": (lambda w: _changed(w, KEY, lambda t: t[:0]), f"{KEY} is \\(0, 128\\)"),
}


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("name", MISFITS)
def test_weights_that_do_not_fit(name, suffix, tmp_path, nano_weights):
    make, told = MISFITS[name]
    path = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"model": make(nano_weights)}, path)
    else:
        weights = {k: v.contiguous() for k, v in make(nano_weights).items()}
        safetensors.torch.save_file(weights, path)
    with pytest.raises(ModelError, match=told):
        load_model(path, device="cpu")


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bytes_never_do_more_than_raise_our_error(seed, tmp_path, nano_weights):
    rng = np.random.default_rng(seed)
    buffer = io.BytesIO()
    small = dict(list(nano_weights.items())[:20])
    torch.save(collections.OrderedDict(small), buffer)
    data = bytearray(buffer.getvalue())
    regions = [data.index(b"data.pkl"), data.rindex(b"PK\x01\x02") - 3000, 0]
    for _ in range(int(rng.integers(1, 6))):
        start = regions[rng.integers(len(regions))]
        data[min(len(data) - 1, start + int(rng.integers(4000)))] = int(rng.integers(256))
    path = _bytes(tmp_path / "weights.pt", bytes(data))
    with pytest.raises(SamAmgError):
        load_model(path, device="cpu")
