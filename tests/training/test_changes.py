"""Changed images stay what they were, and labels stay on their objects; the worst are chosen."""

from __future__ import annotations

import io

import imageio.v3 as iio
import numpy as np
import pytest
from scipy import ndimage

import gallery
from baseline import otsu_watershed
from changes import CHANGES, DARKEST, uneven
from held_out import Scene, kind, refuse_validation
from metrics import average_precision, iou_matrix
from napari_sam_amg.image import prepare_image
from scores import differences, recall, score, summary


@pytest.fixture(params=[(96, 120), (97, 121, 3)], ids=["grey", "colour"])
def scene(request) -> Scene:
    """Twelve bright discs on a dark ground."""
    shape = request.param[:2]
    y, x = np.indices(shape)
    centres = [(r, c) for r in (16, 48, 80) for c in (15, 45, 75, 105)]
    labels = np.zeros(shape, np.uint16)
    for number, (r, c) in enumerate(centres, 1):
        labels[np.hypot(y - r, x - c) < 10] = number
    image = ndimage.gaussian_filter((labels > 0) * 150.0, 0.7) + 30
    if len(request.param) == 3:
        image = image[..., None] * [1, 0.8, 0.9]
    return Scene("a.png", "f1", "dark", image.astype(np.uint8), labels)


@pytest.mark.parametrize("name", CHANGES)
def test_objects_stay_under_their_labels(name, scene):
    changed = CHANGES[name](scene)
    assert changed.image.shape[:2] == changed.labels.shape
    assert np.unique(changed.labels).tolist() == list(range(13))
    grey = changed.image.reshape(*changed.labels.shape, -1).mean(-1, dtype=np.float64)
    grey = ndimage.gaussian_filter(grey, 1) * (-1 if name == "inverted" else 1)
    for label, (rows, columns) in enumerate(ndimage.find_objects(changed.labels), 1):
        around = np.s_[
            max(0, rows.start - 3) : rows.stop + 3, max(0, columns.start - 3) : columns.stop + 3
        ]
        inside = grey[around] > (grey[around].min() + grey[around].max()) / 2
        true = changed.labels[around] == label
        assert (inside & true).sum() / (inside | true).sum() > 0.75
    again = CHANGES[name](scene)
    np.testing.assert_array_equal(again.image, changed.image)


def test_the_baseline_finds_discs(scene):
    found = otsu_watershed(scene.image)
    assert average_precision(iou_matrix(scene.labels, found), 0.75) == 1
    inverted = otsu_watershed(scene.image.max() - scene.image)
    assert average_precision(iou_matrix(scene.labels, inverted), 0.75) == 1


def test_what_the_changes_do(scene):
    sixteen = CHANGES["16 bit, offset and gain"](scene).image
    assert sixteen.dtype == np.uint16
    clean, other = (prepare_image(i, map_uint8=True).rgb for i in (scene.image, sixteen))
    np.testing.assert_array_equal(clean, other)
    ratio = uneven(scene).image / scene.image
    assert ratio.min() == pytest.approx(DARKEST, abs=0.01)
    assert ratio.max() == pytest.approx(1, abs=0.01)
    noise = CHANGES["noise, 10 % of the range"](scene).image - scene.image
    span = np.subtract(*np.percentile(scene.image, [99.9, 0.1]))
    assert noise.std() == pytest.approx(0.1 * span, rel=0.05)
    sizes = [CHANGES[f"{word} the size"](scene).labels.shape for word in ("half", "twice")]
    for size, factor in zip(sizes, (0.5, 2), strict=True):
        np.testing.assert_allclose(size, np.multiply(scene.labels.shape, factor), atol=0.5)


@pytest.mark.parametrize(
    ("look", "shape", "expected"),
    [
        ("dark", (520, 696), "fluorescence, 520x696"),
        ("dark", (603, 1272), "fluorescence, other sizes"),
        ("color", (256, 320), "stained tissue, colour"),
        ("bright", (1024, 1024), "brightfield, grey"),
        ("unknown", (9, 9), "unknown"),
    ],
)
def test_kinds(look, shape, expected):
    assert kind(look, shape) == expected


def test_nothing_is_chosen_on_val(tmp_path):
    refuse_validation(tmp_path / "train")
    (tmp_path / "link").symlink_to(tmp_path / "val")
    for path in (tmp_path / "val", tmp_path / "val" / "..", tmp_path / "link"):
        if path.name == "..":
            refuse_validation(path)
        else:
            with pytest.raises(SystemExit, match="val"):
                refuse_validation(path)


def test_scores_are_summed_up_by_group_and_size(scene):
    perfect = score(scene.labels, scene)
    half = score(np.where(scene.labels <= 6, scene.labels, 0), scene)
    rows = {"a": perfect, "b": half | {"field": "f2"}}
    found = summary(rows)
    assert found["all"]["AP50"][0] == found["fluorescence"]["AP50-95"][0] == 0.75
    assert found["all"]["fields"] == 2
    assert "the rest" not in found
    assert differences(rows, {"b": perfect})["all"]["AP75"][0] == -0.5
    count, share = recall(rows)["16 to 24"]
    assert (count, share[0]) == (24, 0.75)
    assert sum(number for number, _ in recall(rows).values()) == 24


def test_the_gallery_has_the_worst_image_of_each_field(scene):
    def row(field, precision, objects=3):
        return {"field": field, "precision": [precision] * 10, "objects": objects}

    rows = {
        "a": row("1", 0.5),
        "b": row("1", 0.2),
        "c": row("2", 0.3),
        "d": row("3", 0.9),
        "e": row("4", 0.0, objects=0),
    }
    assert gallery.worst(rows, 2) == ["b", "c"]
    rgb = prepare_image(scene.image, map_uint8=True).rgb
    data = gallery.encoded([("caption", scene, rgb, scene.labels)], 120)
    picture = iio.imread(io.BytesIO(data))[..., :3].astype(int)
    assert picture.shape[1] == 3 * 120 + 2 * gallery.GAP
    for panel, colour in ((1, gallery.TRUE), (2, gallery.FOUND)):
        near = (np.abs(picture - colour) < 12).all(-1)
        left = panel * (120 + gallery.GAP)
        assert near[:, left : left + 120].sum() > 200
        assert near.sum() == near[:, left : left + 120].sum()
