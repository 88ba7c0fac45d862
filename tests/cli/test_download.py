"""Fetching a model: what is shown of it, and what is refused before."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from napari_sam_amg.cli import main
from napari_sam_amg.errors import DeviceError, DownloadError

if TYPE_CHECKING:
    from pathlib import Path

TINY = "sam2.1_hiera_tiny"
SIZE = 156_000_000


@dataclass
class Fetch:
    """Stands for `models.fetch`; tells what a download would tell."""

    folder: Path
    calls: list[str] = field(default_factory=list)
    error: Exception | None = None
    total: int = SIZE

    def __call__(self, info: Any, *, progress: Any = None) -> Path:
        self.calls.append(info.name)
        if progress is not None:
            for part in range(0, 1001):
                progress(SIZE * part // 1000, self.total)
        if self.error is not None:
            raise self.error
        return self.folder / f"{info.name}.pt"


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Fetch:
    fake = Fetch(tmp_path)
    monkeypatch.setenv("NAPARI_SAM_AMG_MODELS", str(tmp_path))
    monkeypatch.setattr("napari_sam_amg.models.fetch", fake)
    return fake


@pytest.fixture
def words(
    tmp_path: Path, painted: Any, new_generator: Any, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A run that needs a download; the generator needs none."""

    def make(model: str, **settings: Any) -> Any:
        return new_generator()

    monkeypatch.setattr("napari_sam_amg.engine.AutomaticMaskGenerator", make)
    painted(tmp_path / "in" / "a.png")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    return [*words, "--model-type", TINY, "--device", "cpu"]


def test_download(fetch: Fetch, capsys: Any) -> None:
    assert main(["--download", TINY]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{TINY}: {fetch.folder / TINY}.pt"
    assert fetch.calls == [TINY]
    assert main(["--download", "nuclei-nano"]) == 0
    assert "nothing to download" in capsys.readouterr().out
    assert main(["--download", "vit_b"]) == 2
    assert fetch.calls == [TINY]


def test_a_download_that_fails_starts_nothing(fetch: Fetch, words: list[str], capsys: Any) -> None:
    fetch.error = DownloadError("no connection. Try again")
    for given in (["--download", TINY], words):
        assert main(given) == 2
        err = capsys.readouterr().err
        assert err.endswith("error: no connection. Try again\n")
    assert not (fetch.folder / "out").exists()


def test_lines_in_a_pipe(fetch: Fetch, words: list[str], capsys: Any) -> None:
    for given in (["--download", TINY], words):
        assert main(given) == 0
        lines = [line for line in capsys.readouterr().err.splitlines() if "Download" in line]
        assert lines[0] == f"Downloading {TINY}: 0 of 156 MB"
        assert lines[1] == f"Downloading {TINY}: 16 of 156 MB"
        assert lines[-1] == f"Downloading {TINY}: 156 of 156 MB"
        assert len(lines) == 11
    assert fetch.calls == [TINY, TINY]


def test_lines_of_an_unknown_size(fetch: Fetch, capsys: Any) -> None:
    fetch.total = 0
    assert main(["--download", TINY]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"Downloading {TINY}: 0 MB", f"Downloading {TINY}: 100 MB"]


def test_a_bar_on_a_terminal(
    fetch: Fetch, words: list[str], capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    for given in (["--download", TINY], words):
        assert main(given) == 0
        err = capsys.readouterr().err
        assert f"Downloading {TINY}: 100%|" in err
        assert "156M/156M" in err
        assert "of 156 MB" not in err


def test_quiet_is_silent(fetch: Fetch, words: list[str], capsys: Any) -> None:
    for given in (["--download", TINY, "--quiet"], [*words, "--quiet"]):
        assert main(given) == 0
        assert capsys.readouterr() == ("", "")
    assert fetch.calls == [TINY, TINY]


def test_a_model_that_is_there_is_not_fetched_again(
    fetch: Fetch, words: list[str], capsys: Any
) -> None:
    from napari_sam_amg import models
    from napari_sam_amg.models.download import file_name

    (fetch.folder / file_name(models.model_info(TINY))).write_bytes(b"")
    assert main(words) == 0
    assert fetch.calls == []
    assert "Downloading" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "finding"), [(["--device", "cuda:7"], "cuda:7"), (["--precision", "half"], "half")]
)
def test_what_is_wrong_is_refused_before_a_long_download(
    fetch: Fetch,
    words: list[str],
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    more: list[str],
    finding: str,
) -> None:
    def choose(device: str) -> str:
        if device != "cpu":
            raise DeviceError(f"there is no {device}")
        return device

    monkeypatch.setattr("napari_sam_amg.models.choose_device", choose)
    assert main([*words, *more]) == 2
    assert finding in capsys.readouterr().err
    assert fetch.calls == []
