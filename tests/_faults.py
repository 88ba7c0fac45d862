"""A fault at the k-th call that a writer makes to the operating system.

As a script it forks a child for every fault, so that each is killed in a process of its own.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

SHAPE = (90, 80)
CALLS = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "link", "fsync", "scandir")


class Faults:
    """Counts calls; does `fault` at number `at` (from 0; None only counts)."""

    def __init__(self, fault, at: int | None) -> None:
        self.fault, self.at = fault, at
        self.calls: list[str] = []

    def call(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) - 1 == self.at:
            self.fault()

    @contextlib.contextmanager
    def watching(self):
        before = {name: getattr(os, name) for name in CALLS}
        file_io = io.FileIO
        faults = self

        def watched(name):
            def call(*args, **keywords):
                faults.call(name)
                return before[name](*args, **keywords)

            return call

        class File(file_io):
            def __init__(self, *args, **keywords):
                faults.call("open file")
                super().__init__(*args, **keywords)

            def write(self, data):
                half = bytes(data)[: len(data) // 2]
                if len(faults.calls) == faults.at:
                    super().write(half)
                faults.call("write")
                return super().write(data)

            def close(self):
                was_open = not self.closed
                super().close()
                if was_open:
                    faults.call("close")

        try:
            io.FileIO = File
            for name in CALLS:
                setattr(os, name, watched(name))
            yield self
        finally:
            io.FileIO = file_io
            for name in CALLS:
                setattr(os, name, before[name])


def write(kind: str, masks, folder: Path) -> None:
    """Write `masks` in the format `kind` in `folder`."""
    from napari_sam_amg import formats

    if kind == "png":
        formats.write_png_folder(masks, folder / "result", overwrite=True)
    elif kind == "coco":
        formats.write_coco({"a.tif": masks}, folder / "result")
    elif kind == "ome-zarr":
        from napari_sam_amg.formats.ome_zarr import Channels

        height, width = masks.shape
        stack = formats.LabelStack({"Z": 2, "Y": height, "X": width}, name="a.tif")
        stack.add(masks)
        stack.add(masks[:1])
        planes = [masks.to_labels(), masks[0].astype("u1")]
        channels = Channels(planes, planes[0].dtype)
        formats.write_ome_zarr(stack, folder / "result", channels=channels, overwrite=True)
    else:
        writers = {
            "rle": formats.write_rle_json,
            "labels": formats.write_labels,
            "imagej": formats.write_imagej_rois,
            "geojson": formats.write_geojson,
            "table": lambda masks, path: formats.write_table(masks.features, path),
        }
        writers[kind](masks, folder / "result")


def read(kind: str, folder: Path):
    """Read what `write` wrote; None if there is nothing."""
    from napari_sam_amg import formats

    path = folder / "result"
    if not path.exists():
        return None
    import pandas as pd

    readers = {
        "png": formats.read_png_folder,
        "coco": lambda p: formats.read_coco(p)["a.tif"],
        "rle": formats.read_rle_json,
        "labels": formats.read_labels,
        "imagej": _rois,
        "geojson": _geometries,
        "table": partial(pd.read_csv, float_precision="round_trip"),
        "ome-zarr": _read_ome_zarr,
    }
    return readers[kind](path)


def _rois(path: Path):
    """Masks, bool (N, H, W), from ImageJ's ROIs."""
    from roifile import ImagejRoi

    with zipfile.ZipFile(path) as archive:
        rois = [ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist()]
    return _filled([roi.coordinates(multi=True) for roi in rois])


def _geometries(path: Path):
    """Masks, bool (N, H, W), from GeoJSON."""
    found = [feature["geometry"] for feature in json.loads(path.read_bytes())["features"]]
    parts = [
        g["coordinates"] if g["type"] == "MultiPolygon" else [g["coordinates"]] for g in found
    ]
    return _filled([[ring for polygon in polygons for ring in polygon] for polygons in parts])


def _filled(outlines):
    """Fill outlines along the edges of pixels: a pixel has an odd number of them to its left."""
    import numpy as np

    height, width = SHAPE
    turns = np.zeros((len(outlines), height, width + 1), dtype=bool)
    for mask, rings in zip(turns, outlines, strict=True):
        for ring in rings:
            corners = np.array(ring, dtype=int)
            for (x, y), (_, below) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                mask[min(y, below) : max(y, below), x] ^= True
    return np.logical_xor.accumulate(turns, axis=2)[..., :-1]


def _read_ome_zarr(path: Path):
    """Return the labels of the first plane; what is a result has all of the second one too."""
    import numpy as np
    import zarr

    from napari_sam_amg.formats.ome_zarr import is_result_folder

    assert is_result_folder(path)
    root = zarr.open_group(path, mode="r")
    labels, image = root["labels/masks/0"][...], root["0"][...]
    assert np.array_equal(labels > 0, image > 0)
    assert labels[1].any()
    return labels[0]


def sample(which: str):
    """Return the masks of an "old" or a "new" result: blocks, with holes and in pieces."""
    import numpy as np

    from napari_sam_amg.masks import Masks

    rng = np.random.default_rng(len(which))
    count = {"old": 3, "newer": 4}[which]
    blocks = [rng.random((18, 20)) < 0.5 for _ in range(count)]
    arrays = [block.repeat(5, axis=0).repeat(4, axis=1) for block in blocks]
    return Masks.from_arrays(arrays, provenance={"which": which})


def _child(work) -> int:
    """Run `work` in a forked process; return the signal that ended it, or 0."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        finally:
            # Reached only after an error, which the parent sees by the status.
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Arguments: kind, root folder, and what to do: "fresh" or "over", ":", and times.

    Times are "calls" or a number of random ones. Several in one process, as starting takes
    longest.
    """
    kind, root = sys.argv[1], Path(sys.argv[2])
    new = sample("newer")
    new.features  # noqa: B018 - computed once, before the children
    (root / "first").mkdir()
    write(kind, new, root / "first")  # imports, which are not to count for the times
    report = []
    for task in sys.argv[3:]:
        target, times = task.split(":")
        found = _killed(kind, new, root / target / times, target == "over", times)
        report += [{"target": target, "times": times, **entry} for entry in found]
    json.dump(report, sys.stdout)


def _killed(kind: str, new, root: Path, over: bool, times: str):
    def prepared(name: str) -> Path:
        folder = root / name
        folder.mkdir(parents=True)
        if over:
            write(kind, sample("old"), folder)
        return folder

    folder = prepared("count")
    began = time.perf_counter()
    with Faults(_kill, None).watching() as faults:
        write(kind, new, folder)
    seconds = time.perf_counter() - began
    if times == "calls":
        for k, call in enumerate(faults.calls):
            folder = prepared(f"k{k}")

            def work(folder=folder, k=k) -> None:
                with Faults(_kill, k).watching():
                    write(kind, new, folder)

            yield {"folder": str(folder), "call": call, "signal": _child(work)}
        return
    chance = random.Random(0)
    for n in range(int(times)):
        folder, delay = prepared(f"t{n}"), chance.random() * seconds

        def work(folder=folder, delay=delay) -> None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, max(delay, 1e-6))
            write(kind, new, folder)

        yield {"folder": str(folder), "call": "time", "signal": _child(work)}


if __name__ == "__main__":
    main()
