"""What the source must not contain, and that its two manifests are one."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "training").glob("*.py"))
FORBIDDEN = {
    "pickle": r"\bimport pickle\b|\bpickle\.|cloudpickle|\bdill\b",
    "eval": r"(?<![\w.])eval\(",
    "exec": r"(?<![\w.])exec\(",
    "yaml.load": r"yaml\.(unsafe_|full_)?load\(",
    "allow_pickle": r"allow_pickle\s*=\s*True",
    "weights_only": r"weights_only\s*=\s*False",
    "extractall": r"\.extractall\(",
    "verify": r"verify\s*=\s*False",
    "shell": r"shell\s*=\s*True",
    "print": r"(?<![\w.])print\(",
}


LONG = {
    "src/napari_sam_amg/models/download.py": "every way a download can fail, and what is said",
    "src/napari_sam_amg/parameters.py": "half is the help of all parameters, once for all uses",
    "src/napari_sam_amg/engine/generator.py": "the public class; most of it is documentation",
    "src/napari_sam_amg/masks/collection.py": "the public class; most of it is documentation",
    "src/napari_sam_amg/formats/rle.py": "both directions of one format, and its checks",
    "src/napari_sam_amg/plugin/widget.py": "the public class; half of it is documentation",
    "training/train.py": "one script",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_source_is_free_of(name):
    assert len(SOURCES) > 25
    guilty = [p.name for p in SOURCES if re.search(FORBIDDEN[name], p.read_text("utf-8"))]
    assert guilty == []


def test_torch_load_is_always_restricted():
    for path in SOURCES:
        for call in re.findall(r"torch\.load\([^)]*\)", path.read_text("utf-8")):
            assert "weights_only=True" in call, path


def test_modules_are_of_a_readable_size():
    sizes = {
        p.relative_to(ROOT).as_posix(): len(p.read_text("utf-8").splitlines()) for p in SOURCES
    }
    too_long = {name for name, size in sizes.items() if size > 250}
    assert too_long == set(LONG)


def test_the_manifest_is_one_file():
    installed = Path(str(files("napari_sam_amg"))) / "napari.yaml"
    assert installed.read_bytes() == (ROOT / "napari.yaml").read_bytes()


def test_the_manifest_is_valid():
    done = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "--imports", str(ROOT / "napari.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_samples_open():
    from napari_sam_amg.plugin.samples import fluorescence, tissue

    for sample, shape in ((fluorescence, (520, 696)), (tissue, (256, 320, 3))):
        ((data, meta, kind),) = sample()
        assert (data.shape, data.dtype, kind) == (shape, "uint8", "image")
        assert "BBBC038" in meta["metadata"]["source"]
