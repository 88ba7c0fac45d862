"""Labels of stacks in TIFF and Zarr: what is refused, and what a kill can leave."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr

import _faults
from napari_sam_amg import Masks, formats
from napari_sam_amg.errors import ImageError, ParameterError, WriteError
from napari_sam_amg.formats.ome_xml import ome_xml, record_of
from napari_sam_amg.formats.ome_zarr import Channels, is_result_folder, is_result_path

if TYPE_CHECKING:
    from collections.abc import Iterator

SHAPE = (20, 30)


def masks_of(count: int, size: tuple[int, int] = SHAPE) -> Masks:
    arrays = np.zeros((count, *size), bool)
    for number in range(count):
        arrays[number, number : number + 4, 5:9] = True
    return Masks.from_arrays(list(arrays), shape=size, provenance={"date": "2026"})


def stack_of(counts: list[int], **lengths: int) -> formats.LabelStack:
    stack = formats.LabelStack({**lengths, "Y": 20, "X": 30}, name="a.tif")
    for count in counts:
        stack.add(masks_of(count))
    return stack


def channels(count: int = 1) -> Channels:
    return Channels([np.zeros(SHAPE, np.uint8)] * count, np.dtype(np.uint8))


def test_planes_must_fit() -> None:
    stack = stack_of([1, 2], Z=2)
    with pytest.raises(ParameterError, match="does not fit as number 2 of a stack of"):
        stack.add(masks_of(1))
    with pytest.raises(ParameterError, match="does not fit as number 0"):
        formats.LabelStack({"Y": 20, "X": 30}).add(masks_of(1, (30, 20)))


def test_a_stack_must_be_complete(tmp_path: Path) -> None:
    stack = stack_of([1], Z=2)
    with pytest.raises(ParameterError, match="1 planes for a stack of"):
        formats.write_label_stack(stack, tmp_path / "a.tif")
    with pytest.raises(ParameterError, match="1 planes for a stack of"):
        formats.write_ome_zarr(stack, tmp_path / "a.ome.zarr", channels=channels(2))
    assert list(tmp_path.iterdir()) == []


def test_one_plane_of_many_masks_makes_all_wider(tmp_path: Path) -> None:
    pixel = np.ones((1, 1), dtype=bool)
    from napari_sam_amg.masks import MaskStore, MaskTable

    size = (260, 260)
    many = ((n % 260, n // 260, pixel) for n in range(65_536))
    store = MaskStore.from_windows(size, many)
    stack = formats.LabelStack({"T": 2, "Y": 260, "X": 260})
    stack.add(masks_of(1, size))
    stack.add(Masks(store, MaskTable.unknown(store)))
    formats.write_label_stack(stack, tmp_path / "a.tif")
    found = tifffile.imread(tmp_path / "a.tif")
    assert found.dtype == np.uint32
    assert (found[0].max(), found[1].max()) == (1, 65_536)


def test_the_record_comes_back(tmp_path: Path) -> None:
    stack = stack_of([1, 0, 3], T=3)
    formats.write_label_stack(stack, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        text = record_of(tiff.pages.first.description)
    record = json.loads(str(text))
    assert record["axes"] == "TYX"
    assert record["shape"] == [3, 20, 30]
    assert [plane["count"] for plane in record["planes"]] == [1, 0, 3]
    assert record["provenance"] == {"date": "2026", "source": "a.tif"}


@pytest.mark.parametrize("name", ['a"&<>.tif', "\u7d30\udc80", "\x00\x1b", "]]>", ""])
def test_any_name_is_xml(name: str, tmp_path: Path) -> None:
    import xml.etree.ElementTree as Tree

    record = json.dumps({"a": '"&<>]]>'})
    lengths = {"Y": 2, "X": 3}
    words: dict[str, Any] = {"dtype": "uint16", "pixel_size": {"Y": 0.5}}
    text = ome_xml(record, lengths=lengths, name=name, **words)
    assert text.isascii()
    root = Tree.fromstring(text)  # noqa: S314 - our own text
    found = {element.tag.rpartition("}")[2]: element for element in root.iter()}
    assert found["Value"].text == record
    assert found["Pixels"].get("PhysicalSizeY") == "0.5"
    assert found["Pixels"].get("PhysicalSizeYUnit") == "\u00b5m"
    assert record_of(text) == record
    assert record_of(text.replace("napari-sam-amg", "other")) is None


def test_a_folder_of_anything_else_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "a.ome.zarr"
    formats.write_ome_zarr(stack_of([2]), target, channels=channels())
    with pytest.raises(WriteError, match="exists already"):
        formats.write_ome_zarr(stack_of([1]), target, channels=channels())
    (target / "labels" / "masks" / "1").mkdir()
    (target / "labels" / "masks" / "1" / "0").write_bytes(b"x")
    with pytest.raises(WriteError, match="labels/masks/1/0"):
        formats.write_ome_zarr(stack_of([1]), target, channels=channels(), overwrite=True)
    foreign = tmp_path / "b.ome.zarr"
    group = zarr.open_group(foreign, mode="w", zarr_format=2)
    group.create_array("0", shape=(4,), dtype="u1")
    with pytest.raises(WriteError, match="is not replaced"):
        formats.write_ome_zarr(stack_of([1]), foreign, channels=channels(), overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.ome.zarr", "b.ome.zarr"]


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (".zattrs", True),
        ("0/.zarray", True),
        ("0/3/0/12", True),
        ("labels/masks/0/1/0", True),
        ("labels/.zgroup", True),
        ("0/0/1/", True),
        ("0/0.0123456789abcdef0123456789abcdef.partial", True),
        ("1/.zarray", False),
        ("labels/other/.zattrs", False),
        ("0/notes.txt", False),
        ("0.png", False),
        ("labels/masks/0/1/x", False),
        ("mine/", False),
    ],
)
def test_what_can_be_ours(name: str, ours: bool) -> None:
    assert is_result_path(name) is ours


def test_a_plane_that_cannot_be_read_leaves_nothing(tmp_path: Path) -> None:
    def planes() -> Iterator[np.ndarray]:
        yield np.zeros(SHAPE, np.uint8)
        raise ImageError("the disk is gone")

    target = tmp_path / "a.ome.zarr"
    for earlier in (False, True):
        if earlier:
            formats.write_ome_zarr(stack_of([1, 1], Z=2), target, channels=channels(2))
        copied = Channels(planes(), np.dtype(np.uint8))
        with pytest.raises(ImageError, match="the disk is gone"):
            formats.write_ome_zarr(stack_of([2, 2], Z=2), target, channels=copied, overwrite=True)
        assert [p.name for p in tmp_path.iterdir()] == ["a.ome.zarr"] * earlier
    assert zarr.open_group(target, mode="r")["labels/masks/0"][...].max() == 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and fork are POSIX")
@pytest.mark.parametrize(("target", "times"), [("fresh", "calls"), ("over", "8")])
def test_killed_while_it_is_written(target: str, times: str, tmp_path: Path) -> None:
    old, new = _faults.sample("old"), _faults.sample("newer")
    words = [sys.executable, _faults.__file__, "ome-zarr", str(tmp_path), f"{target}:{times}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    if times == "calls":
        assert len(report) > 20
        assert {entry["signal"] for entry in report} == {9}
    seen = set()
    for entry in report:
        folder = Path(entry["folder"])
        found = _faults.read("ome-zarr", folder)
        states = {"old": old, "new": new}
        state = [n for n in states if np.array_equal(found, states[n].to_labels())]
        assert found is None or state, entry
        assert is_result_folder(folder / "result") is (found is not None)
        seen |= set(state) or {"absent"}
        _faults.write("ome-zarr", new, folder)
        assert np.array_equal(_faults.read("ome-zarr", folder), new.to_labels()), entry
        assert [p.name for p in folder.iterdir()] == ["result"], entry
    if target == "fresh":
        assert seen == {"absent", "new"}
