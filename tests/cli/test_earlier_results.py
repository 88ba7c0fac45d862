"""Whole runs over what is there already: results are replaced, everything else stays."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import roifile
import tifffile

from _runs import IN_MEMORY, command, tree
from napari_sam_amg import formats
from napari_sam_amg.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("generator")


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


FRAMES = {f"a/{number}.png": "frame" for number in range(4)}
TRUTH = {"annotations.json": '{"info": {}, "images": [], "annotations": [], "categories": [7]}'}


@pytest.mark.parametrize("skip", [[], ["--skip-existing"]])
@pytest.mark.parametrize(
    ("form", "files"),
    [
        ("png", FRAMES),
        ("rle", {"a.json": '{"cells": 12}'}),
        ("rle", {"a.run.json": "my notes"}),
        ("labels", {"a.tif": "raw data"}),
        ("imagej", {"a.zip": "an archive"}),
        ("geojson", {"a.geojson": '{"type": "FeatureCollection", "features": []}'}),
        ("coco", TRUTH),
        ("coco", {"annotations.json/kept.txt": "a folder"}),
    ],
)
def test_files_of_others_are_refused_before_anything_is_computed(
    tmp_path: Path,
    painted: Any,
    generator: Any,
    capsys: Any,
    form: str,
    files: dict[str, str],
    skip: list[str],
) -> None:
    painted(tmp_path / "in" / "a.png")
    fill(tmp_path / "out", files)
    before = tree(tmp_path)
    assert main(command(tmp_path, "--format", form, *skip)) == 2
    err = capsys.readouterr().err
    assert "is not an earlier result" in err
    assert "move it away" in err
    assert generator.seen == []
    assert tree(tmp_path) == before


def test_a_film_beside_an_image_of_its_name(tmp_path: Path, painted: Any) -> None:
    painted(tmp_path / "a.tif")
    fill(tmp_path, FRAMES)
    before = tree(tmp_path)
    assert main(["--input", str(tmp_path), "--output", str(tmp_path)]) == 2
    assert tree(tmp_path) == before


@pytest.mark.parametrize("form", IN_MEMORY)
@pytest.mark.parametrize("where", ["{folder}", "{folder}/*"])
def test_a_second_run_into_the_folder_of_the_images(
    tmp_path: Path, painted: Any, generator: Any, form: str, where: str
) -> None:
    names = ["a.png", "b.bmp"]
    for name in names:
        painted(tmp_path / name)
    words = ["--input", where.format(folder=tmp_path), "--output", str(tmp_path)]
    words += ["--format", form]
    for expected in (names, names + names):
        assert main(words) == 0
        assert generator.seen == expected
    assert main([*words, "--skip-existing"]) == 0
    assert generator.seen == names + names


def failing(*names: str) -> Callable[[str, int], None]:
    def fail(name: str, number: int) -> None:
        if name in names:
            raise ValueError("made to fail")

    return fail


@pytest.mark.parametrize("form", IN_MEMORY)
def test_an_image_that_fails_keeps_its_earlier_result(
    tmp_path: Path, painted: Any, generator: Any, form: str
) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        painted(tmp_path / "in" / name, seed)
    assert main(command(tmp_path, "--format", form)) == 0
    before = tree(tmp_path / "out")
    for seed, name in enumerate(("a.png", "b.png", "c.png"), start=7):
        painted(tmp_path / "in" / name, seed, spots=1)
    generator.before_step = failing("b.png")
    assert main(command(tmp_path, "--format", form)) == 1
    after = tree(tmp_path / "out")
    if form == "coco":
        old, new = (json.loads(files["annotations.json"]) for files in (before, after))
        assert [image["file_name"] for image in new["images"]] == ["a.png", "b.png", "c.png"]
        masks = [
            [a["segmentation"] for a in data["annotations"] if a["image_id"] == number]
            for data in (old, new)
            for number in (1, 2, 3)
        ]
        assert list(map(len, masks)) == [4, 4, 4, 1, 4, 1]
        assert masks[1] == masks[4]
    else:
        kept = {name: data for name, data in before.items() if name.startswith("b")}
        assert len(kept) >= 1
        assert kept.items() <= after.items()
        changed = {
            "png": "a/metadata.csv",
            "rle": "a.json",
            "labels": "a.tif",
            "ome-zarr": "a.ome.zarr/.zattrs",
            "imagej": "a.zip",
            "geojson": "a.geojson",
        }[form]
        assert after[changed] != before[changed]
    generator.before_step = failing("a.png", "b.png", "c.png")
    assert main(command(tmp_path, "--format", form)) == 1
    assert tree(tmp_path / "out") == after


def test_a_failed_image_that_was_never_there_is_left_out(
    tmp_path: Path, painted: Any, generator: Any
) -> None:
    for name in ("a.png", "b.png"):
        painted(tmp_path / "in" / name)
    generator.before_step = failing("a.png")
    for _ in range(2):
        assert main(command(tmp_path, "--format", "coco")) == 1
        assert list(formats.read_coco(tmp_path / "out" / "annotations.json")) == ["b.png"]


def test_entries_that_nobody_can_read_do_not_cost_the_new_ones(
    tmp_path: Path, painted: Any, generator: Any, caplog: Any
) -> None:
    for name in ("a.png", "b.png"):
        painted(tmp_path / "in" / name)
    fill(tmp_path / "out", {"annotations.json": '{"info": {"napari_sam_amg": {}}, "images": 5}'})
    generator.before_step = failing("a.png")
    assert main(command(tmp_path, "--format", "coco")) == 1
    assert list(formats.read_coco(tmp_path / "out" / "annotations.json")) == ["b.png"]
    assert "no entry of an earlier run is kept" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
@pytest.mark.parametrize("form", ["png", "rle", "labels", "imagej", "geojson"])
def test_a_result_of_this_run_is_not_replaced_by_another(
    tmp_path: Path, painted: Any, spots: Any, capsys: Any, form: str
) -> None:
    """As on a disk that takes two names for the same, for which links stand here."""
    image = painted(tmp_path / "in" / "a.png", 1)
    painted(tmp_path / "in" / "b.png", 2, spots=1)
    ends = {"png": "", "rle": ".json", "labels": ".tif", "imagej": ".zip", "geojson": ".geojson"}
    end = ends[form]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"b{end}").symlink_to(tmp_path / "out" / f"a{end}")
    assert main(command(tmp_path, "--format", form)) == 1
    err = capsys.readouterr().err
    assert f"FAILED {tmp_path / 'in' / 'b.png'}: " in err
    assert f"is the result of {tmp_path / 'in' / 'a.png'} in this run" in err
    target = tmp_path / "out" / f"a{end}"
    count = {
        "png": lambda: len(formats.read_png_folder(target)),
        "rle": lambda: len(formats.read_rle_json(target)),
        "labels": lambda: len(np.unique(tifffile.imread(target))),
        "imagej": lambda: len(roifile.roiread(target)),
        "geojson": lambda: len(json.loads(target.read_bytes())["features"]),
    }[form]()
    assert count == len(spots(image))


@pytest.mark.parametrize("form", IN_MEMORY)
def test_names_that_look_the_same(tmp_path: Path, painted: Any, form: str) -> None:
    for name in ("caf\u00e9.png", "cafe\u0301.png"):
        painted(tmp_path / "in" / name)
    if len(os.listdir(tmp_path / "in")) < 2:
        pytest.skip("this disk takes the two names for the same")
    assert main(command(tmp_path, "--format", form)) == 0
    if form == "coco":
        assert len(formats.read_coco(tmp_path / "out" / "annotations.json")) == 2
    else:
        assert len(os.listdir(tmp_path / "out")) == (4 if form == "rle" else 2)


@pytest.mark.parametrize(
    ("form", "length", "status"),
    [
        ("png", 251, 0),
        ("rle", 251, 1),
        ("rle", 246, 0),
        ("labels", 251, 0),
        ("imagej", 251, 0),
        ("geojson", 251, 1),
        ("geojson", 247, 0),
    ],
)
def test_a_name_as_long_as_can_be_is_one_failure_at_most(
    tmp_path: Path, painted: Any, capsys: Any, form: str, length: int, status: int
) -> None:
    name = "n" * length + ".png"
    (tmp_path / "out").mkdir()
    painted(tmp_path / "in" / name)
    painted(tmp_path / "in" / "o.png")
    assert main(command(tmp_path, "--format", form)) == status
    err = capsys.readouterr().err
    assert (f"1 of 2 images failed:\n  FAILED {tmp_path / 'in' / name}" in err) is bool(status)
    assert any(path.name.startswith("o") for path in (tmp_path / "out").iterdir())


@pytest.mark.parametrize("flag", ["--input", "--output"])
def test_a_path_that_is_too_long(tmp_path: Path, painted: Any, capsys: Any, flag: str) -> None:
    painted(tmp_path / "in" / "a.png")
    assert main(command(tmp_path, flag, str(tmp_path / ("n" * 304)))) == 2
    assert f"error: {flag} {tmp_path / ('n' * 304)}" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["in"]
