"""Save in napari, open again, save again."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg import Masks, read_coco, read_png_folder
from napari_sam_amg.errors import WriteError
from napari_sam_amg.plugin.layers import MASKS, layer_tuple

NAMES = ["plain", "with space", "ünï", "dot.ted", "deep/er/still"]


@pytest.fixture
def masks() -> Masks:
    rng = np.random.default_rng(5)
    arrays = []
    for _ in range(6):
        y, x = rng.integers(0, 20, 2)
        array = np.zeros((40, 50), bool)
        array[y : y + 15, x : x + 20] = True
        arrays.append(array)
    return Masks.from_arrays(
        arrays,
        predicted_iou=rng.random(6).astype(np.float32),
        provenance={"source": "field 3.tif"},
    )


@pytest.fixture
def viewer(masks, npe2pm_):
    from napari.components import ViewerModel
    from napari.layers import Labels

    viewer = ViewerModel()
    data, meta, _ = layer_tuple(masks, name="cells")
    viewer.add_layer(Labels(data, **meta))
    return viewer


@pytest.fixture
def npe2pm_():
    from npe2 import PluginManager

    manager = PluginManager.instance()
    manager.discover(include_npe1=False)
    manager.enable("napari-sam-amg") if "napari-sam-amg" in manager._disabled_plugins else None
    return manager


def _equal(a: Masks, b: Masks) -> None:
    assert len(a) == len(b) > 0
    assert all((a[i] == b[i]).all() for i in range(len(a)))
    np.testing.assert_array_equal(a.predicted_iou, b.predicted_iou)


@pytest.mark.parametrize("name", NAMES)
def test_coco_round_trip_through_napari(viewer, masks, tmp_path, name):
    path = tmp_path / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    assert viewer.layers["cells"].save(str(path), plugin="napari-sam-amg")
    _equal(read_coco(path)["field 3.tif"], masks)
    before = path.read_bytes()
    viewer.layers.clear()
    viewer.open(str(path), plugin="napari-sam-amg")
    (layer,) = viewer.layers
    _equal(layer.metadata[MASKS], masks)
    assert layer.save(str(path), plugin="napari-sam-amg")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["plain", "with space", "ünï"])
def test_png_round_trip_through_napari(viewer, masks, tmp_path, name):
    path = tmp_path / name
    assert viewer.layers["cells"].save(str(path), plugin="napari-sam-amg.write_png_folder") == [
        str(path)
    ]
    _equal(read_png_folder(path), masks)
    before = {p.name: p.read_bytes() for p in path.iterdir()}
    viewer.layers.clear()
    viewer.open(str(path), plugin="napari-sam-amg")
    (layer,) = viewer.layers
    assert layer.save(str(path), plugin="napari-sam-amg.write_png_folder")
    assert {p.name: p.read_bytes() for p in path.iterdir()} == before


def test_several_layers_become_one_dataset(viewer, masks, tmp_path):
    from napari.layers import Labels

    data, meta, _ = layer_tuple(masks, name="again")
    viewer.add_layer(Labels(data, **meta))
    foreign = np.zeros((9, 9), int)
    foreign[2:4, 2:4] = 5
    viewer.add_layer(Labels(foreign, name="by hand"))
    path = tmp_path / "all.json"
    assert viewer.layers.save(str(path), plugin="napari-sam-amg")
    found = read_coco(path)
    assert list(found) == ["field 3.tif", "field 3.tif (2)", "by hand"]
    assert found["by hand"].areas.tolist() == [4]


def test_nothing_of_others_is_overwritten(viewer, tmp_path):
    from napari_sam_amg.plugin.writers import write_png_folder

    file = tmp_path / "mine.txt"
    file.write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "mine.txt").write_text("x")
    layer = viewer.layers["cells"]
    meta = {"name": layer.name, "metadata": layer.metadata}
    for target in (file, folder):
        with pytest.raises(WriteError):
            write_png_folder(str(target), layer.data, meta)
    assert file.read_text() == (folder / "mine.txt").read_text() == "x"
