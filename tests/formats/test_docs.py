"""The examples in docs/formats.md run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_sam_amg.formats import write_coco

TEXT = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_there_are_examples():
    assert len(EXAMPLES) == 13


def test_formats_and_version_are_there_once_the_package_is():
    code = (
        "import sys, napari_sam_amg as n; from importlib.metadata import version\n"
        "assert 'napari_sam_amg.formats' not in sys.modules\n"
        "n.formats.read_labels; assert n.__version__ == version('napari-sam-amg')\n"
        "assert 'pandas' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_run(number, tmp_path, monkeypatch, random_masks):
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "annotations"):
        (tmp_path / folder).mkdir()
    masks = random_masks(np.random.default_rng(3), shape=(30, 40), count=5)
    Image.new("RGB", (40, 30)).save("images/a.png")
    write_coco({"a.png": masks}, "annotations/instances_default.json")
    assert "\nassert " in EXAMPLES[number]
    exec(compile(EXAMPLES[number], "formats.md", "exec"), {})  # noqa: S102 - our own text
