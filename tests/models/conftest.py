"""Fixtures of the suites about models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from napari_sam_amg.models.architecture import ARCHITECTURES, build

if TYPE_CHECKING:
    import torch


@pytest.fixture(scope="session")
def nano_weights() -> dict[str, torch.Tensor]:
    """State dict of a nuclei-nano with random weights."""
    return build(ARCHITECTURES["nuclei-nano"]).state_dict()


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch, tmp_path):
    """Neither the developer's cache nor a mirror; nothing is downloaded by accident."""
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("NAPARI_SAM_AMG_MIRROR", raising=False)
