"""Row 11: every form of a path, by every way that napari saves."""

from __future__ import annotations

import os

import numpy as np
import pytest

from napari_sam_amg import Masks, read_coco, read_png_folder
from napari_sam_amg.plugin.layers import layer_tuple

STEMS = [
    "plain",
    "with space",
    "ünïcödé",
    "日本語",
    "a'quote",
    'a"double',
    "per%cent",
    "hash#tag",
    "plus+minus-",
    "(brackets)[square]",
    "comma,semi;colon",
    "dot.ted",
    "two.dots.here",
    "UPPER",
    "-leading-dash",
    "=formula",
    "~tilde",
    "$dollar",
    "am&persand",
    "trailing ",
    "x" * 120,
    "new/folder/below",
    "./relative/../up",
    "emoji 🔬",
    ".hidden",
]


@pytest.fixture
def masks():
    arrays = np.zeros((3, 30, 40), bool)
    arrays[0, 2:12, 3:15], arrays[1, 5:20, 10:30], arrays[2, 22:28, 1:9] = True, True, True
    return Masks.from_arrays(arrays, predicted_iou=np.array([0.9, 0.8, 0.7], np.float32))


@pytest.fixture
def viewer(masks):
    from napari.components import ViewerModel
    from napari.layers import Labels
    from npe2 import PluginManager

    PluginManager.instance().discover(include_npe1=False)
    viewer = ViewerModel()
    data, meta, _ = layer_tuple(masks, name="cells")
    viewer.add_layer(Labels(data, **meta))
    return viewer


def _by_layer(viewer, path, plugin):
    return viewer.layers["cells"].save(path, plugin=plugin)


def _by_list(viewer, path, plugin):
    return viewer.layers.save(path, plugin=plugin)


def _by_list_selected(viewer, path, plugin):
    viewer.layers.selection.active = viewer.layers["cells"]
    return viewer.layers.save(path, selected=True, plugin=plugin)


def _equal(found: Masks, masks: Masks) -> None:
    assert len(found) == len(masks)
    for one, other in zip(found, masks, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.predicted_iou, masks.predicted_iou)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("save", [_by_layer, _by_list, _by_list_selected])
@pytest.mark.parametrize("plugin", ["napari-sam-amg", "napari-sam-amg.write_coco"])
def test_coco(viewer, masks, tmp_path, monkeypatch, stem, save, plugin):
    monkeypatch.chdir(tmp_path)
    path = f"{stem}.json"
    assert save(viewer, path, plugin)
    (found,) = read_coco(os.path.normpath(path)).values()
    _equal(found, masks)


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("save", [_by_layer, _by_list])
@pytest.mark.parametrize("slash", ["", "/"])
def test_png_folder(viewer, masks, tmp_path, monkeypatch, stem, save, slash):
    monkeypatch.chdir(tmp_path)
    plugin = "napari-sam-amg.write_png_folder"
    name = stem.rpartition("/")[2]
    if "." in name.strip("."):  # napari takes what follows for an extension, and says so
        with pytest.warns(UserWarning, match="not a valid writer"):
            assert not save(viewer, stem + slash, plugin)
        assert list(tmp_path.iterdir()) == []
        return
    assert save(viewer, stem + slash, plugin)
    _equal(read_png_folder(os.path.normpath(stem)), masks)
