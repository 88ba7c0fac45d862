"""Where a result lies comes back from a file; files of others are left to others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam_amg import Masks
from napari_sam_amg.plugin.layers import layer_metadata, layer_tuple
from napari_sam_amg.plugin.placement import PLANE, placement
from napari_sam_amg.plugin.planes import displayed_plane

PLACES = {
    "scaled": {"scale": (0.325, 0.65), "units": ("um", "um")},
    "moved": {"translate": (1000.1, -3e6), "scale": (1e-3, 1e-3)},
    "turned": {"rotate": 33.3, "scale": (0.2, 0.7)},
    "sheared": {"shear": [0.4], "rotate": -12, "translate": (1, 2)},
    "by affine": {"affine": [[0, 2, 5], [-1, 0.5, 7], [0, 0, 1]], "axis_labels": ("y", "x")},
}


def _masks() -> Masks:
    arrays = np.zeros((2, 30, 40), bool)
    arrays[0, 2:12, 3:15], arrays[1, 5:20, 10:30] = True, True
    return Masks.from_arrays(arrays, predicted_iou=np.array([0.9, 0.8], np.float32))


@pytest.fixture(autouse=True)
def _plugins():
    from npe2 import PluginManager

    PluginManager.instance().discover(include_npe1=False)


def _save(layer, place, kind):
    path = place / ("masks.json" if kind == "coco" else "masks")
    assert layer.save(str(path), plugin=f"napari-sam-amg.write_{kind}")
    files = [path] if kind == "coco" else sorted(path.iterdir())
    return path, [file.read_bytes() for file in files]


@pytest.mark.parametrize("kind", ["coco", "png_folder"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_saved_layer_comes_back_where_it_lay(tmp_path, kind, place, ndim):
    keywords = dict(PLACES[place])
    shape = (30, 40)
    if ndim == 3:
        shape = (5, 30, 40)
        for name, more in (("scale", 2.0), ("translate", 9.0)):
            if name in keywords:
                keywords[name] = (more, *keywords[name])
        for name, more in (("units", "um"), ("axis_labels", "z")):
            if name in keywords:
                keywords[name] = (more, *keywords[name])
        if "affine" in keywords:
            whole = np.eye(4)
            whole[1:, 1:] = keywords["affine"]
            keywords["affine"] = whole
        if "rotate" in keywords:
            turn = np.deg2rad(keywords["rotate"])
            keywords["rotate"] = np.eye(3)
            keywords["rotate"][1:, 1:] = [
                [np.cos(turn), -np.sin(turn)],
                [np.sin(turn), np.cos(turn)],
            ]
        if "shear" in keywords:
            keywords["shear"] = (0, 0, *keywords["shear"])
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros(shape), **keywords)
    if ndim == 3:
        viewer.dims.set_current_step(0, 3)
    plane = displayed_plane(image, viewer)
    masks = _masks()
    masks.provenance[PLANE] = plane.provenance()
    layer = Labels(
        plane.placed(masks.to_labels()), metadata=layer_metadata(masks), **plane.keywords
    )
    path, first = _save(layer, tmp_path, kind)
    (again,) = ViewerModel().open(str(path), plugin="napari-sam-amg")
    assert again.data.shape == layer.data.shape
    for position in np.ndindex(*(3,) * ndim):
        np.testing.assert_allclose(
            again.data_to_world(position), layer.data_to_world(position), rtol=1e-12, atol=1e-9
        )
    assert again.units == layer.units
    assert again.axis_labels == layer.axis_labels
    assert _save(again, tmp_path, kind)[1] == first
    if place == "scaled":
        np.testing.assert_allclose(
            again.features["area_um2"], again.features["area"] * 0.325 * 0.65
        )


def test_a_layer_moved_by_hand_is_saved_where_it_is_now(tmp_path):
    data, meta, _ = layer_tuple(_masks(), name="cells")
    layer = Labels(data, **meta)
    layer.translate = (7, 8)
    path, _ = _save(layer, tmp_path, "coco")
    (again,) = ViewerModel().open(str(path), plugin="napari-sam-amg")
    np.testing.assert_array_equal(again.translate, (7, 8))
    assert PLANE not in layer.metadata["napari_sam_amg"]  # what the layer says is left alone


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {},
        {"index": [None] * 40},
        {"index": [None, 0]},
        {"index": [None, None], "scale": [1, "x"]},
        {"index": [None, None], "scale": [1, 1, 1]},
        {"index": [None, None], "translate": [1, float("inf")]},
        {"index": [None, None], "affine": [[1]]},
        {"index": [None, None], "units": ["um"]},
        {"index": [None, None], "rotate": [[[1]]]},
        {"index": [None, None], "rotate": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
        {"index": [None, None], "scale": [0, 1]},
        {"index": [None, None], "units": ["foo", "foo"]},
        {"index": [None, None], "units": ["3 um", "*"]},
        {"index": [None, None], "scale": [10**400, 1]},
    ],
)
def test_a_place_that_makes_no_sense_is_left_out(wrong):
    masks = _masks()
    masks.provenance[PLANE] = json.loads(json.dumps(wrong))
    assert placement(masks) == ((slice(None), slice(None)), {})
    data, meta, _ = layer_tuple(masks, name="x")
    assert Labels(data, **meta).data.shape == (30, 40)


@pytest.mark.parametrize("name", ["x.tif", "x.png", "x.npy", "x.csv"])
def test_files_of_others_are_left_to_napari(tmp_path, name):
    from npe2 import PluginManager

    (tmp_path / name).write_bytes(b"")
    readers = list(PluginManager.instance().iter_compatible_readers([str(tmp_path / name)]))
    assert [reader.plugin_name for reader in readers] == ["napari"]
