"""Which images the model is trained on."""

from __future__ import annotations

import numpy as np
import pytest

from data import Sample
from train import without


def _samples(*looks):
    empty = np.zeros((8, 8), np.int32)
    pixels = np.zeros((8, 8, 3), np.uint8)
    return [Sample(f"{i}.png", "field", look, pixels, empty) for i, look in enumerate(looks)]


def test_a_look_is_left_out_and_the_order_stays():
    kept = without(_samples("color", "dark", "bright", "color", "dark"), "color")
    assert [sample.name for sample in kept] == ["1.png", "2.png", "4.png"]


@pytest.mark.parametrize("look", ["tissue", "dark"])
def test_what_leaves_out_none_or_all_is_refused(look):
    with pytest.raises(SystemExit, match=f"--leave-out {look}: the looks are dark"):
        without(_samples("dark", "dark"), look)
