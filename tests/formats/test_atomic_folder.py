"""Folders of another writer that is still at work."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg.formats import atomic_folder, read_png_folder, write_png_folder
from napari_sam_amg.formats.staged import neighbour


@pytest.mark.parametrize("alive", [False, True])
@pytest.mark.parametrize("end", ["", "-old"])
def test_only_what_nobody_writes_is_cleared_or_brought_back(
    alive, end, tmp_path, random_masks, monkeypatch
):
    masks = random_masks(np.random.default_rng(4), shape=(9, 8), count=2)
    left = neighbour(tmp_path / "x")
    left = left.with_name(left.name + end)
    write_png_folder(masks[:1], left)
    monkeypatch.setattr(atomic_folder, "is_alive", lambda staged: alive)
    if end and not alive:
        # It is the earlier result, which is not to be replaced unasked.
        with pytest.raises(ZeroDivisionError):
            _fail(tmp_path / "x")
        assert len(read_png_folder(tmp_path / "x")) == 1
    write_png_folder(masks, tmp_path / "x", overwrite=True)
    assert len(read_png_folder(tmp_path / "x")) == 2
    assert left.exists() is alive
    assert len(list(tmp_path.iterdir())) == 1 + alive


def _fail(path):
    with atomic_folder.write_folder(path, is_ours=lambda _: True, is_result=lambda _: True):
        raise ZeroDivisionError
