"""What counts as an earlier result, so may be replaced, skipped and is no image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_sam_amg import formats
from napari_sam_amg.cli.existing import is_result, is_result_file
from napari_sam_amg.cli.inputs import Source, find_images
from napari_sam_amg.cli.outputs import check_targets, is_done, targets
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.formats.png_folder import HEADER
from napari_sam_amg.masks import Masks

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("png", "rle", "labels", "imagej", "geojson", "coco")
NAMES = {
    "png": "a",
    "rle": "a.json",
    "labels": "a.tif",
    "imagej": "a.zip",
    "geojson": "a.geojson",
    "coco": "annotations.json",
}


def write(form: Any, folder: Path, masks: Masks) -> None:
    path = folder / NAMES[form]
    if form == "png":
        formats.write_png_folder(masks, path)
    elif form == "rle":
        formats.write_rle_json(masks, path)
    elif form == "labels":
        formats.write_labels(masks, path)
    elif form == "imagej":
        formats.write_imagej_rois(masks, path)
    elif form == "geojson":
        formats.write_geojson(masks, path)
    else:
        formats.write_coco({"a.png": masks}, path)


def masks_of(count: int) -> Masks:
    arrays = np.zeros((count, 20, 30), bool)
    for number in range(count):
        arrays[number, number : number + 4, 5:9] = True
    return Masks.from_arrays(list(arrays), shape=(20, 30), predicted_iou=[0.9] * count)


def check(folder: Path, form: Any) -> None:
    check_targets(
        [Source(folder / "in" / "a.png", "a.png")],
        output=folder,
        output_format=form,
        tables=(),
    )


def done(folder: Path, form: Any) -> bool:
    return is_done(
        Source(folder / "in" / "a.png", "a.png"), output=folder, output_format=form, tables=()
    )


@pytest.mark.parametrize("count", [0, 2])
@pytest.mark.parametrize("form", FORMATS)
def test_our_own_results_are_known(tmp_path: Path, form: Any, count: int) -> None:
    assert not is_result(tmp_path / NAMES[form], form)
    assert not done(tmp_path, form)
    write(form, tmp_path, masks_of(count))
    assert is_result(tmp_path / NAMES[form], form)
    check(tmp_path, form)
    assert done(tmp_path, form) is (form != "coco")
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert all(map(is_result_file, files))
    assert len(files) == {"png": 0, "rle": 2}.get(form, 1)


def test_results_of_amg_py_may_be_replaced(tmp_path: Path) -> None:
    record = {"segmentation": {"size": [20, 30], "counts": "PPPP0"}, "area": 1}
    record |= {"bbox": [0, 0, 1, 1], "predicted_iou": 0.9, "stability_score": 0.9}
    record |= {"point_coords": [[1, 1]], "crop_box": [0, 0, 30, 20]}
    (tmp_path / "a.json").write_text(json.dumps([record, record]))
    check(tmp_path, "rle")
    # Without the record of the run it is no complete result of ours.
    assert not done(tmp_path, "rle")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").write_bytes(b"")
    (tmp_path / "a" / "metadata.csv").write_text(HEADER + "\n")
    check(tmp_path, "png")


def _raw(path: Path, **keywords: Any) -> None:
    tifffile.imwrite(path, np.arange(600, dtype=np.uint16).reshape(20, 30), **keywords)


def _frames(path: Path) -> None:
    path.mkdir()
    for number in range(4):
        (path / f"{number}.png").write_bytes(b"frame")


FOREIGN: dict[str, tuple[str, Any]] = {
    "frames": ("png", lambda folder: _frames(folder / "a")),
    "a file in place of a folder": ("png", lambda folder: (folder / "a").write_text("mine")),
    "annotations by hand": ("rle", lambda f: (f / "a.json").write_text('{"cells": 12}')),
    "a list of numbers": ("rle", lambda f: (f / "a.json").write_text("[1, 2]")),
    "COCO detections": (
        "rle",
        lambda f: (f / "a.json").write_text(
            '[{"image_id": 1, "category_id": 1, "segmentation": {}, "score": 0.5}]'
        ),
    ),
    "no JSON": ("rle", lambda f: (f / "a.json").write_text("notes")),
    "a folder in place of a list": ("rle", lambda f: (f / "a.json").mkdir()),
    "settings beside": ("rle", lambda f: (f / "a.run.json").write_text('{"speed": 3}')),
    "a raw image": ("labels", lambda f: _raw(f / "a.tif")),
    "a raw image with a text": ("labels", lambda f: _raw(f / "a.tif", description="exposure 3")),
    "a big raw image": ("labels", lambda f: _raw(f / "a.tif", bigtiff=True, byteorder=">")),
    "no TIFF": ("labels", lambda f: (f / "a.tif").write_bytes(b"napari-sam-amg run: {}")),
    "a TIFF cut short": ("labels", lambda f: (f / "a.tif").write_bytes(b"II*\0\x08\0\0\0\xff")),
    "a TIFF of nothing": ("labels", lambda f: (f / "a.tif").write_bytes(b"MM\0*")),
    "ground truth": (
        "coco",
        lambda f: (f / "annotations.json").write_text(
            '{"info": {}, "images": [], "annotations": [], "categories": [{"id": 7}]}'
        ),
    ),
    "a dataset without info": (
        "coco", lambda f: (f / "annotations.json").write_text('{"images": []}'),
    ),
    "our key without content": (
        "coco", lambda f: (f / "annotations.json").write_text('{"info": {"napari_sam_amg": 1}}'),
    ),
    "a folder in place of a dataset": ("coco", lambda f: (f / "annotations.json").mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_result_is_neither_replaced_nor_skipped(tmp_path: Path, name: str) -> None:
    form, make = FOREIGN[name]
    make(tmp_path)
    with pytest.raises(ParameterError, match=r"not an earlier result.*move it away"):
        check(tmp_path, form)
    assert not done(tmp_path, form)
    assert not any(map(is_result_file, tmp_path.iterdir()))


def test_a_list_by_hand_is_not_ours_by_the_record_beside_it(tmp_path: Path) -> None:
    write("rle", tmp_path, masks_of(2))
    (tmp_path / "a.json").write_text('{"cells": 12}')
    with pytest.raises(ParameterError, match=r"a\.json would be replaced"):
        check(tmp_path, "rle")
    assert not done(tmp_path, "rle")


@pytest.mark.parametrize(
    ("form", "broken"),
    [("png", "a/metadata.csv"), ("rle", "a.run.json"), ("labels", "a.tif")],
)
def test_what_is_not_whole_is_not_done(tmp_path: Path, form: Any, broken: str) -> None:
    write(form, tmp_path, masks_of(2))
    assert done(tmp_path, form)
    (tmp_path / broken).unlink()
    assert not done(tmp_path, form)


def test_an_empty_folder_is_free_but_nothing_done(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    check(tmp_path, "png")
    assert not done(tmp_path, "png")


def test_a_folder_that_cannot_be_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("png", tmp_path, masks_of(1))

    def refuse(folder: Path, _form: str) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("napari_sam_amg.cli.outputs.foreign_files", refuse)
    with pytest.raises(ParameterError, match=r"cannot be looked into \(Permission denied\)"):
        check(tmp_path, "png")


@pytest.mark.parametrize("form", ["rle", "labels", "imagej", "geojson"])
def test_a_name_that_is_too_long_is_left_for_the_writer(tmp_path: Path, form: Any) -> None:
    source = Source(tmp_path / "in" / ("n" * 251 + ".png"), "n" * 251 + ".png")
    check_targets([source], output=tmp_path, output_format=form, tables=())
    assert not is_done(source, output=tmp_path, output_format=form, tables=())
    assert len(targets(source, output=tmp_path, output_format=form, tables=())[-1].name) >= 255


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_mark_is_found_in_every_kind_of_tiff(tmp_path: Path, big: bool, order: str) -> None:
    text = formats.label_tiff._MARK + "{}"
    _raw(tmp_path / "a.tiff", description=text, bigtiff=big, byteorder=order, metadata=None)
    assert is_result_file(tmp_path / "a.tiff")
    _raw(tmp_path / "b.tiff", description="x" + text, bigtiff=big, byteorder=order, metadata=None)
    assert not is_result_file(tmp_path / "b.tiff")


@pytest.mark.parametrize("where", ["{folder}", "{folder}/*", "{folder}/**/*", "{folder}/[!.]*/*"])
def test_no_result_is_taken_for_an_image(tmp_path: Path, where: str) -> None:
    """Whether a folder is given or a pattern, and whatever it lies in."""
    for folder in (tmp_path, tmp_path / "earlier"):
        folder.mkdir(exist_ok=True)
        for form in FORMATS:
            write(form, folder, masks_of(1))
        _raw(folder / "raw.tif")
        for hidden in (".b.png", ".c/b.png", "b.png.tmp-1-2/0.png"):
            (folder / hidden).parent.mkdir(exist_ok=True)
            _raw(folder / hidden)
    found = find_images(
        [where.format(folder=tmp_path)], output=tmp_path / "out", recursive=True, pattern=None
    )
    deep = "**" in where or "*" not in where
    names = {"raw.tif"} if where.endswith("r}/*") else {"earlier/raw.tif"}
    assert {s.name for s in found.images} == names | ({"raw.tif"} if deep else set())


@pytest.mark.parametrize("where", ["{folder}/*/*.png", "{folder}/**/*.png", "{folder}"])
@pytest.mark.parametrize("output", ["out", "."])
def test_what_is_in_the_output_is_no_image(tmp_path: Path, where: str, output: str) -> None:
    for name in ("in/a.png", "out/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _raw(tmp_path / name)
    found = find_images([where.format(folder=tmp_path)], output=tmp_path / output, recursive=True)
    expected = ["in/a.png"] if output == "out" else ["in/a.png", "out/b.png"]
    assert [source.name for source in found.images] == expected
