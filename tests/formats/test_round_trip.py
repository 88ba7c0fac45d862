"""Row 7: everything that is written comes back, whatever the masks and names are."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from _scale import scaled
from napari_sam_amg import formats
from napari_sam_amg.errors import ParameterError, ReadError, WriteError

FILE_NAMES = [
    "plain.tif",
    "n\u00e4me \u65e5\u672c\u8a9e \U0001f600.png",
    "e\u0301 decomposed",
    "CON",
    "nul.png",
    "COM1.tif",
    "a" * 255,
    "\u00e9" * 127,
    'quo"te.png',
    "apo'strophe",
    "new\nline\r\n",
    "tab\t",
    "\tstarts with a tab",
    "\rstarts with a return",
    "=HYPERLINK(1)",
    "+1",
    "-1",
    "@SUM(A1)",
    " spaces ",
    "trailing.",
    "%s{0}$HOME`id`",
    "<script>",
    "not text \udcff",
    "-rf",
]
NOT_FOR_FOLDERS = [
    "../../etc/passwd",
    "/etc/passwd",
    "C:\\Windows\\x.png",
    "\\\\server\\share\\x.png",
    "sub/folder/x.png",
    "..",
    "",
    "nul\0l",
    "b" * 5000,
]
ALL_NAMES = FILE_NAMES + NOT_FOR_FOLDERS
GROUPS = 10
CASES = scaled(2000) // GROUPS


def _tree(path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in path.iterdir()}


def _loaded(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.parametrize("group", range(GROUPS))
def test_png_folders(group, tmp_path, random_masks, assert_equal):
    rng = np.random.default_rng([1, group])
    for case in range(CASES):
        name = FILE_NAMES[(group * CASES + case) % len(FILE_NAMES)]
        masks = random_masks(rng)
        first, second = (tmp_path / f"{case}-{n}" / name for n in "ab")
        formats.write_png_folder(masks, first)
        found = formats.read_png_folder(first)
        assert_equal(found, masks)
        formats.write_png_folder(found, second)
        assert _tree(first) == _tree(second)
        assert first.parent.name + "/" + name == str(first.relative_to(tmp_path))


@pytest.mark.parametrize("segmentation", ["rle", "polygon"])
@pytest.mark.parametrize("group", range(GROUPS))
def test_coco_datasets(group, segmentation, tmp_path, random_masks, assert_equal):
    rng = np.random.default_rng([2, group])
    for case in range(CASES):
        names = rng.choice(len(ALL_NAMES), int(rng.integers(4)), replace=False)
        items = {ALL_NAMES[n]: random_masks(rng) for n in names}
        first, second = tmp_path / f"{case}.json", tmp_path / f"{case}-again.json"
        formats.write_coco(items, first, segmentation=segmentation)
        found = formats.read_coco(first)
        assert list(found) == list(items)
        for name, masks in items.items():
            assert_equal(found[name], masks)
        formats.write_coco(found, second, segmentation=segmentation)
        assert first.read_bytes() == second.read_bytes()

        coco = _loaded(first)
        assert [image["file_name"] for image in coco.dataset["images"]] == list(items)
        assert sorted(coco.anns) == list(range(1, sum(map(len, items.values())) + 1))
        if segmentation == "polygon":
            continue
        for image, masks in zip(coco.imgs.values(), items.values(), strict=True):
            assert (image["height"], image["width"]) == masks.shape
            for row, annotation in enumerate(coco.loadAnns(coco.getAnnIds(image["id"]))):
                np.testing.assert_array_equal(coco.annToMask(annotation), masks[row])
                assert annotation["label"] == row + 1
                assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
                assert annotation["area"] == coco_mask.area(annotation["segmentation"])


@pytest.mark.parametrize("group", range(GROUPS))
def test_rle_lists(group, tmp_path, random_masks, assert_equal):
    rng = np.random.default_rng([3, group])
    for case in range(CASES):
        masks = random_masks(rng, provenance={"not text": "\udcff"})
        first, second = tmp_path / f"{case}.json", tmp_path / f"{case}-again.json"
        formats.write_rle_json(masks, first)
        found = formats.read_rle_json(first)
        assert_equal(found, masks)
        formats.write_rle_json(found, second)
        assert first.read_bytes() == second.read_bytes()
        pair = [p.with_suffix(".run.json").read_bytes() for p in (first, second)]
        assert pair[0] == pair[1]


@pytest.mark.parametrize("group", range(3))
def test_label_images(group, tmp_path, random_masks):
    rng = np.random.default_rng([4, group])
    for case in range(CASES):
        masks = random_masks(rng)
        first, second = tmp_path / f"{case}.tif", tmp_path / f"{case}-again.tif"
        for path in (first, second):
            formats.write_labels(masks, path)
        found = formats.read_labels(first)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, masks.to_labels())
        assert formats.read_label_provenance(first) == masks.provenance
        assert formats.read_label_features(first).equals(masks.features)
        assert first.read_bytes() == second.read_bytes()


def _with_table(path: Path, masks, change) -> None:
    """Write a label image, whose table of features is changed."""
    table = {name: column.tolist() for name, column in masks.features.items()}
    record = {"shape": list(masks.shape), "features": change(table)}
    description = "napari-sam-amg run: " + json.dumps(record)
    tifffile.imwrite(path, masks.to_labels(), description=description, metadata=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: None, "holds no table"),
        (lambda table: [1], "not the columns"),
        (lambda table: {**table, "more": []}, "not the columns"),
        (lambda table: {**table, "label": 1}, "label is not a list"),
        (lambda table: {**table, "area": table["area"][1:]}, "differ in length"),
        (lambda table: {**table, "area": ["=1+1", 2, 3]}, "area holds '=1"),
        (lambda table: {**table, "area": [1.5, 2, 3]}, "area holds 1.5; expected int64"),
        (lambda table: {**table, "area": [2**63, 2, 3]}, "beyond int64"),
        (lambda table: {**table, "touches_border": [0, 1, 0]}, "expected bool"),
        (lambda table: {**table, "predicted_iou": [True, 1, 0]}, "expected float64"),
    ],
)
def test_damaged_tables_of_label_images(change, message, tmp_path, random_masks):
    masks = random_masks(np.random.default_rng(10), count=3)
    _with_table(tmp_path / "x.tif", masks, change)
    with pytest.raises(ReadError, match=message):
        formats.read_label_features(tmp_path / "x.tif")


def test_a_label_image_of_others_has_no_table(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.ones((3, 4), dtype=np.uint16))
    assert formats.read_label_provenance(tmp_path / "x.tif") == {}
    with pytest.raises(ReadError, match="holds no table of masks; only label images of ours"):
        formats.read_label_features(tmp_path / "x.tif")
    with pytest.raises(ReadError, match="3 x 4 pixels, more than the 11 "):
        formats.read_labels(tmp_path / "x.tif", max_pixels=11)


def test_no_cell_of_the_table_is_text(tmp_path, random_masks):
    rng = np.random.default_rng(5)
    for case in range(50):
        formats.write_png_folder(random_masks(rng), tmp_path / f"{case}")
        lines = (tmp_path / f"{case}" / "metadata.csv").read_text("ascii").splitlines()
        for line in lines[1:]:
            # A spreadsheet takes "-1" for a number and "=1" for a formula.
            assert all(repr(float(cell)) for cell in line.split(","))


@pytest.mark.parametrize("kind", ["coco", "rle", "png"])
def test_json_is_standard_and_ascii(kind, tmp_path, random_masks):
    masks = random_masks(
        np.random.default_rng(6),
        count=7,
        provenance={"bad": [np.nan, np.inf], "numpy": np.float32(0.5), "many": np.arange(3)},
    )
    if kind == "png":
        formats.write_png_folder(masks, tmp_path / "x")
        files = [tmp_path / "x" / "run.json"]
    else:
        writer = formats.write_rle_json if kind == "rle" else None
        if writer:
            writer(masks, tmp_path / "x.json")
        else:
            formats.write_coco({"x": masks}, tmp_path / "x.json")
        files = list(tmp_path.glob("*.json"))

    def refuse(name):
        raise AssertionError(name)

    for file in files:
        data = json.loads(file.read_bytes().decode("ascii"), parse_constant=refuse)
        assert data
    reader = {"png": formats.read_png_folder, "rle": formats.read_rle_json}.get(kind)
    found = (
        reader(tmp_path / "x.json" if kind == "rle" else tmp_path / "x")
        if reader
        else (formats.read_coco(tmp_path / "x.json")["x"])
    )
    assert found.provenance["bad"] == [None, 1e39]
    assert found.provenance["numpy"] == 0.5
    assert found.provenance["many"] == [0, 1, 2]
    np.testing.assert_array_equal(found.predicted_iou, masks.predicted_iou)


@pytest.mark.parametrize("writer", ["coco", "rle", "png"])
def test_provenance_that_is_no_json_is_refused(writer, tmp_path, random_masks):
    masks = random_masks(np.random.default_rng(7), provenance={"a": {1, 2}})
    with pytest.raises(WriteError, match="not JSON"):
        {
            "coco": lambda: formats.write_coco({"a": masks}, tmp_path / "a"),
            "rle": lambda: formats.write_rle_json(masks, tmp_path / "a"),
            "png": lambda: formats.write_png_folder(masks, tmp_path / "a"),
        }[writer]()
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_comes_twice_is_refused(tmp_path, random_masks):
    masks = random_masks(np.random.default_rng(8))
    with pytest.raises(ParameterError, match="comes twice"):
        formats.write_coco([("a", masks), ("b", masks), ("a", masks)], tmp_path / "x.json")
    with pytest.raises(ParameterError, match="pass a str"):
        formats.write_coco([(Path("a"), masks)], tmp_path / "x.json")
    with pytest.raises(ParameterError, match="'rle' or 'polygon'"):
        formats.write_coco({"a": masks}, tmp_path / "x.json", segmentation="polygons")
    assert list(tmp_path.iterdir()) == []
