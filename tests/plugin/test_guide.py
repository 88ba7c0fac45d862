"""The example of docs/napari.md runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from napari_sam_amg import AutomaticMaskGenerator

TEXT = (Path(__file__).parents[2] / "docs" / "napari.md").read_text("utf-8")


def test_the_example_runs(sample_images):
    from napari.components import ViewerModel

    ((code,),) = [re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)]
    viewer = ViewerModel()
    viewer.add_image(sample_images[0], name="nuclei")
    names = {"viewer": viewer}
    exec(compile(code, "napari.md", "exec"), names)  # noqa: S102 - our own text
    masks = AutomaticMaskGenerator("nuclei-nano", device="cpu", points_per_side=16)
    expected = masks.segment(sample_images[0])
    assert len(expected) > 3
    np.testing.assert_array_equal(names["labels"].data, expected.to_labels())
    assert names["labels"] in viewer.layers


@pytest.mark.parametrize("word", ["Run", "Apply to all", "Cancel", "Keep so far"])
def test_the_guide_names_what_is_in_the_window(word, qapp):
    from napari_sam_amg import AmgParameters
    from napari_sam_amg.plugin.panel import Panel

    panel = Panel(lambda *_: [], dict(AmgParameters()))
    buttons = (panel.run_button, panel.all_button, panel.cancel_button, panel.keep_button)
    assert word in [button.text for button in buttons]
    assert f"**{word}**" in TEXT
