"""Exit status, models and what a fresh process does."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from napari_sam_amg import __version__
from napari_sam_amg.cli import main
from napari_sam_amg.errors import DeviceError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path, painted: Any) -> Path:
    painted(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """Record what the generator is made from, and end the run there."""
    calls: list[tuple[Any, dict[str, Any]]] = []

    def make(model: Any, **settings: Any) -> None:
        calls.append((model, settings))
        raise DeviceError("end of the test")

    monkeypatch.setattr("napari_sam_amg.engine.AutomaticMaskGenerator", make)
    return calls


def places(image: Path, *more: str) -> list[str]:
    return ["--input", str(image), "--output", str(image.parent / "out"), *more]


def test_the_default_model_is_announced(image: Path, loaded: Any, capsys: Any) -> None:
    assert main(places(image)) == 2
    assert loaded == [("nuclei-nano", {"device": "auto", "precision": "exact", "contrast": None})]
    err = capsys.readouterr().err
    assert err.count("nuclei-nano") == 1
    assert "nuclei" in err
    assert not (image.parent / "out").exists()


@pytest.mark.parametrize("more", [["--quiet"], ["--model-type", "nuclei-nano"]])
def test_and_not_when_it_is_named(image: Path, loaded: Any, capsys: Any, more: list[str]) -> None:
    assert main(places(image, *more)) == 2
    assert loaded[0][0] == "nuclei-nano"
    assert "Using" not in capsys.readouterr().err


def test_settings_reach_the_generator(
    image: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_sam_amg.cli.models._fetch_ahead", lambda options: None)
    words = ["--model-type", "sam2.1_hiera_tiny", "--device", "cuda:1", "--precision", "fast"]
    words += ["--contrast", "0", "4095", "--single-mask", "--pred-iou-thresh", "0.5"]
    main(places(image, *words))
    settings = {"device": "cuda:1", "precision": "fast", "contrast": (0.0, 4095.0)}
    settings |= {"multimask_output": False, "pred_iou_thresh": 0.5}
    assert loaded == [("sam2.1_hiera_tiny", settings)]


@pytest.mark.parametrize(
    ("words", "finding"),
    [
        (["--model-type", "vit_h"], "sam2.1_hiera_large"),
        (["--model-type", "default"], "SAM 1"),
        (["--model-type", "sam2.1_hiera_tny"], "did you mean 'sam2.1_hiera_tiny'"),
        (["--checkpoint", "nowhere.pt"], "there is no such file"),
        (["--points-per-side", "0"], "--points-per-side=0"),
        (["--input", "nowhere.png"], "no such file"),
    ],
)
def test_usage_errors(
    image: Path, loaded: Any, capsys: Any, words: list[str], finding: str
) -> None:
    assert main(places(image, *words)) == 2
    assert finding in capsys.readouterr().err
    assert loaded == []
    assert not (image.parent / "out").exists()


@pytest.mark.parametrize(
    ("named", "found", "status"),
    [
        (None, "sam2.1_hiera_large", 0),
        ("sam2.1_hiera_tiny", "sam2.1_hiera_tiny", 0),
        ("sam2_hiera_tiny", "sam2_hiera_tiny", 0),
        ("sam2.1_hiera_tiny", "sam2.1_hiera_large", 2),
        ("nuclei-nano", "sam2.1_hiera_large", 2),
        ("vit_h", "sam2.1_hiera_large", 2),
    ],
)
def test_a_checkpoint_must_be_what_it_is_called(
    image: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    new_generator: Any,
    named: str | None,
    found: str,
    status: int,
) -> None:
    checkpoint = image.parent / "own.pt"
    checkpoint.write_bytes(b"")

    def make(model: Any, **settings: Any) -> Any:
        assert model == checkpoint
        generator = new_generator()
        generator.info = SimpleNamespace(architecture=found)
        return generator

    monkeypatch.setattr("napari_sam_amg.engine.AutomaticMaskGenerator", make)
    words = ["--checkpoint", str(checkpoint), *(["--model-type", named] if named else [])]
    assert main(places(image, *words)) == status
    err = capsys.readouterr().err
    assert "Using" not in err
    if status:
        assert str(named) in err
        assert "sam2.1_hiera_large" in err


def test_list_models(capsys: Any) -> None:
    from napari_sam_amg import list_models

    assert main(["--list-models"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == [
        info.name for info in list_models()
    ]
    assert "nuclei-nano (embedded" in out


@pytest.mark.parametrize(
    ("words", "status", "finding"),
    [(["--version"], 0, __version__), (["--help"], 0, "--points-per-side N"), ([], 2, "--input")],
)
@pytest.mark.parametrize("module", ["napari_sam_amg", "napari_sam_amg.cli"])
def test_as_a_process(words: list[str], status: int, finding: str, module: str) -> None:
    code = (
        "import sys, runpy, atexit\n"
        "atexit.register(lambda: sys.stderr.write(f\"torch: {'torch' in sys.modules}\"))\n"
        f"sys.argv = ['x', *{words!r}]\n"
        f"runpy.run_module({module!r}, run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == status
    assert finding in done.stdout + done.stderr
    assert "torch: False" in done.stderr


def test_a_closed_pipe_is_no_traceback() -> None:
    code = "import sys\nfrom napari_sam_amg.cli import main\nsys.exit(main(['--list-models']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(60)
