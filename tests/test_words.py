"""Numbers in sentences."""

from __future__ import annotations

import pytest

from napari_sam_amg.words import counted


@pytest.mark.parametrize(
    ("number", "expected"), [(0, "0 masks"), (1, "1 mask"), (2, "2 masks"), (1000, "1000 masks")]
)
def test_one_is_singular(number: int, expected: str) -> None:
    assert counted(number, "mask") == expected
