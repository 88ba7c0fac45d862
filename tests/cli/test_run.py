"""Whole runs, with a generator that needs no model: results, failures, interruptions."""

from __future__ import annotations

import csv
import json
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from _runs import IN_MEMORY, command, tree
from napari_sam_amg.cli import main
from napari_sam_amg.errors import WriteError
from napari_sam_amg.masks.doubt import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HEADER = (
    "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,"
    "stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
)


@pytest.fixture
def images(tmp_path: Path, painted: Callable[..., np.ndarray]) -> dict[str, np.ndarray]:
    names = ("a.png", "b.tif", "sub/c.jpg.bmp", "sub/empty.png")
    return {
        name: painted(tmp_path / "in" / name, seed, 0 if "empty" in name else 3)
        for seed, name in enumerate(names)
    }


def stem(name: str) -> str:
    return os.path.splitext(name)[0]


pytestmark = pytest.mark.usefixtures("generator")


def test_png_folders_as_amg_py_writes_them(tmp_path: Path, images: Any, spots: Any) -> None:
    assert main(command(tmp_path)) == 0
    for name, image in images.items():
        folder = tmp_path / "out" / stem(name)
        expected = spots(image)
        masks = [np.asarray(Image.open(folder / f"{i}.png")) for i in range(len(expected))]
        for mask, truth in zip(masks, expected, strict=True):
            np.testing.assert_array_equal(mask, np.where(truth, 255, 0))
        text = (folder / "metadata.csv").read_text("utf-8")
        assert text.splitlines()[0] == HEADER
        rows = list(csv.DictReader(text.splitlines()))
        assert [int(row["area"]) for row in rows] == [int(m.sum()) for m in expected]
        assert {p.name for p in folder.iterdir()} == {
            *(f"{i}.png" for i in range(len(expected))),
            "metadata.csv",
            "run.json",
        }


@pytest.mark.parametrize("words", [["--convert-to-rle"], ["--format", "rle"]])
def test_rle_as_amg_py_writes_it(
    tmp_path: Path, images: Any, spots: Any, words: list[str]
) -> None:
    from pycocotools import mask as oracle

    assert main(command(tmp_path, *words)) == 0
    for name, image in images.items():
        records = json.loads((tmp_path / "out" / (stem(name) + ".json")).read_text())
        for record, truth in zip(records, spots(image), strict=True):
            np.testing.assert_array_equal(oracle.decode(record["segmentation"]), truth)
            assert record["area"] == truth.sum()
        assert (tmp_path / "out" / (stem(name) + ".run.json")).is_file()


def test_one_dataset_for_all(tmp_path: Path, images: Any, spots: Any, capsys: Any) -> None:
    from pycocotools.coco import COCO

    assert main(command(tmp_path, "--format", "coco")) == 0
    assert list(tree(tmp_path / "out")) == ["annotations.json"]
    dataset = COCO(str(tmp_path / "out" / "annotations.json"))
    found = {image["file_name"]: image["id"] for image in dataset.dataset["images"]}
    assert set(found) == set(images)
    for name, image in images.items():
        annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=[found[name]]))
        for annotation, truth in zip(annotations, spots(image), strict=True):
            np.testing.assert_array_equal(dataset.annToMask(annotation), truth)


def test_polygons(tmp_path: Path, images: Any) -> None:
    assert main(command(tmp_path, "--format", "coco", "--polygons")) == 0
    dataset = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert all(isinstance(a["segmentation"], list) for a in dataset["annotations"])


def test_labels(tmp_path: Path, images: Any, spots: Any) -> None:
    assert main(command(tmp_path, "--format", "labels")) == 0
    for name, image in images.items():
        labels = np.asarray(Image.open(tmp_path / "out" / (stem(name) + ".tif")))
        expected = np.zeros(image.shape, int)
        for number, mask in reversed(list(enumerate(spots(image), start=1))):
            expected[mask] = number
        np.testing.assert_array_equal(labels, expected)
        assert labels.dtype in (np.uint16, np.int32, np.uint32)


def test_lines_in_a_pipe(tmp_path: Path, images: Any, capsys: Any) -> None:
    (tmp_path / "in" / "notes.txt").write_text("")
    assert main(command(tmp_path)) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 5
    for number, (line, name) in enumerate(zip(lines, sorted(images), strict=False), start=1):
        assert line.startswith(f"[{number}/4] {name}: {0 if 'empty' in name else 4} masks, ")
    assert lines[-1] == f"done: 4 of 4 images, results in {tmp_path / 'out'}"
    assert err == (f"Left out as no images: notes.txt (1 in all)\nsub/empty.png: {NOTHING}\n")


def test_a_bar_on_a_terminal(
    tmp_path: Path, images: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    assert main(command(tmp_path)) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"done: 4 of 5 images, results in {tmp_path / 'out'}"]
    assert "100%|" in err
    assert err.count("FAILED") == 2


@pytest.mark.parametrize("broken", [False, True])
def test_quiet_says_nothing_but_errors(
    tmp_path: Path, images: Any, capsys: Any, broken: bool, generator: Any
) -> None:
    generator.notes = ("a note",)
    if broken:
        (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    assert main(command(tmp_path, "--quiet")) == int(broken)
    out, err = capsys.readouterr()
    assert out == ""
    assert (str(tmp_path / "in" / "broken.png") in err) is broken
    assert broken or err == ""


def test_notes_about_the_input_are_passed_on(
    tmp_path: Path, images: Any, capsys: Any, generator: Any
) -> None:
    generator.notes = ("Every value is 7: the model was given a black image.",)
    main(command(tmp_path))
    assert "sub/empty.png: Every value is 7" in capsys.readouterr().err


def test_results_that_deserve_doubt_are_named(
    tmp_path: Path, images: Any, capsys: Any, generator: Any
) -> None:
    rule = {"below": 0.95, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.0}
    rule["stability_score_offset"] = 1.0
    generator.provenance = {
        "model": {"name": "some-model", "doubt": rule},
        "parameters": {"stability_score_offset": 1.0},
    }
    assert main(command(tmp_path)) == 0  # no failure
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line in lines:
        if "empty" in line:
            assert line == f"sub/empty.png: {NOTHING}"
        else:
            known = "0.72 on average; images that it is for give 0.95 or more"
            assert f"some-model is unsure of these masks ({known})" in line


def test_the_others_are_done_when_some_fail(
    tmp_path: Path, images: Any, capsys: Any, generator: Any
) -> None:
    (tmp_path / "in" / "aa.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")

    def fail(name: str, number: int) -> None:
        if name == "b.tif" and number == 2:
            raise ValueError("a library\nhas a problem")
        if name.endswith(".bmp"):
            raise MemoryError

    generator.before_step = fail
    assert main(command(tmp_path)) == 1
    err = capsys.readouterr().err
    assert {path.split("/")[0] for path in tree(tmp_path / "out")} == {"a", "sub"}
    end = err.partition("3 of 5 images failed:\n")[2].splitlines()
    assert len(end) == 3
    for line, (name, why) in zip(
        end,
        [
            ("aa.png", ""),
            ("b.tif", "unexpected ValueError (a library has a problem)"),
            ("sub/c.jpg.bmp", "not enough memory"),
        ],
        strict=True,
    ):
        assert str(tmp_path / "in" / name) in line
        assert why in line
        assert err.count(line.strip()) == 2


@pytest.mark.parametrize("form", IN_MEMORY)
def test_an_earlier_result_is_replaced_as_a_whole(
    tmp_path: Path, images: Any, painted: Any, form: str
) -> None:
    main(command(tmp_path, "--format", form))
    before = tree(tmp_path / "out")
    painted(tmp_path / "in" / "a.png", 9, spots=1)
    assert main(command(tmp_path, "--format", form)) == 0
    after = tree(tmp_path / "out")
    if form == "png":
        assert {n for n in after if n.startswith("a/")} == {
            "a/0.png",
            "a/metadata.csv",
            "a/run.json",
        }
        assert after["b/0.png"] == before["b/0.png"]
    elif form == "ome-zarr":
        assert set(after) == set(before)
        changed = {name for name in after if after[name] != before[name]}
        assert any("/labels/" in name for name in changed)
        assert all(name.startswith("a.ome.zarr/") for name in changed)
    else:
        assert set(after) == set(before)
        changed = {
            "rle": "a.json",
            "labels": "a.tif",
            "imagej": "a.zip",
            "geojson": "a.geojson",
            "coco": "annotations.json",
        }[form]
        assert after[changed] != before[changed]


@pytest.mark.parametrize("form", IN_MEMORY)
def test_skip_existing(
    tmp_path: Path, images: Any, painted: Any, generator: Any, capsys: Any, form: str
) -> None:
    words = command(tmp_path, "--format", form, "--skip-existing")
    (tmp_path / "in" / "sub").rename(tmp_path / "later")
    assert main(words) == 0
    before = tree(tmp_path / "out")
    (tmp_path / "later").rename(tmp_path / "in" / "sub")
    generator.seen.clear()
    assert main(words) == 0
    assert generator.seen == ["sub/c.jpg.bmp", "sub/empty.png"]
    after = tree(tmp_path / "out")
    if form == "coco":
        names = [i["file_name"] for i in json.loads(after["annotations.json"])["images"]]
        assert sorted(names) == sorted(images)
    else:
        assert before.items() <= after.items()
    generator.seen.clear()
    capsys.readouterr()
    assert main(words) == 0
    assert generator.seen == []
    assert "nothing to do" in capsys.readouterr().out
    assert tree(tmp_path / "out") == after


def test_a_damaged_dataset_is_not_continued(tmp_path: Path, images: Any, capsys: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotations.json").write_text("{")
    assert main(command(tmp_path, "--format", "coco", "--skip-existing")) == 2
    assert "move it away" in capsys.readouterr().err
    assert (tmp_path / "out" / "annotations.json").read_text() == "{"


@pytest.mark.parametrize("form", IN_MEMORY)
def test_ctrl_c_leaves_finished_images_whole(
    tmp_path: Path, images: Any, capsys: Any, generator: Any, form: str
) -> None:
    def interrupt(name: str, number: int) -> None:
        if name.endswith(".bmp") and number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    assert main(command(tmp_path, "--format", form, "--glob", "[ab].*")) == 0
    expected = set(tree(tmp_path / "out"))
    for path in sorted((tmp_path / "out").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    generator.before_step = interrupt
    assert main(command(tmp_path, "--format", form)) == 130
    assert set(tree(tmp_path / "out")) == expected
    if form == "coco":
        dataset = json.loads((tmp_path / "out" / "annotations.json").read_text())
        assert [image["file_name"] for image in dataset["images"]] == ["a.png", "b.tif"]
    assert "interrupted" in capsys.readouterr().err


def test_ctrl_c_does_not_replace_a_whole_dataset_by_a_part(
    tmp_path: Path, images: Any, generator: Any
) -> None:
    main(command(tmp_path, "--format", "coco"))
    before = tree(tmp_path / "out")

    def interrupt(name: str, number: int) -> None:
        if name == "b.tif":
            raise KeyboardInterrupt

    generator.before_step = interrupt
    assert main(command(tmp_path, "--format", "coco")) == 130
    assert tree(tmp_path / "out") == before


def test_ctrl_c_while_a_result_is_written_waits_for_it(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam_amg import formats

    write = formats.write_png_folder

    def slow(*args: Any, **keywords: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*args, **keywords)

    monkeypatch.setattr(formats, "write_png_folder", slow)
    handler = signal.getsignal(signal.SIGINT)
    assert main(command(tmp_path)) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert {path.split("/")[0] for path in tree(tmp_path / "out")} == {"a"}
    assert "a/metadata.csv" in tree(tmp_path / "out")


def test_a_second_ctrl_c_does_not_wait(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_sam_amg import formats

    reached: list[str] = []
    write = formats.write_png_folder

    def stuck(*args: Any, **keywords: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after the first")
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("after the second")
        write(*args, **keywords)

    monkeypatch.setattr(formats, "write_png_folder", stuck)
    handler = signal.getsignal(signal.SIGINT)
    assert main(command(tmp_path)) == 130
    assert reached == ["after the first"]
    assert signal.getsignal(signal.SIGINT) is handler
    assert tree(tmp_path / "out") == {}


def test_ctrl_c_that_is_ignored_stays_so_while_a_result_is_written(
    tmp_path: Path, images: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nohup and a shell's & ask for."""
    from napari_sam_amg import formats

    write = formats.write_png_folder

    def press(*args: Any, **keywords: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        write(*args, **keywords)

    monkeypatch.setattr(formats, "write_png_folder", press)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert main(command(tmp_path)) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
@pytest.mark.parametrize("more", [[], ["--skip-existing"]])
def test_a_folder_that_cannot_be_read_is_a_failure(
    tmp_path: Path,
    images: Any,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    quiet: list[str],
    more: list[str],
) -> None:
    scandir = os.scandir
    if more:
        main(command(tmp_path))

    def refuse(path: Any) -> Any:
        if str(path) == str(tmp_path / "in" / "sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    capsys.readouterr()
    assert main(command(tmp_path, *quiet, *more)) == 1
    err = capsys.readouterr().err
    line = f"FAILED {tmp_path / 'in' / 'sub'} cannot be read: permission denied\n"
    assert err.startswith(line)
    assert more or err.endswith(f"could not be looked into:\n  {line}")
    assert {"a", "b"} <= set(os.listdir(tmp_path / "out"))


@pytest.mark.parametrize("form", ["png", "coco"])
def test_a_result_that_cannot_be_written(
    tmp_path: Path, images: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    from napari_sam_amg import formats

    def full(masks: Any, path: Path, **keywords: Any) -> None:
        raise WriteError(f"{path} cannot be written: no space left")

    monkeypatch.setattr(formats, "write_png_folder", full)
    monkeypatch.setattr(formats, "write_coco", full)
    assert main(command(tmp_path, "--format", form)) == 1
    err = capsys.readouterr().err
    assert "no space left" in err
    assert ("4 of 4 images failed" in err) is (form == "png")


@pytest.mark.parametrize("size", ["2399", "2400"])
def test_size_limit(tmp_path: Path, images: Any, capsys: Any, size: str) -> None:
    assert main(command(tmp_path, "--max-pixels", size)) == (1 if size == "2399" else 0)
    assert ("40 x 60 pixels" in capsys.readouterr().err) is (size == "2399")


def test_output_in_a_place_that_cannot_be(tmp_path: Path, images: Any, capsys: Any) -> None:
    (tmp_path / "file").write_text("")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "file" / "out")]
    assert main(words) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_output_within_input_twice(tmp_path: Path, images: Any, generator: Any) -> None:
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "in"), "--recursive"]
    assert main(words) == 0
    first = tree(tmp_path)
    assert main(words) == 0
    assert set(tree(tmp_path)) == set(first)
    assert sorted(generator.seen) == sorted([*images, *images])
