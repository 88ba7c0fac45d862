"""COCO datasets in the programs that read them, and datasets from elsewhere."""

from __future__ import annotations

import builtins
import contextlib
import copy
import io
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from napari_sam_amg.errors import ReadError, WriteError
from napari_sam_amg.formats import read_coco, read_rle_json, write_coco, write_rle_json
from napari_sam_amg.masks import Masks

# pycocotools 2.0.11 under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context")

SHAPE = (30, 40)


@pytest.fixture
def masks(random_masks) -> Masks:
    found = random_masks(np.random.default_rng(9), shape=SHAPE, count=6)
    assert np.isnan(found.predicted_iou).any()
    assert np.isinf(found.predicted_iou).any()
    return found


@pytest.fixture
def dataset(masks, tmp_path) -> Path:
    """A folder as datumaro wants it: images/ and annotations/instances_default.json."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for name in ("a.png", "b.png", "none.png"):
        Image.new("RGB", SHAPE[::-1]).save(tmp_path / "images" / name)
    items = {"a.png": masks, "b.png": masks[:2], "none.png": Masks.empty(SHAPE)}
    write_coco(items, tmp_path / "annotations" / "instances_default.json")
    write_coco(items, tmp_path / "polygons.json", segmentation="polygon")
    return tmp_path


def _full(masks: Masks) -> np.ndarray:
    return np.stack([masks[i] for i in range(len(masks))])


def test_the_file_itself(dataset, masks):
    data = json.loads((dataset / "annotations" / "instances_default.json").read_text("ascii"))
    assert list(data) == ["info", "licenses", "images", "categories", "annotations"]
    assert data["images"][0] == {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    (category,) = data["categories"]
    assert [a["id"] for a in data["annotations"]] == list(range(1, 9))
    assert [a["image_id"] for a in data["annotations"]] == [1] * 6 + [2] * 2
    assert [a["label"] for a in data["annotations"]] == [1, 2, 3, 4, 5, 6, 1, 2]
    assert {a["category_id"] for a in data["annotations"]} == {category["id"]}
    assert data["info"]["napari_sam_amg"]["images"]["a.png"]["provenance"] == masks.provenance
    features = masks.features
    for row, annotation in enumerate(data["annotations"][:6]):
        for name in ("area", "area_visible", "overlap_fraction", "touches_border", "parent"):
            assert annotation[name] == features[name][row]
        assert annotation["crop_box"] == masks.crop_boxes[row].tolist()
        score = annotation["predicted_iou"]
        assert annotation.get("score") == score
        assert ("score" in annotation) is not np.isnan(masks.predicted_iou[row])
        np.testing.assert_array_equal(
            np.float32(np.nan if score is None else np.clip(score, -1e38, 1e38)),
            np.clip(masks.predicted_iou[row], -1e38, 1e38).astype(np.float32),
        )


def test_torchvision(dataset, masks):
    from torchvision.datasets import CocoDetection

    with contextlib.redirect_stdout(io.StringIO()):
        found = CocoDetection(
            str(dataset / "images"), str(dataset / "annotations" / "instances_default.json")
        )
    assert len(found) == 3
    image, targets = found[0]
    assert image.size == SHAPE[::-1]
    np.testing.assert_array_equal(
        np.stack([coco_mask.decode(t["segmentation"]) for t in targets]), _full(masks)
    )
    assert found[2][1] == []


def test_supervision(dataset, masks):
    import supervision

    found = supervision.DetectionDataset.from_coco(
        images_directory_path=str(dataset / "images"),
        annotations_path=str(dataset / "annotations" / "instances_default.json"),
        force_masks=True,
    )
    detections = {Path(path).name: detections for path, _, detections in found}
    assert {name: len(d) for name, d in detections.items()} == {
        "a.png": 6, "b.png": 2, "none.png": 0,
    }  # fmt: skip
    np.testing.assert_array_equal(np.asarray(detections["a.png"].mask), _full(masks))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_datumaro(dataset, masks):
    import datumaro

    found = datumaro.Dataset.import_from(str(dataset), "coco")
    items = {item.id: item.annotations for item in found}
    assert set(items) == {"a", "b", "none"}
    shapes = [a for a in items["a"] if a.type == datumaro.AnnotationType.mask]
    shapes.sort(key=lambda annotation: annotation.id)
    np.testing.assert_array_equal(np.stack([a.image for a in shapes]), _full(masks))
    assert items["none"] == []


def test_polygons_in_pycocotools_keep_all_but_holes(dataset, masks):
    from scipy import ndimage

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(dataset / "polygons.json"))
    for row, annotation in enumerate(coco.loadAnns(coco.getAnnIds(1))):
        assert isinstance(annotation["segmentation"], list)
        np.testing.assert_array_equal(
            coco.annToMask(annotation),
            ndimage.binary_fill_holes(masks[row], structure=np.ones((3, 3))),
        )


def test_other_tools_may_reorder_and_drop(dataset, masks, assert_equal):
    path = dataset / "annotations" / "instances_default.json"
    data = json.loads(path.read_text())
    data["annotations"].reverse()
    data["images"].reverse()
    path.write_text(json.dumps(data))
    found = read_coco(path)
    assert list(found) == ["none.png", "b.png", "a.png"]
    assert_equal(found["a.png"], masks)
    del data["info"]
    data["annotations"] = [a for a in data["annotations"] if a["label"] != 2]
    path.write_text(json.dumps(data))
    found = read_coco(path)
    assert (len(found["a.png"]), len(found["b.png"])) == (5, 1)
    np.testing.assert_array_equal(found["a.png"][1], masks[2])


FOREIGN = {
    "images": [{"id": 7, "file_name": "x.jpg", "height": 10, "width": 12}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 7, "segmentation": {"size": [10, 12], "counts": [0, 5, 115]}},
        {"id": 2, "image_id": 7, "segmentation": [[1, 2, 6, 2, 6, 5, 1, 5], [8, 8, 10, 8, 10, 10]],
         "score": 0.5, "bbox": [1, 2, 9, 8], "iscrowd": 0},
        {"id": 3, "image_id": 7, "segmentation": {"size": [10, 12], "counts": [120]}},
    ],
}  # fmt: skip


def test_a_dataset_of_others(tmp_path, caplog):
    (tmp_path / "x.json").write_text(json.dumps(FOREIGN))
    found = read_coco(tmp_path / "x.json")["x.jpg"]
    assert len(found) == 2
    assert "left out 1 masks without pixels" in caplog.text
    rle = coco_mask.frPyObjects(FOREIGN["annotations"][1]["segmentation"][:1], 10, 12)
    part = coco_mask.decode(coco_mask.merge(rle)).astype(bool)
    np.testing.assert_array_equal(found[1][:7], part[:7])
    assert np.isnan(found.predicted_iou[0])
    assert found.predicted_iou[1] == 0.5
    assert found.crop_boxes.tolist() == [[0, 0, 12, 10]] * 2
    assert np.isnan(found.points).all()
    assert found.provenance == {}


def _with(path: str, value):
    """Return FOREIGN with one value replaced; `path` is keys and places, by slashes."""
    data = copy.deepcopy(FOREIGN)
    *parents, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
    node = data
    for key in parents:
        node = node[key]
    node[last] = value
    return data


RLE = "annotations/0/segmentation"
DATASETS = {
    "a list": ([], "is not a COCO dataset"),
    "text": ("x", "is not a COCO dataset"),
    "null": (None, "is not a COCO dataset"),
    "empty": ({}, "no list of images"),
    "images a dict": (_with("images", {}), "no list of images"),
    "no annotations": (_with("annotations", None), "no list of annotations"),
    "image a number": (_with("images/0", 1), "image 1 has no id"),
    "image without id": (_with("images/0", {"file_name": "x"}), "has no id"),
    "image id a list": (_with("images/0/id", []), "has no id"),
    "image id a bool": (_with("images/0/id", True), "has no id"),
    "file name a number": (_with("images/0/file_name", 5), "has no file name"),
    "file name missing": (_with("images/0", {"id": 7, "height": 1, "width": 1}), "no file name"),
    "same image twice": (_with("images", FOREIGN["images"] * 2), "of another image"),
    "no height": (_with("images/0/height", None), "image size"),
    "height 0": (_with("images/0/height", 0), "image size"),
    "height -1": (_with("images/0/height", -10), "image size"),
    "height text": (_with("images/0/height", "10"), "image size"),
    "height float": (_with("images/0/height", 10.5), "image size"),
    "huge": (_with("images/0", {"id": 7, "file_name": "x", "height": 10**6, "width": 10**6}),
             "pixels that are read"),
    "annotation a number": (_with("annotations/0", 3), "belongs to image None"),
    "other image": (_with("annotations/0/image_id", 8), "belongs to image 8"),
    "image id list": (_with("annotations/0/image_id", [7]), r"belongs to image \[7\]"),
    "image id dict": (_with("annotations/0/image_id", {}), "belongs to image"),
    "no segmentation": (_with("annotations/0", {"image_id": 7}), "expected size and counts"),
    "segmentation null": (_with(RLE, None), "expected size and counts"),
    "segmentation text": (_with(RLE, "x"), "expected size and counts"),
    "segmentation dict": (_with(RLE, {}), "expected size and counts"),
    "size 0 0": (_with(RLE, {"size": [0, 0], "counts": ""}), "positive"),
    "size swapped": (_with(RLE, {"size": [12, 10], "counts": [120]}), "but the image has"),
    "size bomb": (_with(RLE, {"size": [70_000, 70_000], "counts": [0, 4_900_000_000]}), "pixels"),
    "counts short": (_with(RLE + "/counts", [3, 4]), "add up to 7"),
    "counts negative": (_with(RLE + "/counts", [-3, 123]), "a run has -3"),
    "counts compressed damage": (_with(RLE + "/counts", "~~~~"), "characters"),
    "counts random": (_with(RLE + "/counts", "abc0123"), "annotation 1"),
    "polygon far": (_with(RLE, [[0, 0, 1e9, 1e9, 5, 5]]), "pixels away"),
    "polygon odd": (_with(RLE, [[0, 0, 1, 1, 5, 5, 7]]), "corners"),
    "polygon text": (_with(RLE, ["abc"]), "corners"),
    "polygon null": (_with(RLE, [None]), "corners"),
    "score text": (_with("annotations/1/score", "1"), "expected a number"),
    "score bool": (_with("annotations/1/score", True), "expected a number"),
    "score list": (_with("annotations/1/score", [1]), "expected a number"),
    "stability dict": (_with("annotations/1/stability_score", {}), "expected a number"),
    "point flat": (_with("annotations/1/point_coords", [1, 2]), "list of one point"),
    "point short": (_with("annotations/1/point_coords", [[1]]), "list of 2 numbers"),
    "point text": (_with("annotations/1/point_coords", [["1", 2]]), "expected a number"),
    "crop box short": (_with("annotations/1/crop_box", [1, 2, 3]), "list of 4 numbers"),
    "crop box empty": (_with("annotations/1/crop_box", []), "list of 4 numbers"),
    "crop box half": (_with("annotations/1/crop_box", [1, 2, 3, 0.5]), "whole numbers"),
    "crop box huge": (_with("annotations/1/crop_box", [1, 2, 3, 2**80]), "whole numbers"),
    "crop box nan": (_with("annotations/1/crop_box", [1, 2, 3, float("nan")]), "whole numbers"),
    "record a list": (_with("info", {"napari_sam_amg": {"images": {"x.jpg": [1]}}}), "damaged"),
    "rule": (_with("info", {"napari_sam_amg": {"images": {"x.jpg": {"overlap": 1}}}}), "rule"),
}  # fmt: skip


@pytest.mark.parametrize("name", DATASETS)
def test_damaged_datasets(name, tmp_path):
    data, message = DATASETS[name]
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ReadError, match=message) as caught:
        read_coco(tmp_path / "x.json")
    assert str(tmp_path / "x.json") in str(caught.value)


FILES = {
    "empty": (b"", "is not JSON"),
    "cut": (json.dumps(FOREIGN).encode()[:-5], "is not JSON"),
    "binary": (bytes(range(256)), "not UTF-8"),
    "utf-16": (json.dumps(FOREIGN).encode("utf-16"), "not UTF-8"),
    "deep": (b'{"images":' * 100_000, "nested too deep"),
    "deep lists": (b"[" * 1_000_000, "nested too deep"),
    "long number": (b'{"images": ' + b"1" * 10_000 + b"}", "absurd"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("reader", [read_coco, read_rle_json])
def test_what_is_no_json(name, reader, tmp_path):
    data, message = FILES[name]
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(ReadError, match=message):
        reader(tmp_path / "x.json")


@pytest.mark.parametrize("reader", [read_coco, read_rle_json])
@pytest.mark.parametrize(
    ("path", "message"), [("missing", "cannot be read"), (".", "not a file"), ("a\0b", "no name")]
)
def test_what_is_no_file(reader, path, message, tmp_path):
    with pytest.raises(ReadError, match=message):
        reader(f"{tmp_path}/{path}")


def test_a_file_beyond_the_cap_is_not_read(tmp_path, monkeypatch):
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**29 + 1)
    with pytest.raises(ReadError, match=r"536,870,913 bytes; at most 536,870,912"):
        read_coco(tmp_path / "x.json")


@pytest.mark.parametrize("kind", ["rle", "polygon"])
def test_the_limit_on_all_masks_together_is_exact(kind, tmp_path):
    size = [2000, 2000]
    shape = (
        {"size": size, "counts": [0, 4_000_000]}
        if kind == "rle"
        else [[0, 0, 2000, 0, 2000, 2000, 0, 2000]]
    )
    data = {
        "images": [
            {"id": n, "file_name": f"{n}", "height": 2000, "width": 2000} for n in range(2)
        ],
        "annotations": [{"image_id": n % 2, "segmentation": shape} for n in range(4)],
    }
    (tmp_path / "x.json").write_text(json.dumps(data))
    with pytest.raises(ReadError, match=r"more than 15,999,999 pixels together.*max_mask_pixels"):
        read_coco(tmp_path / "x.json", max_mask_pixels=15_999_999)
    found = read_coco(tmp_path / "x.json", max_mask_pixels=16_000_000)
    assert [len(m) for m in found.values()] == [2, 2]


@pytest.mark.parametrize("kind", ["rle", "polygon", "list"])
def test_a_small_file_of_huge_masks_takes_no_memory(kind, tmp_path):
    """At the real limit: what is refused is known before anything is unpacked."""
    side = 20_000
    size = [side, side]
    full = [[0, 0, side, 0, side, side, 0, side]]
    shape = full if kind == "polygon" else {"size": size, "counts": [0, side * side]}
    entries = [{"image_id": 1, "segmentation": shape}] * 22
    images = [{"id": 1, "file_name": "a", "height": side, "width": side}]
    data = entries if kind == "list" else {"images": images, "annotations": entries}
    (tmp_path / "x.json").write_text(json.dumps(data))
    tracemalloc.start()
    try:
        with pytest.raises(ReadError, match="more than 8,589,934,592 pixels together"):
            (read_rle_json if kind == "list" else read_coco)(tmp_path / "x.json")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("kind", ["coco", "list"])
def test_the_limit_on_an_image_is_an_argument(kind, tmp_path, masks):
    path = tmp_path / "x.json"
    if kind == "coco":
        write_coco({"a": masks}, path)
    else:
        write_rle_json(masks, path)
    reader = read_coco if kind == "coco" else read_rle_json
    with pytest.raises(ReadError, match=r"30 x 40 is more than the 1,199 pixels.*max_pixels"):
        reader(path, max_pixels=1199)
    assert len(reader(path, max_pixels=1200)) == (1 if kind == "coco" else 6)


@pytest.mark.parametrize("reader", [read_coco, read_rle_json])
@pytest.mark.parametrize("call", ["json.loads", "open"])
def test_more_than_memory_holds_is_refused(call, reader, tmp_path, monkeypatch):
    (tmp_path / "x.json").write_text(json.dumps(FOREIGN))

    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(json if call == "json.loads" else builtins, call.split(".")[-1], exhausted)
    with pytest.raises(ReadError, match="needs more memory to read than there is"):
        reader(tmp_path / "x.json")


@pytest.mark.parametrize("reader", [read_coco, read_rle_json])
def test_run_lengths_that_memory_does_not_hold(reader, tmp_path, monkeypatch):
    entries = [FOREIGN["annotations"][0]]
    data = entries if reader is read_rle_json else FOREIGN
    (tmp_path / "x.json").write_text(json.dumps(data))

    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr("napari_sam_amg.formats.rle._runs", exhausted)
    with pytest.raises(ReadError, match=r"(mask|annotation) 1 needs more memory"):
        reader(tmp_path / "x.json")


@pytest.mark.parametrize(
    "box",
    [
        {"segmentation": [], "bbox": [1, 2, 3, 4]},
        {"segmentation": []},
        {"bbox": [1, 2, 3, 4], "score": 0.5},
    ],
)
def test_an_annotation_that_is_only_a_box_is_left_out(box, tmp_path, caplog):
    data = copy.deepcopy(FOREIGN)
    data["annotations"].insert(1, {"id": 9, "image_id": 7, **box})
    (tmp_path / "x.json").write_text(json.dumps(data))
    found = read_coco(tmp_path / "x.json")["x.jpg"]
    np.testing.assert_array_equal(found.areas, _foreign(tmp_path).areas)
    assert "left out 1 annotations that have no mask, only a box" in caplog.text


def _foreign(folder: Path) -> Masks:
    (folder / "whole.json").write_text(json.dumps(FOREIGN))
    return read_coco(folder / "whole.json")["x.jpg"]


@pytest.mark.parametrize("name", ["", ".", "/", "..", "a\0b"])
def test_names_that_no_list_can_have(name, masks, tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    with pytest.raises(WriteError, match=r"no name of a file|is a folder"):
        write_rle_json(masks, name)
    assert [p.name for p in tmp_path.rglob("*")] == ["inside"]


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "\\\\server\\share", "C:\\x", "CON", "/dev/zero", "~/x"]
)
def test_file_names_are_never_opened(name, tmp_path, monkeypatch, masks):
    (tmp_path / "secret").write_text("x")
    write_coco({name: masks}, tmp_path / "folder.json")
    opened = []
    for module, call in ((builtins, "open"), (os, "open"), (io, "open"), (os, "stat")):
        real = getattr(module, call)

        def watched(path, *args, real=real, **keywords):
            opened.append(str(path))
            return real(path, *args, **keywords)

        monkeypatch.setattr(module, call, watched)
    (found,) = read_coco(tmp_path / "folder.json")
    write_coco({found: masks}, tmp_path / "again.json")
    monkeypatch.undo()
    assert found == name
    ours = [p for p in opened if str(tmp_path) in p]
    assert ours
    assert not [p for p in opened if name in p]


def test_rle_list_beside_the_record_of_another(tmp_path, masks, caplog):
    write_rle_json(masks, tmp_path / "x.json")
    write_rle_json(masks[:2], tmp_path / "y.json")
    (tmp_path / "y.run.json").replace(tmp_path / "x.run.json")
    found = read_rle_json(tmp_path / "x.json")
    assert len(found) == 6
    assert found.provenance == {}
    assert "belongs to another list" in caplog.text


def test_rle_list_is_what_amg_writes(tmp_path, masks):
    finite = masks[np.isfinite(masks.predicted_iou) & np.isfinite(masks.stability_score)]
    finite = finite[np.isfinite(finite.points).all(axis=1)]
    assert len(finite) >= 2
    write_rle_json(finite, tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == finite.records("coco_rle")


def test_rle_list_of_amg_is_read(tmp_path, masks):
    (tmp_path / "x.json").write_text(json.dumps(masks.records("coco_rle")))
    found = read_rle_json(tmp_path / "x.json")
    np.testing.assert_array_equal(_full(found), _full(masks))
    np.testing.assert_array_equal(found.predicted_iou, masks.predicted_iou)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "size of its image is unknown"),
        ({}, "not a list of masks"),
        ([1], "not a list of masks"),
        ([{}], "mask 1 has no run lengths"),
        ([{"segmentation": {"size": [0, 0], "counts": ""}}], "mask 1: image size"),
        ([{"segmentation": {"size": [2, 2], "counts": [1]}}], "mask 1: runs add up to 1"),
        ([{"segmentation": {"size": [2, 2], "counts": [4]}, "crop_box": 5}], "4 numbers"),
    ],
)
def test_damaged_rle_lists(content, message, tmp_path):
    (tmp_path / "x.json").write_text(json.dumps(content))
    with pytest.raises(ReadError, match=message):
        read_rle_json(tmp_path / "x.json")
