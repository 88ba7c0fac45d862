"""Row 23's fuzzer: no damage to a file ends the process or escapes as a foreign error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from _scale import scaled

SCRIPT = Path(__file__).parent.parent / "_fuzz.py"


@pytest.mark.skipif(sys.platform == "win32", reason="limits on memory are POSIX")
@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_refused_or_read(seed, tmp_path):
    count = scaled(10_000)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), str(count), str(seed)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    assert report["wrong"] == []
    assert report["refused"] > count / 4
    assert report["read"] > count / 50
    assert report["slowest"] < 30
