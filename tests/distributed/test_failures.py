"""What fails, fails alone and says why; a worker that is killed loses nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from _runs import command
from napari_sam_amg.cli import main
from napari_sam_amg.distributed import worker
from napari_sam_amg.distributed.connection import connected, prepare_workers
from napari_sam_amg.distributed.planes import RemotePlane, only_plane
from napari_sam_amg.distributed.setup import Setup, differing, local_versions
from napari_sam_amg.engine import arguments
from napari_sam_amg.errors import ImageError, ModelError, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from distributed import Client, LocalCluster


def test_a_task_that_fails(
    spots: Path, cluster: LocalCluster, tmp_path: Path, images: Any, capsys: Any
) -> None:
    images("a.png", "b-fails.png", "c.png")
    words = command(tmp_path, "--summary", "--scheduler", cluster.scheduler_address)
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert err.count("b-fails.png: it was to fail (on worker tcp://") == 2
    assert out.splitlines()[-1].startswith("done: 2 of 3")
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"a", "c", "summary.csv"}


def test_a_plane_that_fails_takes_its_stack_along_and_no_other(
    spots: Path, cluster: LocalCluster, tmp_path: Path, images: Any
) -> None:
    images("a-fails.tif", "b.tif")
    words = command(tmp_path, "--format", "labels", "--scheduler", cluster.scheduler_address)
    assert main(words) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.tif"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("nonsense", "no address of a scheduler"),
        ("folder/scheduler.json", "no file that"),
        ("{file}", "no file that one wrote"),
    ],
)
def test_an_address_that_is_none(
    address: str, says: str, tmp_path: Path, images: Any, capsys: Any
) -> None:
    images("a.png")
    (tmp_path / "file.json").write_text("{}")
    words = command(tmp_path, "--scheduler", address.format(file=tmp_path / "file.json"))
    assert main(words) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nobody_answers() -> None:
    began = time.monotonic()
    with (
        pytest.raises(SchedulerError, match=r"tcp://127\.0\.0\.1:9 within 0\.5 s"),
        connected("tcp://127.0.0.1:9", timeout=0.5),
    ):
        pass
    assert time.monotonic() - began < 60


def test_no_worker() -> None:
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as empty,
        connected(empty.scheduler_address) as client,
        pytest.raises(SchedulerError, match="has no worker: start some with 'dask worker"),
    ):
        prepare_workers(client, Setup.of("nuclei-nano", {}), timeout=0.2)


def test_the_package_is_missing(
    tmp_path: Path, images: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    images("a.png")
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert main(command(tmp_path, "--scheduler", "tcp://127.0.0.1:9")) == 2
    assert "pip install 'napari-sam-amg[distributed]'" in capsys.readouterr().err


def test_other_versions(
    spots: Path, client: Client, cluster: LocalCluster, tmp_path: Path, images: Any, capsys: Any
) -> None:
    images("a.png")
    folder = tmp_path / "torch-9.9.9.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9\n")
    one = next(iter(client.nthreads()))
    client.run(_look_in, str(tmp_path), workers=[one])
    try:
        words = command(tmp_path, "--scheduler", cluster.scheduler_address)
        assert main(words) == 2
    finally:
        client.run(_look_no_more_in, str(tmp_path), workers=[one])
    here = local_versions()["torch"]
    assert f"worker {one} has other versions: torch 9.9.9 (here {here})" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def _look_in(folder: str) -> None:
    sys.path.insert(0, folder)


def _look_no_more_in(folder: str) -> None:
    sys.path.remove(folder)


def test_versions() -> None:
    own = local_versions()
    assert own["python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "+" not in own["torch"]
    assert differing(own, own) == ""
    missing = {name: version for name, version in own.items() if name != "sam2"}
    assert differing(own, missing) == f"sam2 missing (here {own['sam2']})"


def test_a_worker_that_came_late_is_looked_at_too() -> None:
    load: Callable[[Setup], Any] = worker._generator.__wrapped__
    setup = Setup.of("nuclei-nano", {"device": "cpu"})
    with pytest.raises(SchedulerError, match=r"sam2 \S+ \(here 0\.0\)"):
        load(replace(setup, versions={**setup.versions, "sam2": "0.0"}))
    with pytest.raises(ModelError, match=r"other weights .* there 000"):
        load(replace(setup, sha256="0" * 64))


def test_a_worker_that_would_compute_otherwise_is_refused(monkeypatch: Any) -> None:
    load: Callable[[Setup], Any] = worker._generator.__wrapped__
    monkeypatch.setattr(arguments, "multiplies_bfloat16", lambda device: False)
    with pytest.raises(SchedulerError, match="choose precision exact"):
        load(Setup.of("nuclei-nano", {"device": "cpu", "precision": "fast"}))
    monkeypatch.setattr(arguments, "multiplies_bfloat16", lambda device: True)
    setup = Setup.of("nuclei-nano", {"device": "cpu", "precision": "fast"})
    assert load(setup).precision == "fast"


def test_setups_are_equal_if_everything_is(tmp_path: Path) -> None:
    one = Setup.of("nuclei-nano", {"points_per_side": 4})
    assert one == Setup.of("nuclei-nano", {"points_per_side": 4})
    assert one != Setup.of("nuclei-nano", {"points_per_side": 5})
    grids = [np.array([[0.5, 0.5]])]
    assert Setup.of("nuclei-nano", {"point_grids": grids}) != one
    file = tmp_path / "model.pt"
    file.write_bytes(b"one")
    before = Setup.of(file, {})
    file.write_bytes(b"two")
    assert Setup.of(file, {}) != before
    with pytest.raises(ModelError, match=r"missing\.pt"):
        Setup.of(tmp_path / "missing.pt", {})


def test_another_file_at_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((4, 5), np.uint8))
    plane = only_plane(str(path))
    assert plane.read().shape == (4, 5)
    tifffile.imwrite(path, np.zeros((4, 6), np.uint8))
    with pytest.raises(ImageError, match="is another file than where the run was started"):
        plane.read()
    path.unlink()
    with pytest.raises(ImageError, match=r"a\.tif"):
        plane.read()
    tifffile.imwrite(path, np.zeros((3, 4, 5), np.uint8), metadata={"axes": "ZYX"}, ome=True)
    with pytest.raises(ImageError, match="3 planes"):
        only_plane(str(path))
    assert isinstance(plane, RemotePlane)


def test_nothing_heavy_is_imported_ahead() -> None:
    code = (
        "import sys, napari_sam_amg.cli.remote, napari_sam_amg.distributed.worker\n"
        "sys.exit(', '.join({'torch', 'distributed', 'pandas', 'napari'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.stderr.decode() == "\n"


def test_ctrl_c(
    spots: Path,
    client: Client,
    cluster: LocalCluster,
    tmp_path: Path,
    images: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images("a.png", "b-slow.png", "c-slow.png", "d-slow.png")

    def interrupt(*_: Any) -> None:
        while not (spots / "b-slow.png.begun").exists():
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_sam_amg.cli.report.PlainReport.finish", interrupt)
    assert main(command(tmp_path, "--scheduler", cluster.scheduler_address)) == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert (tmp_path / "out" / "a" / "run.json").is_file()
    busy = [1]
    until = time.monotonic() + 25  # b-slow alone would take 30 s
    while any(busy) and time.monotonic() < until:
        time.sleep(0.1)
        busy = list(client.run(_executing).values())
    assert busy == [0, 0]
    assert not list(spots.glob("*.ended"))
    assert cluster.scheduler.tasks == {}


def _executing(dask_worker: Any) -> int:
    return dask_worker.state.executing_count


def test_a_worker_that_is_killed_loses_nothing(
    spots: Path, cluster: LocalCluster, tmp_path: Path, images: Any, content: Any
) -> None:
    images("a.png", "b-kills-once.png", "c.png", "d.tif", "e-kills-once.png", "f.png")
    words = command(tmp_path, "--summary", "--measure")
    assert main([*words, "--scheduler", cluster.scheduler_address]) == 0
    found = content(tmp_path / "out")
    assert sorted(path.name for path in spots.iterdir()) == [
        "b-kills-once.png",
        "e-kills-once.png",
    ]
    shutil.rmtree(tmp_path / "out")
    assert main(words) == 0
    assert content(tmp_path / "out") == found


def test_a_task_that_kills_every_worker_fails_alone(
    spots: Path,
    cluster: LocalCluster,
    tmp_path: Path,
    images: Any,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The first death counts, also of those that wait for the same worker.
    monkeypatch.setattr(cluster.scheduler, "allowed_failures", 0)
    images("a.png", "b-kills-always.png", "c.png", "d.png", "e.png", "f.png")
    assert main(command(tmp_path, "--scheduler", cluster.scheduler_address)) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-1].startswith("done: 5 of 6")
    assert "b-kills-always.png: every worker that tried it has ended" in err
