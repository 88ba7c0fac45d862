"""Which model is scored, with which parameters."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest

import napari_sam_amg
from held_out import make_generator


@pytest.mark.parametrize(
    ("recommended", "given", "warned"),
    [({}, {}, True), ({"tile_size": 340}, {}, False), ({}, {"points_per_side": 8}, False)],
)
def test_a_model_that_recommends_nothing(recommended, given, warned, monkeypatch, caplog) -> None:
    info = SimpleNamespace(recommended=recommended)
    made = []

    def make(model, **parameters):
        made.append((model, parameters))
        return SimpleNamespace(info=info)

    monkeypatch.setattr(napari_sam_amg, "AutomaticMaskGenerator", make, raising=False)
    make_generator(argparse.Namespace(model="x.pt", parameters=given))
    assert made == [("x.pt", given)]
    assert ("x.pt brings no recommended parameters" in caplog.text) is warned
