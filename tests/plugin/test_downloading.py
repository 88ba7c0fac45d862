"""A model that has to be fetched first: progress, cancelling, offline, and where it is kept."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest
import torch

from _loopback import serving
from napari_sam_amg.models import download, registry
from napari_sam_amg.models.architecture import ARCHITECTURES, build
from napari_sam_amg.plugin.jobs import Progress
from napari_sam_amg.plugin.reporting import sentence

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

NAME = "sam2.1_hiera_tiny"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> bytes:
    """A file of the form of Meta's, with random weights."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save({"model": build(ARCHITECTURES[NAME]).state_dict()}, path)
    return path.read_bytes()


@pytest.fixture
def server(checkpoint, monkeypatch):
    """The registry's Hiera-T, served from loopback."""
    sha256 = hashlib.sha256(checkpoint).hexdigest()
    changed = [
        (name, title, what, len(checkpoint), sha256) if name == NAME else row
        for row in registry._META
        for name, title, what, *_ in [row]
    ]
    monkeypatch.setattr(registry, "_META", tuple(changed))
    monkeypatch.setattr(download, "PAUSE", 0.0)
    with serving(checkpoint) as running:
        address = f"http://127.0.0.1:{running.server_address[1]}"
        monkeypatch.setenv(download.MIRROR_VARIABLE, address)
        yield running


@pytest.fixture
def chosen(widget, monkeypatch, tmp_path):
    """The widget with the model to be fetched, into the folder of the Preferences."""
    from napari.settings import get_plugin_settings

    monkeypatch.setenv(download.FOLDER_VARIABLE, str(tmp_path / "unused"))
    preferences = get_plugin_settings("napari-sam-amg").defaults
    before = preferences.model_folder
    preferences.model_folder = str(tmp_path / "models")
    widget.model.value = NAME
    for name, value in {"points_per_side": 1, "pred_iou_thresh": 0.0}.items():
        getattr(widget, name).value = value
    widget.stability_score_thresh.value = 0.0
    yield widget
    preferences.model_folder = before


def _slowly(checkpoint, released):
    """Give half of the file, then nothing until `released` is set."""

    def answer(handler, _hit):
        handler._head(200, len(checkpoint))
        half = len(checkpoint) // 2
        handler.wfile.write(checkpoint[:half])
        handler.wfile.flush()
        released.wait(60)
        handler.wfile.write(checkpoint[half:])

    return answer


def _news(widget) -> list[Progress]:
    """Collect what the worker says; to be called before the first event is handled."""
    heard = []
    widget._worker.yielded.connect(heard.append)
    return heard


def test_progress_while_it_comes_and_a_result_after_it(
    chosen, server, checkpoint, qtbot, wait, tmp_path
):
    released = threading.Event()
    server.answer = _slowly(checkpoint, released)
    chosen.run()
    heard = _news(chosen)
    half = len(checkpoint) // 2
    qtbot.waitUntil(lambda: bool(heard) and heard[-1].done > 0.9 * half, timeout=30_000)
    said = chosen._panel.status
    qtbot.waitUntil(lambda: "Downloading the model" in said.value, timeout=5000)
    assert f"of {len(checkpoint) / 1e6:,.0f} MB" in said.value
    assert chosen._panel.progress.max == len(checkpoint)
    qtbot.waitUntil(lambda: chosen._panel.progress.value > 0.9 * half, timeout=5000)
    released.set()
    wait(chosen)
    assert chosen.labels_layer is not None, said.value
    assert (tmp_path / "models" / f"{NAME}.pt").read_bytes() == checkpoint
    assert not (tmp_path / "unused").exists()
    assert chosen.proposals.provenance["model"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    stages = {news.stage for news in heard}
    assert {"download", "decode"} <= stages
    # The next run neither asks the server nor loads the model anew.
    chosen.run()
    heard = _news(chosen)
    wait(chosen)
    assert len(server.hits) == 1
    assert "download" not in {news.stage for news in heard}


def test_cancel_while_the_server_is_silent(chosen, server, checkpoint, qtbot, wait, tmp_path):
    released = threading.Event()
    server.answer = _slowly(checkpoint, released)
    chosen.run()
    heard = _news(chosen)
    qtbot.waitUntil(lambda: bool(heard) and heard[-1].stage == "download", timeout=30_000)
    start = time.monotonic()
    chosen.cancel()
    wait(chosen)
    assert time.monotonic() - start < 5  # far less than the server's time-out
    assert chosen._panel.status.value == "Cancelled."
    assert chosen.labels_layer is None
    released.set()
    qtbot.waitUntil(lambda: not _fetching(), timeout=10_000)
    assert list((tmp_path / "models").iterdir()) == []
    # The widget is usable again, with the embedded model too.
    chosen.model.value = "nuclei-nano"
    chosen.run()
    wait(chosen)
    assert chosen.labels_layer is not None


def test_cancel_between_two_bytes(chosen, server, checkpoint, qtbot, wait, tmp_path):
    def answer(handler, _hit):
        handler._head(200, len(checkpoint))
        for start in range(0, len(checkpoint), 1 << 16):
            handler.wfile.write(checkpoint[start : start + (1 << 16)])
            time.sleep(0.01)

    server.answer = answer
    chosen.run()
    heard = _news(chosen)
    qtbot.waitUntil(lambda: bool(heard) and heard[-1].stage == "download", timeout=30_000)
    chosen.cancel()
    wait(chosen)
    assert chosen._panel.status.value == "Cancelled."
    qtbot.waitUntil(lambda: not _fetching(), timeout=10_000)
    assert list((tmp_path / "models").iterdir()) == []


def test_offline_is_said_once_with_what_to_do(chosen, server, wait, qtbot, monkeypatch):
    monkeypatch.setenv(download.MIRROR_VARIABLE, "http://127.0.0.1:9")
    with qtbot.captureExceptions() as raised:
        chosen.run()
        wait(chosen)
    said = chosen._panel.status.value
    assert [str(error) for _, error, _ in raised] == [said]
    assert "cannot be reached (offline" in said
    assert f"{NAME}.pt" in said
    assert "nuclei-nano needs no download" in said
    assert chosen._panel.run_button.enabled
    assert server.hits == []


def _fetching() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "napari-sam-amg download"]


@pytest.mark.parametrize(
    ("news", "late", "text"),
    [
        ((0, 0, "read", 0.2, float("nan")), 0, "Reading the image, 0 s"),
        (
            (3, 9, "decode", 4.0, 8.0),
            1.5,
            "Asking the model at the points, step 3 of 9, 6 s, 6 s left",
        ),
        ((5_000_000, 0, "download", 2, float("nan")), 0, "Downloading the model, 5 MB, 2 s"),
        (
            (78_000_000, 156_008_466, "download", 3.0, 3.1),
            10,
            "Downloading the model, 78 of 156 MB, 13 s, 0 s left",
        ),
    ],
)
def test_sentences(news, late, text):
    assert sentence(Progress(*news), late) == text
    assert sentence(Progress(*news, image="a (1 of 2)")).startswith("a (1 of 2): ")
