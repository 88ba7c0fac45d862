"""The choice of a device, with devices that this machine need not have."""

from __future__ import annotations

import pytest
import torch

from napari_sam_amg.errors import DeviceError
from napari_sam_amg.models import choose_device
from napari_sam_amg.models.devices import multiplies_bfloat16


@pytest.fixture
def machine(monkeypatch):
    """Pretend to have some CUDA devices, or MPS."""

    def pretend(cuda: int, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "asked", "expected"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "mps"),
        (1, True, "auto", "cuda:0"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, " CUDA:1 ", "cuda:1"),
        (2, True, "cpu", "cpu"),
        (0, True, "mps", "mps"),
        (0, True, "mps:0", "mps"),
        (1, False, torch.device("cuda", 0), "cuda:0"),
        (0, False, torch.device("cpu"), "cpu"),
    ],
)
def test_choice(machine, cuda, mps, asked, expected):
    machine(cuda, mps)
    assert choose_device(asked) == torch.device(expected)


@pytest.mark.parametrize(
    ("cuda", "asked", "told"),
    [
        (0, "cuda", "no CUDA device"),
        (0, "cuda:1", "no CUDA device"),
        (1, "cuda:1", "there are 1 CUDA devices"),
        (2, "cuda:-3", "not a device"),
        (0, "mps", "no MPS device"),
        (0, "gpu", "use 'auto'"),
        (0, "", "use 'auto'"),
        (0, "xpu", "not supported"),
        (0, "meta", "not supported"),
        (0, None, "use 'auto'"),
        (0, 1.5, "use 'auto'"),
    ],
)
def test_refusal(machine, cuda, asked, told):
    machine(cuda, mps=False)
    with pytest.raises(DeviceError, match=told):
        choose_device(asked)


def test_too_little_memory_on_the_device(monkeypatch):
    from napari_sam_amg.models import load_model

    def full(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate ...")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(DeviceError, match=r"0\.02 GiB.*smaller model"):
        load_model("nuclei-nano", device="cpu")


@pytest.mark.parametrize(
    ("device", "found", "expected"),
    [
        ("cpu", {"avx512_bf16": True}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": True}, True),
        ("cpu", {"avx2": True, "avx512_f": True, "avx512_bf16": False}, False),
        ("cpu", {"neon": True, "bf16": True}, True),
        ("cpu", {"neon": True}, False),
        ("cuda:0", (9, 0), True),
        ("cuda:0", (7, 5), False),
        ("mps", {}, True),
    ],
)
def test_who_has_units_for_bfloat16(device, found, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found)
    assert multiplies_bfloat16(torch.device(device)) is expected


def test_an_older_torch_cannot_tell(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_bfloat16(torch.device("cpu"))
