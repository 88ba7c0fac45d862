"""The label image as OME-Zarr, and as napari shows it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from napari_sam_amg.large import plane, segment_large
from napari_sam_amg.large.pyramid import Pyramid

TILES = {"tile_size": 100, "tile_halo": 25, "points_per_side": 6}


def test_napari_shows_a_small_plane_too(pretend, mosaic, tmp_path):
    from napari.layers import Labels

    result = segment_large(pretend(**TILES), mosaic[:120, :160], tmp_path / "out")
    levels, keywords, _ = result.layer()
    layer = Labels(levels, **keywords)
    assert not layer.multiscale
    np.testing.assert_array_equal(layer.data, result.masks().to_labels())


@pytest.mark.parametrize("shape", [(300, 200), (64, 64), (65, 1), (1, 200), (129, 31)])
def test_levels_are_every_second_pixel(tmp_path, shape):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
    pyramid = Pyramid(
        tmp_path / "labels", shape, chunk=16, pixel_size=(0.5, 0.25), unit="micrometer"
    )
    for top in range(0, shape[0], 16):
        pyramid.write(image[top : top + 16])
    group = zarr.open_group(tmp_path / "labels" / "masks", mode="r")
    described = group.attrs["ome"]["multiscales"][0]["datasets"]
    for level, dataset in enumerate(described):
        array = group[dataset["path"]]
        np.testing.assert_array_equal(array[:], image[:: 2**level, :: 2**level])
        assert array.chunks == (16, 16)
        (transformation,) = dataset["coordinateTransformations"]
        assert transformation == {"type": "scale", "scale": [0.5 * 2**level, 0.25 * 2**level]}
    assert max(group[described[-1]["path"]].shape) <= 16
    assert len(described) == 1 or max(group[described[-2]["path"]].shape) > 16


def test_the_label_image_is_ome_zarr(pretend, mosaic, tmp_path, monkeypatch):
    """Against what version 0.5 of the specification asks of labels."""
    monkeypatch.setattr(plane, "CHUNK", 64)
    segment_large(pretend(**TILES), mosaic, tmp_path / "out", pixel_size=(0.5, 0.4))
    folder = tmp_path / "out" / "labels"
    group = json.loads((folder / "zarr.json").read_bytes())
    assert (group["zarr_format"], group["node_type"]) == (3, "group")
    assert group["attributes"]["ome"] == {"version": "0.5", "labels": ["masks"]}
    ome = json.loads((folder / "masks" / "zarr.json").read_bytes())["attributes"]["ome"]
    assert ome["version"] == "0.5"
    assert "image-label" in ome
    (multiscale,) = ome["multiscales"]
    assert multiscale["axes"] == [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
    ]
    assert len(multiscale["datasets"]) == 4
    for dataset in multiscale["datasets"]:
        array = json.loads((folder / "masks" / dataset["path"] / "zarr.json").read_bytes())
        assert array["node_type"] == "array"
        assert array["data_type"] == "uint32"
        assert array["dimension_names"] == ["y", "x"]


def test_napari_shows_a_lazy_labels_layer(pretend, mosaic, tmp_path, monkeypatch):
    from napari.layers import Labels

    monkeypatch.setattr(plane, "CHUNK", 64)
    result = segment_large(pretend(**TILES), mosaic, tmp_path / "out", pixel_size=0.5)
    levels, keywords, kind = result.layer()
    assert kind == "labels"
    assert not any(isinstance(level, np.ndarray) for level in levels)
    layer = Labels(levels, **keywords)
    assert layer.multiscale
    assert layer.scale.tolist() == [0.5, 0.5]
    y, x = np.argwhere(np.asarray(levels[0]))[40]
    label = int(np.asarray(levels[0])[y, x])
    assert layer.get_value((y / 2, x / 2), world=True) is not None
    row = layer.features.iloc[label]
    assert (row["index"], row["label"]) == (label, label)
    assert row["area"] == result.masks().areas[label - 1]
    assert layer.features.iloc[0]["label"] == 0
    assert len(layer.features) == result.count + 1
    assert layer.metadata["napari_sam_amg"]["parameters"]["tile_size"] == 100


def test_napari_opens_the_folder(pretend, mosaic, tmp_path):
    from napari_sam_amg.plugin.readers import get_reader

    result = segment_large(pretend(**TILES), mosaic[:120, :160], tmp_path / "out")
    folder = str(tmp_path / "out")
    ((data, keywords, kind),) = get_reader(folder)(folder)
    assert kind == "labels"
    assert keywords["name"] == "out"
    assert not isinstance(data, np.ndarray)  # pixels are read as they come into view
    np.testing.assert_array_equal(np.asarray(data), result.masks().to_labels())
    assert len(keywords["features"]) == len(result.table) + 1
    (tmp_path / "out" / "run.json").unlink()  # a run that is not finished is no result
    assert get_reader(folder) is None
