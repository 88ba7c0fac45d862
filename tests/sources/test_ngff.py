"""OME-Zarr from anywhere: collections, damage, and what would run code."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from napari_sam_amg.errors import ImageError
from napari_sam_amg.sources import open_source
from napari_sam_amg.sources.ngff import images_in, is_ome_zarr

if TYPE_CHECKING:
    from pathlib import Path

DATA = np.arange(2 * 9 * 11, dtype=np.uint16).reshape(2, 9, 11)


def group(folder: Path, version: str, **attributes: Any) -> None:
    form = 2 if version == "0.4" else 3
    made = zarr.open_group(folder, mode="a", zarr_format=form)
    made.attrs.update(attributes if form == 2 else {"ome": {"version": version, **attributes}})


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_plate(version: str, tmp_path: Path, ngff: Any) -> None:
    plate = tmp_path / "p.ome.zarr"
    wells = ("A/1", "A/2", "B/1")
    group(plate, version, plate={"wells": [{"path": well} for well in wells]})
    for well in wells:
        fields = [{"path": "0"}, {"path": "1"}]
        group(plate / well, version, well={"images": fields})
        for field in ("0", "1"):
            if (well, field) != ("B/1", "1"):  # was not recorded
                ngff(plate / well / field, DATA, "ZYX", version=version)
    assert is_ome_zarr(plate)
    assert images_in(plate) == ["A/1/0", "A/1/1", "A/2/0", "A/2/1", "B/1/0"]
    assert images_in(plate / "A" / "2") == ["0", "1"]
    with pytest.raises(ImageError, match=r"collection of 5 images.*A/1/0, A/1/1, A/2/0 \.\.\."):
        open_source(plate)
    np.testing.assert_array_equal(open_source(plate / "B" / "1" / "0").data[...], DATA)


@pytest.mark.parametrize("listed", [None, ["0", "1"]])
def test_a_series_of_bioformats2raw(listed: Any, tmp_path: Path, ngff: Any) -> None:
    group(tmp_path / "s", "0.4", **{"bioformats2raw.layout": 3})
    if listed:
        group(tmp_path / "s" / "OME", "0.4", series=listed)
    for name in ("0", "1"):
        ngff(tmp_path / "s" / name, DATA, "ZYX")
    assert images_in(tmp_path / "s") == ["0", "1"]


def test_an_image_is_its_own(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "ZYX")
    assert images_in(tmp_path / "x") == ["."]
    assert not is_ome_zarr(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc", "a/../../b", ""])
def test_paths_that_lead_out(name: str, tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "secret", DATA, "ZYX")
    group(tmp_path / "s", "0.4", well={"images": [{"path": name}]})
    with pytest.raises(ImageError, match="is damaged"):
        images_in(tmp_path / "s")
    ngff(tmp_path / "x", DATA, "ZYX")
    change(tmp_path / "x", path=name or "../x/0")
    with pytest.raises(ImageError, match="is damaged or not there"):
        open_source(tmp_path / "x")


def change(folder: Path, *, path: str | None = None, axes: Any = None) -> None:
    attributes = json.loads((folder / ".zattrs").read_text())
    multiscale = attributes["multiscales"][0]
    if path is not None:
        multiscale["datasets"][0]["path"] = path
    if axes is not None:
        multiscale["axes"] = axes
    (folder / ".zattrs").write_text(json.dumps(attributes))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ([{"name": "p"}, {"name": "y"}, {"name": "x"}], "has the axes p, y, x"),
        ([{"name": "y"}, {"name": "x"}, {"name": "z"}], "has the axes y, x, z"),
        ([{"name": "z"}, {"name": "z"}, {"name": "x"}], "has the axes z, z, x"),
        ([{"name": "y"}, {"name": "x"}], "lack axes or datasets"),
        ([], "lack axes or datasets"),
        ("zyx?", "."),
        (7, "lack axes or datasets"),
    ],
)
def test_axes_that_mean_nothing(axes: Any, said: str, tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "ZYX")
    change(tmp_path / "x", axes=axes)
    with pytest.raises(ImageError, match=said):
        open_source(tmp_path / "x")


def test_axes_by_their_type(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "CYX")
    axes = [{"name": "wave", "type": "channel"}, {"name": "y"}, {"name": "x"}]
    change(tmp_path / "x", axes=axes)
    assert open_source(tmp_path / "x").axes == "CYX"
    change(tmp_path / "x", axes=["z", "y", "x"])
    assert open_source(tmp_path / "x").axes == "ZYX"
    with pytest.raises(ImageError, match="leave it out for OME-Zarr"):
        open_source(tmp_path / "x", axes="TYX")


@pytest.mark.parametrize("key", ["compressor", "filters"])
@pytest.mark.parametrize("codec", ["pickle", "json2", "msgpack2"])
def test_codecs_that_do_more_than_pack_numbers(
    codec: str, key: str, tmp_path: Path, ngff: Any
) -> None:
    ngff(tmp_path / "x", DATA, "ZYX")
    path = tmp_path / "x" / "0" / ".zarray"
    metadata = json.loads(path.read_text())
    metadata[key] = {"id": codec} if key == "compressor" else [{"id": codec}]
    path.write_text(json.dumps(metadata))
    with pytest.raises(ImageError, match=f"packed with {codec}|damaged or not there"):
        open_source(tmp_path / "x")


def test_a_chunk_that_takes_all_memory(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "ZYX")
    path = tmp_path / "x" / "0" / ".zarray"
    metadata = json.loads(path.read_text())
    metadata["chunks"] = [1 << 12, 1 << 12, 1 << 12]
    path.write_text(json.dumps(metadata))
    with pytest.raises(ImageError, match="has chunks of 137,438,953,472 bytes"):
        open_source(tmp_path / "x")


@pytest.mark.parametrize("name", [".zattrs", "0/.zarray"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"multiscales": 3}', b"\xff\xfe"])
def test_damage(name: str, content: bytes, tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "ZYX")
    (tmp_path / "x" / name).write_bytes(content)
    with pytest.raises(ImageError, match="x"):
        open_source(tmp_path / "x")


WORDS = [None, -1, [], {}, "x", 10**20, True, [None], {"type": "scale"}]


@pytest.mark.parametrize("value", WORDS, ids=repr)
@pytest.mark.parametrize("key", ["axes", "datasets", "coordinateTransformations", "multiscales"])
def test_descriptions_that_make_no_sense(key: str, value: Any, tmp_path: Path, ngff: Any) -> None:
    """Either it does not matter, or it is an error of ours."""
    ngff(tmp_path / "x", DATA, "ZYX", channels=["a"])
    path = tmp_path / "x" / ".zattrs"
    attributes = json.loads(path.read_text())
    (attributes if key == "multiscales" else attributes["multiscales"][0])[key] = value
    path.write_text(json.dumps(attributes))
    if key == "coordinateTransformations" and value in ([], {}, ""):
        np.testing.assert_array_equal(open_source(tmp_path / "x").data[...], DATA)
        return
    with pytest.raises(ImageError) as caught:
        open_source(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder, not an image, and no OME-Zarr"):
        open_source(tmp_path)


def test_shards_and_packed_chunks(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", DATA, "ZYX", version="0.5")
    group = zarr.open_group(tmp_path / "x", mode="a", zarr_format=3)
    del group["0"]
    packed = zarr.codecs.BloscCodec(cname="zstd")
    words: dict[str, Any] = {"chunks": (1, 4, 4), "shards": (2, 12, 12), "compressors": packed}
    group.create_array("0", shape=DATA.shape, dtype=DATA.dtype, **words)[...] = DATA
    found = [plane.read() for plane in open_source(tmp_path / "x").planes()]
    np.testing.assert_array_equal(np.stack(found), DATA)
