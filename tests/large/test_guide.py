"""The example of docs/large.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import zarr

from pretend_model import pretending

TEXT = (Path(__file__).parents[2] / "docs" / "large.md").read_text("utf-8")


def test_the_example_runs(mosaic, tmp_path, monkeypatch):
    from napari.layers import Labels

    (code,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    zarr.create_array(tmp_path / "slide.zarr/0", data=mosaic[:120, :160], chunks=(100, 100))
    layers = []
    viewer = SimpleNamespace(add_labels=lambda *a, **k: layers.append(Labels(*a, **k)))
    names = {"viewer": viewer}
    with pretending():
        exec(compile(code, "large.md", "exec"), names)  # noqa: S102 - our own text
    result = names["result"]
    assert result.count == len(result.table) == len(layers[0].features) - 1
    assert len(names["labels"]) == len(names["masks"]) == result.count > 0
    assert layers[0].scale.tolist() == [0.325, 0.325]
