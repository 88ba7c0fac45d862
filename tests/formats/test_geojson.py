"""GeoJSON as QuPath takes it, read by shapely."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
import shapely

from _scale import scaled
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.formats import geojson, write_geojson
from napari_sam_amg.masks import Masks

if TYPE_CHECKING:
    from pathlib import Path


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _features(path: Path) -> list[dict]:
    data = json.loads(path.read_text("ascii"), parse_constant=_refuse_constant)
    assert set(data) == {"type", "napari_sam_amg", "features"}
    assert data["napari_sam_amg"]["count"] == len(data["features"])
    assert data["type"] == "FeatureCollection"
    return data["features"]


def _written(masks: Masks, path: Path, **keywords) -> list[dict]:
    write_geojson(masks, path, **keywords)
    return _features(path)


def _measurements(features: list[dict], name: str) -> list[float | None]:
    return [feature["properties"]["measurements"].get(name) for feature in features]


@pytest.fixture
def pair() -> Masks:
    """Two overlapping masks: a square with a hole, and two pieces."""
    square, pieces = np.zeros((2, 6, 8), dtype=bool)
    square[:5, :5] = True
    square[2, 2] = False
    pieces[0, 1] = pieces[4:, 3:] = True
    return Masks.from_arrays(
        [square, pieces],
        predicted_iou=[0.5, np.nan],
        stability_score=[np.inf, 0.75],
        provenance={"source": "a.png"},
    )


def test_every_mask_comes_back_whole(random_masks, rng, tmp_path):
    kinds = set()
    for _ in range(scaled(100)):
        masks = random_masks(rng)
        features = _written(masks, tmp_path / "a.geojson")
        assert len(features) == len(masks)
        height, width = masks.shape
        y, x = np.mgrid[:height, :width] + 0.5
        for index, feature in enumerate(features):
            shape = shapely.from_geojson(json.dumps(feature["geometry"]))
            assert shape.is_valid
            assert shape.area == masks.areas[index]
            np.testing.assert_array_equal(shapely.contains_xy(shape, x, y), masks[index])
            kinds.add(shape.geom_type)
        assert len({feature["id"] for feature in features}) == len(masks)
    assert kinds == {"Polygon", "MultiPolygon"}


def test_the_file_itself(pair, tmp_path):
    first, second = _written(pair, tmp_path / "a.geojson")
    assert list(first) == ["type", "id", "geometry", "properties"]
    assert str(UUID(first["id"])) == first["id"]
    assert first["geometry"] == {
        "type": "Polygon",
        "coordinates": [
            [[0, 0], [5, 0], [5, 5], [0, 5], [0, 0]],
            [[2, 2], [2, 3], [3, 3], [3, 2], [2, 2]],
        ],
    }
    assert first["properties"] == {
        "objectType": "detection",
        "name": "1",
        "measurements": {"Predicted IoU": 0.5, "Area px^2": 24},
    }
    assert second["geometry"]["type"] == "MultiPolygon"
    assert second["geometry"]["coordinates"] == [
        [[[1, 0], [2, 0], [2, 1], [1, 1], [1, 0]]],
        [[[3, 4], [8, 4], [8, 6], [3, 6], [3, 4]]],
    ]
    assert second["properties"]["name"] == "2"
    assert second["properties"]["measurements"] == {"Stability score": 0.75, "Area px^2": 11}


def test_measurements_of_ones_own(pair, tmp_path):
    table = pd.DataFrame(
        {
            "label": ["not", "used"],
            "mean \u00b5": [1.5, np.nan],
            "ratio": np.array([-np.inf, 0.25], dtype=np.float32),
            "count": np.array([2**40, 0]),
            "bright": [True, False],
            "nullable": pd.array([None, 7], dtype="Int64"),
            7: [1, 2],
        },
        index=[9, 3],
    )
    features = _written(pair, tmp_path / "a.geojson", measurements=table)
    assert _measurements(features, "label") == [None, None]
    assert _measurements(features, "mean \u00b5") == [1.5, None]
    assert _measurements(features, "ratio") == [None, 0.25]
    assert _measurements(features, "count") == [2**40, 0]
    assert _measurements(features, "bright") == [1, 0]
    assert _measurements(features, "nullable") == [None, 7]
    assert _measurements(features, "7") == [1, 2]
    assert _measurements(features, "Area px^2") == [24, 11]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"a": [1.0]}), "1 rows for 2 masks; give one for each"),
        (pd.DataFrame({"a": [1.0, 2, 3]}), "3 rows for 2 masks"),
        (pd.DataFrame(), "0 rows for 2 masks"),
        (pd.DataFrame({"kind": ["x", "y"]}), "'kind' is of .*not of numbers; leave the column"),
        (pd.DataFrame({"c": [1j, 2]}), "'c' is of complex128"),
        (pd.DataFrame({"t": pd.to_datetime(["2020", "2021"])}), "'t' is of datetime64"),
        (pd.DataFrame([[1, 2], [3, 4]], columns=["a", "a"]), "'a' comes twice; rename"),
        (pd.DataFrame({"Area px^2": [1, 2]}), "comes twice"),
    ],
)
def test_measurements_that_do_not_fit(table, message, pair, tmp_path):
    (tmp_path / "a.geojson").write_bytes(b"old")
    with pytest.raises(ParameterError, match=message):
        write_geojson(pair, tmp_path / "a.geojson", measurements=table)
    assert (tmp_path / "a.geojson").read_bytes() == b"old"


def test_no_masks_make_an_empty_collection_under_any_name(tmp_path):
    path = tmp_path / "\u7d30\u80de \u00e9" / "\U0001f600.geojson"
    assert _written(Masks.empty((5, 5)), path) == []
    assert _written(Masks.empty((5, 5)), path, measurements=pd.DataFrame({"a": []})) == []


def test_ids_are_of_the_image_the_label_and_the_outline(pair, tmp_path):
    def ids(masks: Masks) -> list[str]:
        return [feature["id"] for feature in _written(masks, tmp_path / "a.geojson")]

    def of(source: object) -> Masks:
        return Masks(pair.store, pair.table, provenance={"source": source})

    before = ids(pair)
    assert ids(of("a.png")) == before
    others = [ids(of("b.png")), ids(of("caf\u00e9\udce9.png")), ids(of(None)), ids(pair[::-1])]
    assert len({*before, *(name for found in others for name in found)}) == 10


def test_the_same_masks_give_the_same_bytes(random_masks, rng, tmp_path):
    masks = random_masks(rng, count=5)
    write_geojson(masks, tmp_path / "a.geojson")
    write_geojson(masks, tmp_path / "b.geojson")
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()


def test_an_interruption_leaves_the_earlier_file(pair, tmp_path, monkeypatch):
    (tmp_path / "a.geojson").write_bytes(b"old")
    geometry, calls = geojson._geometry, []

    def interrupted(parts):
        calls.append(parts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return geometry(parts)

    monkeypatch.setattr(geojson, "_geometry", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_geojson(pair, tmp_path / "a.geojson")
    assert [path.name for path in tmp_path.iterdir()] == ["a.geojson"]
    assert (tmp_path / "a.geojson").read_bytes() == b"old"
