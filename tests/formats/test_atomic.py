"""Killed, refused or interrupted: a target is wholly old, wholly new, or absent."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import _faults
from _scale import FULL, scaled
from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats import atomic, staged
from napari_sam_amg.formats.atomic_folder import write_folder

KINDS = ["png", "coco", "rle", "labels", "imagej", "geojson", "table"]
RANDOM = str(scaled(300))
OLD, NEW = _faults.sample("old"), _faults.sample("newer")
LEAST_CALLS = dict.fromkeys(KINDS, 6) | {"png": 20, "rle": 11}


def _is(found, wanted) -> bool:
    if isinstance(found, pd.DataFrame):
        return found.to_csv(index=False) == wanted.features.to_csv(index=False)
    if isinstance(found, np.ndarray):
        return np.array_equal(found, wanted.to_labels() if found.ndim == 2 else np.stack(wanted))
    return (
        len(found) == len(wanted)
        and all((found[i] == wanted[i]).all() for i in range(len(wanted)))
        and found.provenance == wanted.provenance
    )


def _bytes(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _write_file_and_fail(path: Path, error: type[BaseException] = ZeroDivisionError) -> None:
    with atomic.write_file(path) as file:
        file.write(b"x" * 2_000_000)
        raise error


def _write_folder_and_fail(path: Path) -> None:
    with write_folder(path, is_ours=lambda _: True, is_result=lambda _: True) as folder:
        folder.write("0.png", b"x")
        raise ZeroDivisionError


def _named(error: BaseException) -> str:
    """Return the file that an error says cannot be written."""
    return str(error).split(" cannot be written: ")[0]


def _run(kind: str, root: Path, *tasks: str) -> list[dict]:
    done = subprocess.run(
        [sys.executable, _faults.__file__, kind, str(root), *tasks],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX")
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_call_and_at_random_times(kind, tmp_path):
    tasks = [(target, times) for target in ("fresh", "over") for times in ("calls", RANDOM)]
    report = _run(kind, tmp_path, *map(":".join, tasks))
    for task in tasks:
        _check_killed(kind, *task, [e for e in report if (e["target"], e["times"]) == task])


def _check_killed(kind: str, target: str, times: str, report: list[dict]) -> None:
    if times == "calls":
        assert len(report) >= LEAST_CALLS[kind]
        assert {entry["signal"] for entry in report} == {9}
    else:
        assert len(report) == int(times)
    clean = {p.name for p in Path(report[0]["folder"]).with_name("count").iterdir()}
    seen = set()
    for entry in report:
        folder = Path(entry["folder"])
        found = _faults.read(kind, folder)
        state = "absent" if found is None else "old" if _is(found, OLD) else "new"
        assert found is None or _is(found, OLD) or _is(found, NEW), entry
        assert (state != "old") or target == "over"
        seen.add(state)
        _faults.write(kind, NEW, folder)
        assert _is(_faults.read(kind, folder), NEW), entry
        assert {p.name for p in folder.iterdir()} == clean, entry
    if times == "calls":
        assert {"absent" if target == "fresh" else "old", "new"} <= seen


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX")
def test_an_earlier_folder_that_was_moved_away_comes_back(tmp_path):
    report = _run("png", tmp_path, "over:calls")
    absent = [e for e in report if not (Path(e["folder"]) / "result").exists()]
    assert len(absent) == 1
    folder = Path(absent[0]["folder"])
    with pytest.raises(ZeroDivisionError):
        _write_folder_and_fail(folder / "result")
    assert _is(_faults.read("png", folder), OLD)


CODES = [getattr(errno, name) for name in ("ENOSPC", "EACCES", "EROFS", "EIO", "ENAMETOOLONG")]


@pytest.mark.parametrize("first", CODES if FULL else CODES[:1])
@pytest.mark.parametrize("target", ["fresh", "over"])
@pytest.mark.parametrize("kind", KINDS)
def test_refused_at_every_call(kind, target, first, tmp_path):
    """In a full run every call refuses for every reason, else the reasons take turns."""
    refusals, at = 0, 0
    while True:
        code = CODES[(CODES.index(first) + at) % len(CODES)]

        def refuse(code=code):
            raise OSError(code, os.strerror(code))

        folder = tmp_path / f"{at}"
        folder.mkdir()
        if target == "over":
            _faults.write(kind, OLD, folder)
        before = _bytes(folder)
        error = None
        with _faults.Faults(refuse, at).watching() as faults:
            try:
                _faults.write(kind, NEW, folder)
            except WriteError as caught:
                error = caught
        if error is None:
            # What failed, if anything, was not needed: clearing up, or syncing a folder.
            assert _is(_faults.read(kind, folder), NEW)
        else:
            refusals += 1
            after = _bytes(folder)
            assert {n: after[n] for n in after if ".tmp-" not in n} == before, faults.calls[at]
            names = ["result", "result.run.json"] if kind == "rle" else ["result"]
            assert _named(error) in [str(folder / name) for name in names]
            assert os.strerror(code).lower() in str(error)
        _faults.write(kind, NEW, folder)
        assert not [name for name in _bytes(folder) if ".tmp-" in name]
        if at >= len(faults.calls):
            break
        at += 1
    assert at >= LEAST_CALLS[kind]
    assert refusals >= LEAST_CALLS[kind] / 2


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
def test_a_disk_that_is_really_full(tmp_path):
    (tmp_path / "old").mkdir()
    _faults.write("coco", OLD, tmp_path / "old")
    before = _bytes(tmp_path)
    code = (
        "import sys, resource, signal; sys.path.insert(0, sys.argv[1])\n"
        "import _faults; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "from napari_sam_amg.errors import WriteError\n"
        "try:\n    _faults.write('coco', _faults.sample('newer'), Path(sys.argv[2]))\n"
        "except WriteError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(_faults.__file__).parent), str(tmp_path / "old")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "file too large" in done.stdout
    assert str(tmp_path / "old" / "result") in done.stdout
    assert _bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "files"), [("png", 7), ("rle", 2), *((k, 1) for k in KINDS[1:] if k != "rle")]
)
def test_all_is_on_disk_before_it_takes_its_place(kind, files, tmp_path):
    """What a kill cannot show, but a power cut would."""
    with _faults.Faults(None, None).watching() as faults:
        _faults.write(kind, NEW, tmp_path)
    first = min(faults.calls.index(c) for c in ("replace", "rename") if c in faults.calls)
    assert faults.calls[:first].count("fsync") >= files
    assert "write" not in faults.calls[first:]


def _names(path: Path) -> list[str]:
    return sorted(p.name for p in path.iterdir())


@pytest.mark.parametrize(
    ("relative", "message"),
    [
        ("n" * 300, "shorter name"),
        ("/".join(["n" * 200] * 30), "shorter"),
        ("file/below", "cannot be written"),
        ("folder", "is a folder"),
        ("nul\0l", "no name of a file"),
    ],
)
def test_targets_that_cannot_be(relative, message, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WriteError, match=message), atomic.write_file(tmp_path / relative):
        pass
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("name", ["", ".", "./", "/", Path(), "a\0b"])
@pytest.mark.parametrize("write", [_write_file_and_fail, _write_folder_and_fail])
def test_what_has_no_name(write, name, tmp_path, monkeypatch):
    """The current folder, empty as it is, is not replaced."""
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(WriteError, match=r"no name of a file or folder; choose another"):
        write(name)
    assert [p.name for p in tmp_path.rglob("*")] == ["inside"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_an_interruption_leaves_nothing(error, tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(error):
        _write_file_and_fail(tmp_path / "a", error)
    assert _names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


@pytest.mark.parametrize(
    "name",
    ["result.txt", "01.png", "0.PNG", "-1.png", "0.png.txt", "run.json.bak", "\u0661.png", ".x"],
)
def test_a_folder_of_anything_else_is_never_replaced(name, tmp_path):
    _faults.write("png", OLD, tmp_path)
    (tmp_path / "result" / name).write_text("mine")
    before = _bytes(tmp_path)
    with pytest.raises(WriteError, match="more than an earlier result"):
        _faults.write("png", NEW, tmp_path)
    assert _bytes(tmp_path) == before


@pytest.mark.parametrize("what", ["folder", "link"])
def test_only_regular_files_count_as_ours(what, tmp_path):
    _faults.write("png", OLD, tmp_path)
    (tmp_path / "outside").write_text("mine")
    inside = tmp_path / "result" / "9.png"
    if what == "folder":
        inside.mkdir()
    else:
        inside.symlink_to(tmp_path / "outside")
    with pytest.raises(WriteError, match=r"9\.png"):
        _faults.write("png", NEW, tmp_path)
    assert (tmp_path / "outside").read_text() == "mine"


def test_leftovers_of_others_stay(tmp_path):
    mark = staged._computer() + "89abcdef"
    foreign = [
        "result.tmp-notes",
        f"result.tmp-0-{mark}X",
        f"result.tmp-x-{mark}",
        f"result.tmp-{DEAD}-{mark}.bak",
        f"other.tmp-{DEAD}-{mark}",
        f"my-result.tmp-{DEAD}-{mark}",
    ]
    for name in [*foreign, f"result.tmp-{DEAD}-{mark}", f"result.tmp-{DEAD}-{mark}-old"]:
        (tmp_path / name).write_text("x")
    _faults.write("coco", NEW, tmp_path)
    assert _names(tmp_path) == sorted([*foreign, "result"])


@pytest.fixture
def running():
    """The number of another process that runs until the end of the test."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate(b"\n")


# Larger than any process number that Linux gives.
DEAD = 2**22 + 1


@pytest.mark.parametrize("suffix", ["", "-old"])
@pytest.mark.parametrize(
    ("computer", "process", "hours", "stays"),
    [
        ("here", "running", 0, True),
        ("here", "running", 25, False),
        ("here", "dead", 0, False),
        ("here", "own", 0, False),
        ("elsewhere", "running", 23, True),
        ("elsewhere", "dead", 23, True),
        ("elsewhere", "dead", 25, False),
    ],
)
def test_only_what_nobody_writes_is_cleared(
    computer, process, hours, stays, suffix, running, tmp_path, monkeypatch
):
    """A running process may have taken over a number; of other computers nothing is known."""
    number = {"running": running, "dead": DEAD, "own": os.getpid()}[process]
    where = {"here": staged._computer(), "elsewhere": "0" * 8}[computer]
    left = tmp_path / f"result.tmp-{number}-{where}89abcdef{suffix}"
    left.write_text("x")
    now = staged.time.time()
    monkeypatch.setattr(staged.time, "time", lambda: now + 3600 * hours)
    _faults.write("coco", NEW, tmp_path)
    assert left.exists() == stays
    assert _is(_faults.read("coco", tmp_path), NEW)


def test_two_writers_of_one_target_do_not_disturb_each_other(tmp_path):
    """Each has its files staged while the other begins, and while the other ends."""
    targets = [tmp_path / "result", tmp_path / "result.run"]
    meeting, errors = threading.Barrier(2, timeout=60), []

    def write(writer: int) -> None:
        try:
            for turn in range(30):
                text = f"{writer} {turn} ".encode() * 1000
                with atomic.write_files(targets) as files:
                    meeting.wait()
                    for file in files:
                        file.write(text)
        except BaseException as error:
            errors.append(error)
            meeting.abort()
            raise

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    first, second = (target.read_bytes() for target in targets)
    assert first == second
    assert first in [f"{n} 29 ".encode() * 1000 for n in range(2)]
    assert _names(tmp_path) == ["result", "result.run"]
    _faults.write("coco", NEW, tmp_path)
    assert _is(_faults.read("coco", tmp_path), NEW)


def _write_pair(folder: Path, text: bytes) -> None:
    with atomic.write_files([folder / "a", folder / "b"]) as files:
        for file in files:
            file.write(text)


@pytest.mark.parametrize(("at", "wanted"), [(0, b"old"), (1, b"new")])
def test_an_interruption_once_a_file_is_replaced(at, wanted, tmp_path, monkeypatch):
    """The last replacement decides: before it all are put back, after it none is."""
    _write_pair(tmp_path, b"old")
    replace, calls = os.replace, []

    def interrupted(*paths) -> None:
        replace(*paths)
        calls.append(paths)
        if len(calls) - 1 == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _write_pair(tmp_path, b"new")
    monkeypatch.undo()
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [wanted, wanted]
    assert _names(tmp_path) == ["a", "b"]


def test_what_cannot_be_put_back_is_kept_and_named(tmp_path, monkeypatch):
    _write_pair(tmp_path, b"old")
    replace, calls = os.replace, []

    def refused(*paths) -> None:
        calls.append(paths)
        if len(calls) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(*paths)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(WriteError, match=r"a cannot be put back: .*; it is kept as") as caught:
        _write_pair(tmp_path, b"new")
    monkeypatch.undo()
    kept = Path(str(caught.value).rpartition(" it is kept as ")[2])
    assert kept.read_bytes() == b"old"
    assert (tmp_path / "b").read_bytes() == b"old"
    assert len(_names(tmp_path)) == 3


@pytest.mark.parametrize(
    ("which", "stage"),
    [
        *((name, stage) for name in "ab" for stage in ("open", "write", "flush", "fsync")),
        *(("a", "link"), ("a", "replace"), ("b", "replace")),
    ],
)
def test_an_error_names_the_file_that_it_is_about(which, stage, tmp_path, monkeypatch):
    _write_pair(tmp_path, b"old")
    file_io, replace = io.FileIO, os.replace
    opened: list[str] = []

    def refuse() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    class File(file_io):
        def __init__(self, path, mode) -> None:
            self.letter = Path(path).name[0]
            opened.append(self.letter)
            if (stage, self.letter) == ("open", which):
                refuse()
            super().__init__(path, mode)

        def write(self, data) -> int:
            if stage in ("write", "flush") and self.letter == which:
                refuse()
            return super().write(data)

    calls = iter("ab")

    def sync(descriptor) -> None:
        if stage == "fsync" and next(calls) == which:
            refuse()

    def replaced(source, target) -> None:
        if stage == "replace" and Path(target).name == which and "-old" not in str(source):
            refuse()
        replace(source, target)

    monkeypatch.setattr(io, "FileIO", File)
    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replaced)
    if stage == "link":
        monkeypatch.setattr(os, "link", lambda *_: refuse())
        monkeypatch.setattr(shutil, "copyfile", lambda *_: refuse())
    # More than a buffer holds is written at once, less when all is there.
    with pytest.raises(WriteError) as caught:
        _write_pair(tmp_path, b"new" * (2_000_000 if stage == "write" else 1))
    monkeypatch.undo()
    assert opened
    assert _named(caught.value) == str(tmp_path / which)
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"old", b"old"]


@pytest.mark.parametrize("name", ["n" * 255, "\u00e9" * 127, "\U0001f600" * 63])
def test_the_longest_names(name, tmp_path):
    with atomic.write_file(tmp_path / name) as file:
        found = [n for n in _names(tmp_path) if ".tmp-" in n]
        assert len(found) == 1
        assert staged.leftovers(tmp_path / name) == [tmp_path / found[0]]
        assert staged.is_alive(tmp_path / found[0])
        file.write(b"new")
    assert _names(tmp_path) == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_link_stays_and_its_target_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "result").symlink_to(tmp_path / "real" / "file")
    with atomic.write_file(tmp_path / "result") as file:
        file.write(b"new")
    assert (tmp_path / "result").is_symlink()
    assert (tmp_path / "real" / "file").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").write_text("x")
    _faults.write("coco", NEW, tmp_path)
    modes = {(tmp_path / n).stat().st_mode for n in ("plain", "result")}
    assert len(modes) == 1
