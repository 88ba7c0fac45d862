"""A scheduler with two workers, each a process with one thread."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from distributed import Client, LocalCluster

# A process that is killed is what these tests are about.
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not known there")


@pytest.fixture(scope="session")
def cluster() -> Iterator[LocalCluster]:
    import dask
    from distributed import LocalCluster

    # What a worker that is killed is said of would be warnings.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "15s"}),
        LocalCluster(
            n_workers=2,
            processes=True,
            threads_per_worker=1,
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as found,
    ):
        found.wait_for_workers(2, timeout=120)
        yield found


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    from distributed import Client

    with Client(cluster, set_as_default=False) as found:
        found.wait_for_workers(2, timeout=120)
        yield found


@pytest.fixture
def spots(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Take the model's place here and on the workers; the folder where these leave traces."""
    from _remote import SHA256, Spots, UseSpots
    from napari_sam_amg.distributed.setup import Setup

    traces = tmp_path / "traces"
    traces.mkdir()
    client.register_plugin(UseSpots(traces))
    of = Setup.of
    monkeypatch.setattr(
        "napari_sam_amg.cli.remote.Setup.of",
        lambda *words: of(*words).__class__(**{**vars(of(*words)), "sha256": SHA256}),
    )
    monkeypatch.setattr("napari_sam_amg.cli.run.load_generator", lambda options: Spots(traces))
    yield traces
    client.unregister_worker_plugin("spots")


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., None]:
    """Write pictures of those names, and for names that end in .tif stacks of three planes."""

    def write(*names: str) -> None:
        for seed, name in enumerate(names):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            chance = np.random.default_rng(seed)
            planes = chance.integers(0, 40, (3, 40, 60))
            for number, plane in enumerate(planes):
                y, x = chance.integers(2, 20, 2)
                plane[y : y + 8, x : x + 12] = 200 - 50 * number
                plane[30:36, 40:50] = 190 - 50 * number
            if name.endswith(".tif"):
                data = planes.astype(np.uint16)
                tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"})
            else:
                Image.fromarray(planes[0].astype(np.uint8)).save(path)

    return write


@pytest.fixture
def content() -> Callable[[Path], dict[str, bytes]]:
    """Read all files of a folder, without dates."""
    from _runs import tree

    def read(folder: Path) -> dict[str, bytes]:
        date = re.compile(rb'("date(?:_created)?": ?)"[^"]*"')
        return {name: date.sub(rb"\1", data) for name, data in tree(folder).items()}

    return read
