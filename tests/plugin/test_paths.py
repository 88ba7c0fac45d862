"""Row 11: every form of a path, by every way that napari saves."""

from __future__ import annotations

import os

import pytest

from _path_forms import STEMS, assert_same, three_masks
from napari_sam_amg import read_coco, read_png_folder
from napari_sam_amg.plugin.layers import layer_tuple


@pytest.fixture
def masks():
    return three_masks()


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


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("save", [_by_layer, _by_list, _by_list_selected])
@pytest.mark.parametrize("plugin", ["napari-sam-amg", "napari-sam-amg.write_coco"])
def test_coco(viewer, masks, tmp_path, monkeypatch, stem, save, plugin):
    monkeypatch.chdir(tmp_path)
    path = f"{stem}.json"
    assert save(viewer, path, plugin)
    (found,) = read_coco(os.path.normpath(path)).values()
    assert_same(found, masks)


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
    assert_same(read_png_folder(os.path.normpath(stem)), masks)


@pytest.mark.parametrize("save", [_by_layer, _by_list])
def test_coco_without_naming_a_plugin(viewer, masks, tmp_path, save):
    """Only this plugin writes label layers as .json: napari finds it by the ending."""
    path = tmp_path / "masks.json"
    assert save(viewer, str(path), None) == [str(path)]
    (found,) = read_coco(path).values()
    assert_same(found, masks)
