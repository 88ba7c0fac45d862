"""The README's examples run, and its words are true."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_python_example_runs(sample_images, tmp_path, monkeypatch):
    (code,) = [block for language, block in BLOCKS if language == "python"]
    monkeypatch.chdir(tmp_path)
    names = {"image": sample_images[0]}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 - our own text
    assert len(names["masks"]) > 3
    assert len(names["few"]) <= len(names["many"])
    assert (tmp_path / "masks.json").is_file()
    assert (tmp_path / "masks-png" / "metadata.csv").is_file()


COMMANDS = [
    line
    for language, block in BLOCKS
    if language == "bash"
    for line in block.splitlines()
    if line.startswith("napari-sam-amg")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_run(command, sample_paths, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(sample_paths[1].read_bytes())
    words = [sys.executable, "-m", "napari_sam_amg", *shlex.split(command)[1:], "--device", "cpu"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "masks").iterdir())


def test_there_are_two_marked_one_line_commands():
    for name in ("run", "test"):
        marked = re.findall(rf"<!-- command: {name} -->\n```bash\n(.*?)```", TEXT, re.DOTALL)
        assert len(marked) == 1
        assert len(marked[0].strip().splitlines()) == 1


def test_links_to_files_lead_somewhere():
    for target in re.findall(r"\]\(((?!http)[^)#]+)", TEXT):
        assert (ROOT / target).exists(), target
    for target in re.findall(r"/main/(docs/[^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target
