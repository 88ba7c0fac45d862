"""The real program in a process of its own, with the embedded model."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from napari_sam_amg import list_models, read_coco, read_png_folder

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "napari_sam_amg"]
FEW = ["--points-per-side", "4", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]


@pytest.fixture
def folder(tmp_path: Path, sample_paths: list[Path]) -> Path:
    (tmp_path / "in").mkdir()
    for path in sample_paths:
        shutil.copy(path, tmp_path / "in")
    (tmp_path / "in" / "corrupt.png").write_bytes(sample_paths[0].read_bytes()[:1000])
    return tmp_path


def test_masks_of_real_images(folder: Path, sample_paths: list[Path]) -> None:
    words = ["--input", str(folder / "in"), "--output", str(folder / "out"), *FEW]
    done = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("Using nuclei-nano") == 1
    assert done.stderr.count(str(folder / "in" / "corrupt.png")) == 2
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 3
    for path in sample_paths:
        masks = read_png_folder(folder / "out" / path.stem)
        assert len(masks) > 0
        assert masks.provenance["source"] == path.name
        assert masks.provenance["model"]["name"] == "nuclei-nano"
        assert masks.provenance["parameters"]["points_per_side"] == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_ctrl_c_ends_within_a_chunk(folder: Path) -> None:
    words = ["--input", str(folder / "in"), "--output", str(folder / "out"), *FEW]
    words += ["--format", "coco", "--points-per-batch", "1", "--glob", "[ft]*.png"]
    with subprocess.Popen(
        [*PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first.startswith("[1/2]")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    assert list(read_coco(folder / "out" / "annotations.json")) == [first.split()[1].rstrip(":")]


def test_a_checkpoint_that_is_another_model(folder: Path) -> None:
    from napari_sam_amg.cli import main
    from napari_sam_amg.models.registry import embedded_file

    words = ["--input", str(folder / "in"), "--output", str(folder / "out")]
    words += ["--checkpoint", str(embedded_file(".safetensors"))]
    for info in list_models()[1:]:
        assert main([*words, "--model-type", info.name]) == 2
    assert not (folder / "out").exists()
