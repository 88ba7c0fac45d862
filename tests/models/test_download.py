"""Downloads from a server on loopback that misbehaves in every way."""

from __future__ import annotations

import errno
import gc
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
import torch

from _loopback import serving
from _scale import scaled
from napari_sam_amg.errors import DownloadError, ModelError
from napari_sam_amg.models import ModelInfo, download, fetch, load_model, model_info, registry

# urllib3 leaves sockets of refused answers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

DATA = bytes(range(256)) * 2000
NAME = "sam2.1_hiera_tiny"


@pytest.fixture(autouse=True, scope="module")
def _collected():
    yield
    gc.collect()


@pytest.fixture
def server():
    with serving(DATA) as running:
        yield running


@pytest.fixture
def info(server) -> ModelInfo:
    return replace(
        model_info(NAME),
        url=f"http://127.0.0.1:{server.server_address[1]}/weights.pt",
        sha256=hashlib.sha256(DATA).hexdigest(),
        size_bytes=len(DATA),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", 0.0)
    return tmp_path / "models"


def _left(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_fetched_once_with_progress(server, info, folder):
    seen = []
    path = fetch(info, progress=lambda *counts: seen.append(counts))
    assert path == folder / "weights.pt"
    assert path.read_bytes() == DATA
    assert seen[-1] == (len(DATA), len(DATA))
    done = [d for d, _ in seen]
    assert done == sorted(done)
    assert len(seen) >= len(DATA) // download.CHUNK
    assert fetch(info) == path
    assert server.hits == ["/weights.pt"]
    assert _left(folder) == ["weights.pt"]


def test_cached_file_opens_no_socket(info, folder, monkeypatch):
    path = fetch(info)

    def forbidden(*_args, **_kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    assert fetch(info) == path
    path.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="a socket was opened"):
        fetch(info)


BAD = {
    "wrong bytes": (lambda h, _: h.give(DATA[::-1]), "has other content", 2),
    "nothing": (lambda h, _: h.give(b""), "has other content", 2),
    "web page": (lambda h, _: h.give(b"<html>log in</html>"), "has other content", 2),
    "one byte more": (lambda h, _: h.give(DATA + b"x"), "has other content", 2),
    "endless": (lambda h, _: h.give(DATA * 3), "longer than the 512000 bytes", 2),
    "cut, no length": (
        lambda h, _: (h._head(200, None), h.wfile.write(DATA[:1000])), "other content", 2
    ),
    "404": (lambda h, _: h.give(b"x", status=404), "answers with status 404", 1),
    "403": (lambda h, _: h.give(b"x", status=403), "answers with status 403", 1),
    "500": (lambda h, _: h.give(b"x", status=500), "answers with status 500", 2),
    "no HTTP": (lambda h, _: h.wfile.write(b"nonsense\r\n\r\n"), "cannot be reached", 2),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_leave_nothing(name, server, info, folder):
    answer, told, attempts = BAD[name]
    server.answer = answer
    with pytest.raises(DownloadError, match=told) as caught:
        fetch(info)
    message = str(caught.value)
    assert f"napari-sam-amg --download {NAME}" in message
    assert info.url in message
    assert f"put the file in {folder} as weights.pt" in message
    assert len(server.hits) == attempts
    assert _left(folder) == []


@pytest.mark.parametrize("share", [i / 20 for i in range(0, 20, 20 // scaled(20))])
def test_cut_connection(share, server, info, folder):
    server.answer = lambda h, _: h.give(DATA[: int(share * len(DATA))], length=len(DATA))
    with pytest.raises(DownloadError, match="cut before the end"):
        fetch(info)
    assert _left(folder) == []


def test_one_retry(server, info, folder):
    server.answer = lambda h, hit: h.give(DATA if hit == 2 else DATA[:99], length=len(DATA))
    assert fetch(info).read_bytes() == DATA
    assert len(server.hits) == 2


def test_redirect(server, info):
    moved = replace(info, url=info.url.replace("/weights", "/moved/weights"))
    assert fetch(moved).read_bytes() == DATA
    assert server.hits == ["/moved/weights.pt", "/weights.pt"]


def test_redirect_to_a_local_file_is_not_followed(server, info, tmp_path, folder):
    (tmp_path / "weights.pt").write_bytes(DATA)
    target = (tmp_path / "weights.pt").as_uri()
    server.answer = lambda h, _: h._head(302, 0, ("Location", target))
    with pytest.raises(DownloadError, match="InvalidSchema"):
        fetch(info)
    assert _left(folder) == []


def test_slow_server(server, info, folder, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (0.2, 0.2))
    server.answer = lambda h, _: (h._head(200, len(DATA)), time.sleep(0.6))
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"does not answer in time|cannot be reached"):
        fetch(info)
    assert time.monotonic() - started < 5
    assert _left(folder) == []


def test_offline(info, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(DownloadError, match=r"cannot be reached \(offline"):
        fetch(replace(info, url=f"http://127.0.0.1:{port}/weights.pt"))
    assert _left(folder) == []


def test_cancel(server, info, folder):
    asked = []
    with pytest.raises(DownloadError, match="stopped as asked"):
        fetch(info, cancel=lambda: asked.append(1) or len(asked) == 3)
    assert (len(asked), len(server.hits)) == (3, 1)
    assert _left(folder) == []


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "free some space"), (errno.EIO, "set NAPARI_SAM_AMG_MODELS")],
)
@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_disk_errors(number, told, call, info, folder, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    if call == "write":
        import pooch.downloaders

        monkeypatch.setattr(
            pooch.downloaders, "open", lambda path, mode: _Full(path, mode, fail), raising=False
        )
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(download.Path, "replace", fail)
    with pytest.raises(DownloadError, match=told) as caught:
        fetch(info)
    assert str(folder / "weights.pt") in str(caught.value)
    assert _left(folder) == []


class _Full:
    """A file that fails on the second write."""

    def __init__(self, path, mode, fail) -> None:
        self.file = open(path, mode)  # noqa: SIM115 - closed below
        self.fail, self.count = fail, 0

    def write(self, data: bytes) -> int:
        self.count += 1
        return self.file.write(data) if self.count < 2 else self.fail()

    def flush(self) -> None:
        self.file.flush()

    def close(self) -> None:
        self.file.close()


def test_folder_that_cannot_be_made(info, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(tmp_path / "file" / "models"))
    with pytest.raises(DownloadError, match=r"cannot be written \(Not a directory\)"):
        fetch(info)


@pytest.mark.parametrize("name", ["modèles 模型", "a b", "ünï/☃"])
def test_cache_folder_of_any_name(name, info, tmp_path, monkeypatch):
    monkeypatch.setenv(download.FOLDER_VARIABLE, str(tmp_path / name))
    assert fetch(info) == tmp_path / name / "weights.pt"
    assert fetch(info).read_bytes() == DATA


def test_damaged_cache_is_replaced_and_kept_when_offline(server, info, folder):
    folder.mkdir()
    (folder / "weights.pt").write_bytes(DATA[:-1])
    server.answer = lambda h, _: h.give(b"x", status=500)
    with pytest.raises(DownloadError, match="500"):
        fetch(info)
    server.answer = lambda h, _: h.give(DATA)
    assert fetch(info).read_bytes() == DATA


def test_link_in_the_cache_is_replaced_not_written_through(info, folder, tmp_path):
    folder.mkdir()
    (tmp_path / "precious").write_bytes(b"precious")
    (folder / "weights.pt").symlink_to(tmp_path / "precious")
    assert fetch(info).read_bytes() == DATA
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_leftovers_of_killed_processes_are_removed(info, folder):
    folder.mkdir()
    for name, age in (("weights.pt.old.part", 2 * download.STALE), ("weights.pt.new.part", 1.0)):
        (folder / name).write_bytes(b"x")
        then = time.time() - age
        os.utime(folder / name, (then, then))
    (folder / "mine.part").write_bytes(b"x")
    fetch(info)
    assert _left(folder) == ["mine.part", "weights.pt", "weights.pt.new.part"]


def test_mirror(server, info, monkeypatch):
    port = server.server_address[1]
    monkeypatch.setenv(download.MIRROR_VARIABLE, f"http://127.0.0.1:{port}/mirror/")
    fetch(replace(info, url="https://example.invalid/weights.pt"))
    assert server.hits == ["/mirror/weights.pt"]


@pytest.mark.parametrize("mirror", ["file:///srv", "/srv/models", "ftp://x/", "x"])
def test_mirror_must_be_a_web_address(mirror, info, monkeypatch):
    monkeypatch.setenv(download.MIRROR_VARIABLE, mirror)
    with pytest.raises(DownloadError, match="NAPARI_SAM_AMG_MODELS instead"):
        fetch(info)


def test_the_embedded_model_has_nothing_to_download():
    with pytest.raises(DownloadError, match="nothing to download"):
        fetch(model_info("nuclei-nano"))


def test_default_folder_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv(download.FOLDER_VARIABLE)
    assert download.model_folder().name == "napari-sam-amg"


def test_two_processes_at_once(server, info, folder):
    barrier = threading.Barrier(2, timeout=60)

    def answer(handler, _hit) -> None:
        barrier.wait()
        handler.give(DATA)

    server.answer = answer
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from napari_sam_amg.models import fetch, model_info\n"
        f"info = replace(model_info({NAME!r}), url=sys.argv[1], sha256=sys.argv[2])\n"
        "assert fetch(info).stat().st_size == int(sys.argv[3])\n"
    )
    command = [sys.executable, "-c", script, info.url, info.sha256, str(len(DATA))]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [child.communicate(timeout=90)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors
    assert len(server.hits) == 2
    assert _left(folder) == ["weights.pt"]
    assert (folder / "weights.pt").read_bytes() == DATA


def test_a_model_by_name_from_download_to_use(server, folder, monkeypatch, tmp_path, nano_weights):
    torch.save({"model": nano_weights}, tmp_path / "served.pt")
    content = (tmp_path / "served.pt").read_bytes()
    served = ModelInfo(
        "served",
        "Served",
        "For this test.",
        "nuclei-nano",
        hashlib.sha256(content).hexdigest(),
        url=f"http://127.0.0.1:{server.server_address[1]}/served.pt",
    )
    from napari_sam_amg.models import loading

    monkeypatch.setattr(loading, "list_models", lambda: [*registry.list_models(), served])
    monkeypatch.setattr(loading, "model_info", lambda _name: served)
    server.answer = lambda h, _: h.give(content)
    assert loading.resolve("served", device="cpu").info is served
    load_model("served", device="cpu")
    assert server.hits == ["/served.pt"]
    # Between being fetched and being read, the file is replaced.
    monkeypatch.setattr(loading, "fetch", lambda _info, **_: folder / "served.pt")
    torch.save({"model": nano_weights, "x": 1}, folder / "served.pt")
    with pytest.raises(ModelError, match="is not the file that was asked for"):
        load_model("served", device="cpu")
