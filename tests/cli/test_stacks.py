"""Stacks through the command line: results of every form, read back by tifffile and zarr."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image
from scipy import ndimage

from _ome_set import write_set
from _runs import command, tree
from napari_sam_amg import formats
from napari_sam_amg.cli import main
from napari_sam_amg.models.profiles import InputProfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(3)
SIZES = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 2.0, "TimeIncrement": 3.0}


def spots(shape: tuple[int, ...], dtype: Any = np.uint8) -> np.ndarray:
    """Return a stack with other bright rectangles in each plane."""
    data = np.full((*shape, 40, 60), 10, dtype)
    for number, place in enumerate(np.ndindex(*shape)):
        for i in range(number % 4):
            height, width = RNG.integers(2, 8, 2)
            data[place][i * 12 : i * 12 + height, 5 + i * 15 : 5 + i * 15 + width] = 200 + i
    return data


def write(path: Path, data: np.ndarray, axes: str, **metadata: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(path, data, metadata={"axes": axes, **metadata}, **words)


def labelled(plane: np.ndarray) -> np.ndarray:
    """Label the spots as `SpotGenerator` and smallest-on-top do, by SciPy."""
    return ndimage.label(plane > 127)[0]


@pytest.mark.parametrize("axes", ["ZYX", "TYX", "TZYX", "ZTYX"])
def test_labels_of_a_stack(tmp_path: Path, generator: Any, axes: str) -> None:
    data = spots((2, 3)[-(len(axes) - 2) :])
    write(tmp_path / "in" / "a.tif", data, axes, **SIZES)
    assert main(command(tmp_path, "--format", "labels")) == 0
    ordered = np.moveaxis(data, 1, 0) if axes == "ZTYX" else data
    expected = np.stack([labelled(p) for p in ordered.reshape(-1, 40, 60)]).reshape(ordered.shape)
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tiff:
        (series,) = tiff.series
        assert series.axes == "".join(sorted(axes[:-2])) + "YX"
        assert series.dtype == np.uint16
        np.testing.assert_array_equal(series.asarray(), expected)
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    for name, size in SIZES.items():
        wanted = name[-1] in axes if name[-1] in "XYZ" else "T" in axes
        assert pixels.get(name) == (size if wanted else None)
    from napari_sam_amg.sources import open_source

    source = open_source(tmp_path / "out" / "a.tif")
    assert source.sides == (0.25, 0.5)


def test_every_plane_is_one_of_the_stack(tmp_path: Path, generator: Any) -> None:
    """The names that planes have, and what the model is given of each."""
    data = spots((2, 3))
    write(tmp_path / "in" / "a.tif", data, "TZYX")
    assert main(command(tmp_path, "--format", "labels")) == 0
    names = [f"a_t{t:03}_z{z:03}.tif" for t in range(2) for z in range(3)]
    assert generator.seen == names


@pytest.mark.parametrize("form", ["png", "rle", "imagej", "geojson", "coco"])
def test_other_formats_have_a_result_for_each_plane(
    tmp_path: Path, generator: Any, form: str
) -> None:
    data = spots((2, 2))
    write(tmp_path / "in" / "s" / "a.tif", data, "TZYX")
    assert main(command(tmp_path, "--format", form)) == 0
    stems = [f"a_t{t:03}_z{z:03}" for t in range(2) for z in range(2)]
    out = tmp_path / "out" / "s"
    if form == "coco":
        found = formats.read_coco(tmp_path / "out" / "annotations.json")
        assert list(found) == [f"s/{stem}.tif" for stem in stems]
    else:
        ends = {"png": "", "rle": ".json", "imagej": ".zip", "geojson": ".geojson"}
        assert {p.name for p in out.iterdir() if ".run" not in p.name} == {
            stem + ends[form] for stem in stems
        }
    if form in ("png", "rle", "coco"):
        for number, stem in enumerate(stems):
            masks = (
                found[f"s/{stem}.tif"]
                if form == "coco"
                else formats.read_png_folder(out / stem)
                if form == "png"
                else formats.read_rle_json(out / f"{stem}.json")
            )
            plane = data[number // 2, number % 2]
            np.testing.assert_array_equal(masks.to_labels(), labelled(plane))
            assert masks.provenance["plane"] == {
                "axes": "TZYX",
                "shape": [2, 2, 40, 60],
                "T": number // 2,
                "Z": number % 2,
            }


@pytest.mark.parametrize(
    ("words", "planes"),
    [
        (["--z", "1"], [(0, 1), (1, 1)]),
        (["--z", "0:2", "--t", "1"], [(1, 0), (1, 1)]),
        (["--z", "::2"], [(0, 0), (0, 2), (1, 0), (1, 2)]),
    ],
)
def test_ranges(tmp_path: Path, generator: Any, words: list[str], planes: Any) -> None:
    data = spots((2, 3))
    write(tmp_path / "in" / "a.tif", data, "TZYX", **SIZES)
    assert main(command(tmp_path, "--format", "labels", *words)) == 0
    assert generator.seen == [f"a_t{t:03}_z{z:03}.tif" for t, z in planes]
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tiff:
        found = tiff.asarray().reshape(-1, 40, 60)
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        record = json.loads(
            tifffile.xml2dict(tiff.ome_metadata)["OME"]["StructuredAnnotations"][
                "CommentAnnotation"
            ]["Value"]
        )
    np.testing.assert_array_equal(found, [labelled(data[place]) for place in planes])
    assert pixels["PhysicalSizeZ"] == (4.0 if words[1] == "::2" else 2.0)
    assert [(p["T"], p["Z"]) for p in record["planes"]] == planes
    assert [p["count"] for p in record["planes"]] == [
        formats_count(data[place]) for place in planes
    ]


def formats_count(plane: np.ndarray) -> int:
    count = int(ndimage.label(plane > 127)[1])
    return count + 1 if count > 1 else count


CHANNELS = {"Channel": {"Name": ["DAPI", "GFP"]}}


def test_a_channel_must_be_chosen(tmp_path: Path, generator: Any, capsys: Any) -> None:
    data = spots((2, 2))
    write(tmp_path / "in" / "a.tif", data, "CZYX", **CHANNELS)
    assert main(command(tmp_path)) == 1
    assert "has 2 channels: 0 (DAPI), 1 (GFP); choose the one" in capsys.readouterr().err
    for words in (["--channel", "1"], ["--channel", "GFP"]):
        assert main(command(tmp_path, "--format", "labels", *words)) == 0
        found = tifffile.imread(tmp_path / "out" / "a.tif")
        np.testing.assert_array_equal(found, [labelled(plane) for plane in data[1]])


def test_axes_must_be_given_where_the_file_has_none(
    tmp_path: Path, generator: Any, capsys: Any
) -> None:
    data = spots((3,))
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", data, photometric="minisblack")
    assert main(command(tmp_path, "--format", "labels")) == 1
    assert "--axes ZYX" in capsys.readouterr().err
    assert main(command(tmp_path, "--format", "labels", "--axes", "tyx")) == 0
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tiff:
        assert tiff.series[0].axes == "TYX"
    assert main(command(tmp_path, "--axes", "XYZ")) == 2
    assert "--axes='XYZ': give different letters" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--brightness", "plane"], ["--contrast", "5", "300"]])
def test_one_contrast_for_the_whole_stack(
    tmp_path: Path, generator: Any, words: list[str]
) -> None:
    data = RNG.integers(0, 4000, (2, 3, 40, 60)).astype(np.uint16)
    write(tmp_path / "in" / "a.tif", data, "CZYX")
    more = ["--channel", "1", "--z", "0:2", "--min-area", "3"]
    assert main(command(tmp_path, *more, *words)) == 0
    if words:
        assert generator.configurations == []
        return
    ordered = np.sort(data[1], axis=None)
    last = ordered.size - 1
    low, high = ordered[int(np.floor(last * 0.001))], ordered[int(np.ceil(last * 0.999))]
    assert generator.configurations == [{"contrast": (low, high), "min_area": 3}]


def test_bytes_are_seen_as_they_are(tmp_path: Path, generator: Any) -> None:
    """But by a model that maps them too."""
    write(tmp_path / "in" / "a.tif", spots((2,)), "ZYX")
    assert main(command(tmp_path)) == 0
    assert generator.configurations == []
    generator.info.profile = InputProfile(map_uint8=True, percentiles=(0, 100))
    assert main(command(tmp_path)) == 0
    assert generator.configurations == [{"contrast": (10.0, 200.0)}]


@pytest.mark.parametrize("source", ["tif", "zarr"])
def test_ome_zarr_out(
    tmp_path: Path, generator: Any, ngff: Callable[..., None], source: str
) -> None:
    data = spots((2, 3, 2), np.uint16)
    names = ["DAPI", "GFP"]
    if source == "tif":
        write(tmp_path / "in" / "a.tif", data, "TZCYX", Channel={"Name": names}, **SIZES)
    else:
        scale = [3.0, 2, 1, 250, 500]
        ngff(tmp_path / "in" / "a.ome.zarr", data, "TZCYX", scale=scale, channels=names)
    assert main(command(tmp_path, "--format", "ome-zarr", "--channel", "GFP")) == 0
    root = zarr.open_group(tmp_path / "out" / "a.ome.zarr", mode="r")
    np.testing.assert_array_equal(root["0"][...], np.moveaxis(data, 2, 1))
    assert root["0"].dtype == np.uint16
    masks = root["labels/masks/0"][...]
    expected = [labelled(plane) for plane in data[:, :, 1].reshape(-1, 40, 60)]
    np.testing.assert_array_equal(masks.reshape(-1, 40, 60), expected)
    assert masks.shape == (2, 3, 40, 60)
    assert root["labels"].attrs["labels"] == ["masks"]
    label = root["labels/masks"].attrs.asdict()
    assert label["image-label"]["source"]["image"] == "../../"
    for attributes, axes in ((root.attrs.asdict(), "tczyx"), (label, "tzyx")):
        (multiscale,) = attributes["multiscales"]
        assert multiscale["version"] == "0.4"
        assert "".join(axis["name"] for axis in multiscale["axes"]) == axes
        (dataset,) = multiscale["datasets"]
        (transform,) = dataset["coordinateTransformations"]
        size = {"t": 3.0, "c": 1.0, "z": 2.0, "y": 0.25, "x": 0.5}
        assert transform == {"type": "scale", "scale": [size[axis] for axis in axes]}
        units = {axis["name"]: axis.get("unit") for axis in multiscale["axes"]}
        assert (units["x"], units["t"]) == ("micrometer", "second")
    assert [c["label"] for c in root.attrs["omero"]["channels"]] == names
    # Chunks are where NGFF wants them.
    assert (tmp_path / "out" / "a.ome.zarr" / "0" / "0" / "0" / "0" / "0" / "0").is_file()


def test_ome_zarr_of_single_images_too(tmp_path: Path, generator: Any, painted: Any) -> None:
    grey = painted(tmp_path / "in" / "a.png")
    colour = np.dstack([grey, grey // 2, grey // 3])
    Image.fromarray(colour).save(tmp_path / "in" / "b.png")
    assert main(command(tmp_path, "--format", "ome-zarr")) == 0
    for name, image in (("a", grey), ("b", np.moveaxis(colour, -1, 0))):
        root = zarr.open_group(tmp_path / "out" / f"{name}.ome.zarr", mode="r")
        np.testing.assert_array_equal(root["0"][...], image)
        np.testing.assert_array_equal(root["labels/masks/0"][...], labelled(grey))


@pytest.mark.parametrize("form", ["labels", "ome-zarr", "png"])
def test_results_are_known_again(
    tmp_path: Path, generator: Any, ngff: Any, painted: Any, form: str
) -> None:
    """As input they are passed over; they are skipped, or replaced as a whole."""
    write(tmp_path / "in" / "a.tif", spots((3,)), "ZYX")
    ngff(tmp_path / "in" / "b.ome.zarr", spots((3,)), "ZYX")
    painted(tmp_path / "in" / "c.png")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "in" / "out")]
    words += ["--recursive", "--format", form]
    assert main(words) == 0
    done = list(generator.seen)
    assert len(done) == 7
    before = tree(tmp_path / "in")
    elsewhere = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "other")]
    assert main([*elsewhere, "--recursive", "--format", form]) == 0
    assert generator.seen == done * 2
    assert main([*words, "--skip-existing"]) == 0
    assert generator.seen == done * 2
    assert main(words) == 0
    assert tree(tmp_path / "in") == before
    if form == "png":
        import shutil

        shutil.rmtree(tmp_path / "in" / "out" / "a_z001")
        assert main([*words, "--skip-existing"]) == 0
        assert generator.seen == [*done * 3, "a_z001.tif"]
        assert tree(tmp_path / "in") == before


def test_an_ome_zarr_with_anything_else_in_it_is_not_replaced(
    tmp_path: Path, generator: Any, painted: Any, capsys: Any
) -> None:
    painted(tmp_path / "in" / "a.png")
    words = command(tmp_path, "--format", "ome-zarr")
    assert main(words) == 0
    (tmp_path / "out" / "a.ome.zarr" / "labels" / "mine").mkdir()
    (tmp_path / "out" / "a.ome.zarr" / "labels" / "mine" / ".zattrs").write_text("{}")
    before = tree(tmp_path / "out")
    assert main(words) == 2
    assert "labels/mine/.zattrs" in capsys.readouterr().err
    assert tree(tmp_path / "out") == before


def test_half_a_stack_is_no_result(tmp_path: Path, generator: Any) -> None:
    write(tmp_path / "in" / "a.tif", spots((3,)), "ZYX")

    def interrupt(name: str, number: int) -> None:
        if "z002" in name:
            raise KeyboardInterrupt

    generator.before_step = interrupt
    for form in ("labels", "ome-zarr"):
        assert main(command(tmp_path, "--format", form)) == 130
        assert tree(tmp_path / "out") == {}
    assert main(command(tmp_path, "--format", "png")) == 130
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a_z000", "a_z001"}


def test_a_plane_that_fails(tmp_path: Path, generator: Any, capsys: Any) -> None:
    write(tmp_path / "in" / "a.tif", spots((3,)), "ZYX")

    def fail(name: str, number: int) -> None:
        if "z001" in name:
            raise MemoryError

    generator.before_step = fail
    assert main(command(tmp_path, "--format", "png")) == 1
    out, err = capsys.readouterr()
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a_z000", "a_z002"}
    assert f"FAILED {tmp_path / 'in' / 'a.tif'} (z 1): not enough memory" in err
    assert "1 of 3 planes failed" in err
    assert "done: 2 of 3 planes" in out
    assert main(command(tmp_path, "--format", "labels")) == 1
    assert not (tmp_path / "out" / "a.tif").exists()


def test_fields_of_a_plate(tmp_path: Path, generator: Any, ngff: Any) -> None:
    plate = tmp_path / "in" / "p.ome.zarr"
    group = zarr.open_group(plate, mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": [{"path": "A/1"}, {"path": "B/2"}]}
    for well in ("A/1", "B/2"):
        made = zarr.open_group(plate / well, mode="w", zarr_format=2)
        made.attrs["well"] = {"images": [{"path": "0"}]}
        ngff(plate / well / "0", spots((2,)), "ZYX")
    assert main(command(tmp_path, "--format", "labels")) == 0
    found = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.tif")}
    assert found == {"p/A/1/0.tif", "p/B/2/0.tif"}
    # A plate that is itself given, and a pattern that leads to it and into it.
    for given in (str(plate), str(tmp_path / "in" / "**")):
        generator.seen.clear()
        words = ["--input", given, "--output", str(tmp_path / "again"), "--format", "coco"]
        assert main(words) == 0
        assert generator.seen == [
            f"p.ome.zarr/{field}_z{z:03}" for field in ("A/1/0", "B/2/0") for z in range(2)
        ]


def test_ome_zarr_in_a_folder_is_found_without_recursion(
    tmp_path: Path, generator: Any, ngff: Any, painted: Any, capsys: Any
) -> None:
    painted(tmp_path / "in" / "a.png")
    ngff(tmp_path / "in" / "b.ome.zarr", spots((2,)), "ZYX")
    ngff(tmp_path / "in" / "sub" / "c.zarr", spots((2,)), "ZYX")
    words = ["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    expected = ["a.png", "b_z000.ome.zarr", "b_z001.ome.zarr"]
    assert generator.seen == expected
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a", "b_z000", "b_z001"}
    assert main([*words, "--glob", "*.zarr"]) == 0
    assert generator.seen == [*expected, *expected[1:]]
    assert main([*words, "--recursive", "--glob", "c*"]) == 0
    assert generator.seen[-2:] == ["sub/c_z000.zarr", "sub/c_z001.zarr"]
    assert "Left out" not in capsys.readouterr().err


def test_a_set_of_files_is_done_once(tmp_path: Path, generator: Any, capsys: Any) -> None:
    data = spots((2,))
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint8" SizeX="60" SizeY="40" SizeZ="2" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstZ="0" IFD="0"><UUID FileName="a.tif">urn:uuid:a</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0"><UUID FileName="b.tif">urn:uuid:b</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    (tmp_path / "in").mkdir()
    for name, plane in zip("ab", data, strict=True):
        words: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
        path = tmp_path / "in" / f"{name}.tif"
        tifffile.imwrite(path, plane, description=xml.format(own=name), **words)
    assert main(command(tmp_path, "--format", "labels")) == 0
    found = tifffile.imread(tmp_path / "out" / "a.tif")
    np.testing.assert_array_equal(found, [labelled(plane) for plane in data])
    assert not (tmp_path / "out" / "b.tif").exists()
    assert "Left out: b.tif belongs to the image of a.tif" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["labels", "png"])
def test_all_channels_are_measured(tmp_path: Path, generator: Any, form: str) -> None:
    from skimage.measure import regionprops_table

    data = spots((3, 2), np.uint16)
    write(tmp_path / "in" / "a.tif", data, "ZCYX", Channel={"Name": ["DAPI", "GFP"]}, **SIZES)
    words = command(tmp_path, "--format", form, "--channel", "DAPI", "--measure")
    assert main(words) == 0
    out = tmp_path / "out"
    if form == "labels":
        table = pd.read_csv(out / "a.measurements.csv")
    else:
        parts = [pd.read_csv(out / f"a_z{z:03}.measurements.csv") for z in range(3)]
        table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    assert "t" not in table
    for z in range(3):
        masks = masks_of(data[z, 0])
        rows = table[table["z"] == z]
        assert rows["label"].tolist() == list(range(1, len(masks) + 1))
        for (_, row), mask in zip(rows.iterrows(), masks, strict=True):
            for channel, name in enumerate(("DAPI", "GFP")):
                wanted = regionprops_table(
                    mask.astype(np.uint8), data[z, channel], properties=("area", "intensity_mean")
                )
                assert row[f"intensity_mean-{name}"] == pytest.approx(wanted["intensity_mean"][0])
            assert row["area_um2"] == pytest.approx(wanted["area"][0] * 0.125)
    # A size that is given prevails; tables are part of what is skipped.
    assert main([*words, "--pixel-size", "2"]) == 0
    name = "a.measurements.csv" if form == "labels" else "a_z002.measurements.csv"
    table = pd.read_csv(out / name)
    assert (table["area_um2"] == table["area"] * 4).all()
    (out / name).unlink()
    generator.seen.clear()
    assert main([*words, "--skip-existing"]) == 0
    assert len(generator.seen) == (3 if form == "labels" else 1)


def masks_of(plane: np.ndarray) -> list[np.ndarray]:
    labels, count = ndimage.label(plane > 127)
    masks = [labels == i for i in range(1, count + 1)]
    return [*masks, plane > 127] if count > 1 else masks


@pytest.mark.parametrize(
    ("words", "sizes", "expected"),
    [
        ([], {}, None),
        ([], {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}, (0.5, 0.25)),
        (["--pixel-size", "0.65"], {}, (0.65, 0.65)),
        (["--pixel-size", "0.65"], {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}, (0.65, 0.65)),
    ],
)
def test_sizes_of_single_label_images(
    tmp_path: Path, generator: Any, words: list[str], sizes: dict[str, float], expected: Any
) -> None:
    data = spots((4,))[3]
    write(tmp_path / "in" / "a.tif", data, "YX", **sizes)
    assert main(command(tmp_path, "--format", "labels", *words)) == 0
    path = tmp_path / "out" / "a.tif"
    with tifffile.TiffFile(path) as tiff:
        np.testing.assert_array_equal(tiff.asarray(), labelled(data))
        assert tiff.is_ome is (expected is not None)
        if expected is not None:
            pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
            assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == expected
    np.testing.assert_array_equal(formats.read_labels(path), labelled(data))
    assert formats.read_label_features(path)["area"].tolist() == [
        int(mask.sum()) for mask in masks_of(data)
    ]
    assert formats.read_label_provenance(path)["source"] == "a.tif"


def test_a_zarr_folder_that_is_no_ome_zarr(tmp_path: Path, generator: Any, capsys: Any) -> None:
    group = zarr.open_group(tmp_path / "in", mode="w", zarr_format=2)
    group.create_array("0", shape=(4, 5), dtype="u1")
    assert main(command(tmp_path)) == 2
    assert "this is a Zarr folder, but no OME-Zarr" in capsys.readouterr().err


def test_whatever_goes_wrong_when_an_image_is_opened_the_others_are_done(
    tmp_path: Path, generator: Any, painted: Any, capsys: Any, monkeypatch: Any
) -> None:
    from napari_sam_amg import sources

    for name in ("a.png", "b.png"):
        painted(tmp_path / "in" / name)
    real = sources.open_source

    def opened(path: Path, **keywords: Any) -> Any:
        if path.name == "a.png":
            raise RuntimeError("a library has a problem")
        return real(path, **keywords)

    monkeypatch.setattr(sources, "open_source", opened)
    assert main(command(tmp_path)) == 1
    assert "a.png: unexpected RuntimeError (a library has a problem)" in capsys.readouterr().err
    assert generator.seen == ["b.png"]


def test_memory_of_labels_is_that_of_a_few_planes(tmp_path: Path, generator: Any) -> None:
    """Planes come and go; what is kept of each is small."""
    import tracemalloc

    data = np.full((12, 400, 500), 10, np.uint8)
    data[:, 100:110, 100:110] = 200
    write(tmp_path / "in" / "a.tif", data, "ZYX")
    main(command(tmp_path, "--format", "labels", "--z", "0:2"))  # what is imported stays
    tracemalloc.start()
    try:
        assert main(command(tmp_path, "--format", "labels")) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    labels = 2 * data[0].size
    assert peak < 8 * labels < data.size * 2


def test_an_image_of_several_that_cannot_be_opened_is_named_and_the_others_are_done(
    tmp_path: Path, generator: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    with tifffile.TiffWriter(tmp_path / "in" / "a.ome.tif", ome=True) as writer:
        for data, axes in ((spots((2,)), "CYX"), (spots((1, 3))[0][2], "YX")):
            writer.write(data, photometric="minisblack", metadata={"axes": axes})
    assert main(command(tmp_path, "--format", "labels")) == 1
    said = capsys.readouterr().err
    assert "a.ome.tif (image 0): " in said
    assert "has 2 channels" in said
    assert [path.name for path in (tmp_path / "out").glob("*.tif")] == ["a.ome_s1.tif"]


def test_images_of_a_set_of_files_are_done_once(
    tmp_path: Path, generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    write_set(tmp_path / "in", RNG.integers(0, 256, (3, 13, 17), dtype=np.uint8))
    parsed, original = [], tifffile.TiffFile._series_ome

    def counted(self: Any) -> Any:
        parsed.append(1)
        return original(self)

    monkeypatch.setattr(tifffile.TiffFile, "_series_ome", counted)
    said = main(command(tmp_path, "--format", "labels"))
    assert len(parsed) == 2 + 3  # twice for the plan, and once when the turn of each comes
    assert said == 0
    names = {path.name for path in (tmp_path / "out").glob("*.tif")}
    assert names == {f"a.ome_s{number}.tif" for number in range(3)}


def test_all_images_of_an_ome_tiff_that_holds_several(tmp_path: Path, generator: Any) -> None:
    first, second = spots((2,)), spots((1, 3))[0][2]
    (tmp_path / "in").mkdir()
    with tifffile.TiffWriter(tmp_path / "in" / "a.ome.tif", ome=True) as writer:
        for data, axes, size in ((first, "ZYX", 0.5), (second, "YX", 0.25)):
            metadata = {"axes": axes, "PhysicalSizeX": size, "PhysicalSizeY": size}
            writer.write(data, photometric="minisblack", metadata=metadata)
    assert main(command(tmp_path, "--format", "labels")) == 0
    found = {path.name: tifffile.imread(path) for path in (tmp_path / "out").glob("*.tif")}
    assert found.keys() == {"a.ome_s0.tif", "a.ome_s1.tif"}
    np.testing.assert_array_equal(found["a.ome_s0.tif"], np.stack([labelled(p) for p in first]))
    np.testing.assert_array_equal(found["a.ome_s1.tif"], labelled(second))
    with tifffile.TiffFile(tmp_path / "out" / "a.ome_s1.tif") as tiff:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
    assert pixels["PhysicalSizeX"] == 0.25
    # Planes of each have names of their own, and what is there is skipped.
    assert main(command(tmp_path, "--format", "rle")) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.json")}
    assert {"a.ome_s0_z000.json", "a.ome_s0_z001.json", "a.ome_s1.json"} <= names
    generator.seen.clear()
    (tmp_path / "out" / "a.ome_s1.tif").unlink()
    assert main(command(tmp_path, "--format", "labels", "--skip-existing")) == 0
    assert generator.seen == ["a.ome_s1.tif"]
