"""A run that is killed goes on, and writes the same bytes as one that is not."""

from __future__ import annotations

import json
import multiprocessing
import signal

import numpy as np
import pytest

import _killed
from _scale import FULL
from napari_sam_amg.large import LargeResult


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    # Not _killed itself: the server does not know where the tests are.
    context.set_forkserver_preload(
        [
            "napari_sam_amg.engine",
            "napari_sam_amg.large.run",
            "napari_sam_amg.models.architecture",
            "sam2.modeling.sam2_base",
            "sam2.modeling.backbones.image_encoder",
            "sam2.modeling.backbones.hieradet",
            "zarr",
            "pandas",
            "scipy.ndimage",
            "torchvision",
        ]
    )
    return context


def files(folder):
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_bytes()
    provenance = json.loads(found.pop("run.json"))
    provenance.pop("date")
    return found, provenance


def test_the_same_bytes_however_often_it_is_killed(processes, mosaic, tmp_path):
    image = np.ascontiguousarray(mosaic[:174, 100:300])

    def lives(name, kills):
        """Run until it is done, each life longer than the one before; count the lives."""
        for count, killed_at in enumerate(kills, start=1):
            process = processes.Process(
                target=_killed.run, args=(image, str(tmp_path / name), killed_at)
            )
            process.start()
            process.join()
            if process.exitcode == 0:
                return count
            assert killed_at is not None
            assert process.exitcode == -signal.SIGKILL
            with pytest.raises(Exception, match="goes on if it is started again"):
                LargeResult.open(tmp_path / name)
        raise AssertionError("it never came to an end")

    assert lives("whole", [None]) == 1
    whole = files(tmp_path / "whole")
    assert len(whole[0]) > 30
    for name, step in (("often", 23 if FULL else 130), ("seldom", 61 if FULL else 300)):
        assert lives(name, range(1, 3000, step)) > 2
        assert files(tmp_path / name) == whole
