"""What is said never decides what is done."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from napari_sam_amg.cli import main
from napari_sam_amg.cli.streams import is_terminal, say, warn

if TYPE_CHECKING:
    from pathlib import Path

# A run of the program, but with the generator of these tests in place of a model.
RUN = (
    "import sys\n"
    "sys.path.insert(0, {tests!r})\n"
    "from conftest import SpotGenerator\n"
    "import napari_sam_amg.cli.run as run\n"
    "run.load_generator = lambda options: SpotGenerator(notes=('a note',))\n"
    "from napari_sam_amg.cli import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)
NAME = "\u7d30\u80de.png"


def run(folder: Path, shell: str, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    code = RUN.format(tests=os.path.dirname(__file__))
    words = ["--input", str(folder / "in"), "--output", str(folder / "out"), *more]
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        timeout=60,
        env=os.environ | env,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize(
    ("shell", "env"),
    [
        ("", {"PYTHONIOENCODING": "cp1252"}),
        (">/dev/full", {}),
        (">/dev/full 2>/dev/full", {"PYTHONIOENCODING": "ascii"}),
        (">&-", {}),
        (">&- 2>&-", {}),
    ],
)
def test_streams_that_take_nothing(
    tmp_path: Path, painted: Any, shell: str, env: dict[str, str]
) -> None:
    if "/dev/full" in shell and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    painted(tmp_path / "in" / NAME)
    (tmp_path / "in" / "notes.txt").write_text("")
    done = run(tmp_path, shell, **env)
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert os.listdir(tmp_path / "out") == [NAME[:-4]]
    if not shell:
        assert "[1/1] \\u7d30\\u80de.png: 4 masks" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize("shell", [">&- 2>&-", ">/dev/full 2>/dev/full"])
def test_and_a_failure_is_still_one(tmp_path: Path, shell: str) -> None:
    if "/dev/full" in shell and not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / NAME).write_bytes(b"no image")
    assert run(tmp_path, shell).returncode == 1
    assert run(tmp_path, shell, "--nonsense").returncode == 2
    assert run(tmp_path, shell, "--help").returncode == 0


class Stream(io.TextIOWrapper):
    """A stream that cannot be written to."""

    def __init__(self, error: Exception) -> None:
        super().__init__(io.BytesIO(), "ascii")
        self.error = error

    def flush(self) -> None:
        raise self.error

    def close(self) -> None:
        """Not with the flush that comes before."""


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), OSError(28, "full"), ValueError("closed"), None]
)
@pytest.mark.parametrize(("speak", "name"), [(say, "stdout"), (warn, "stderr")])
def test_saying_raises_nothing(
    monkeypatch: pytest.MonkeyPatch, speak: Any, name: str, error: Exception | None
) -> None:
    monkeypatch.setattr(sys, name, None if error is None else Stream(error))
    speak("a line")
    assert not is_terminal()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", b"\\u7d30 \\xe9 \\udcff\n"),
        ("cp1252", b"\\u7d30 \xe9 \\udcff\n"),
        ("utf-8", "\u7d30 \u00e9 ".encode() + b"\\udcff\n"),
    ],
)
def test_letters_that_a_stream_does_not_have(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, newline="\n"))
    say("\u7d30 \u00e9 \udcff")
    assert raw.getvalue() == expected


def test_a_report_that_breaks_does_not_make_a_failure(
    tmp_path: Path, painted: Any, generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is wrong with the report must come to light as that, not as a failed image."""
    painted(tmp_path / "in" / "a.png")

    def broken(*_: Any) -> None:
        raise RuntimeError("the report is broken")

    monkeypatch.setattr("napari_sam_amg.cli.report.PlainReport.finish", broken)
    with pytest.raises(RuntimeError, match="the report is broken"):
        main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")])
    assert os.listdir(tmp_path / "out") == ["a"]


class Terminal(io.TextIOWrapper):
    """A terminal that goes away when a note is written."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if "a note" in text:
            raise OSError(5, "Input/output error")
        return super().write(text)


def test_a_note_above_a_bar_does_not_make_a_failure(
    tmp_path: Path, painted: Any, generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted(tmp_path / "in" / "a.png")
    generator.notes = ("a note",)
    raw = io.BytesIO()
    for name, content in (("stdout", io.BytesIO()), ("stderr", raw)):
        monkeypatch.setattr(sys, name, Terminal(content, "ascii", write_through=True))
    assert main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 0
    assert os.listdir(tmp_path / "out") == ["a"]
    assert b"100%|" in raw.getvalue()
