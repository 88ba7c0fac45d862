"""Every plane of every form, against the array that was written and tifffile and zarr."""

from __future__ import annotations

import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from _ome_set import write_set
from napari_sam_amg.distributed.planes import RemotePlane
from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.formats import read_image
from napari_sam_amg.sources import open_source
from napari_sam_amg.sources.rows import lazily

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 65536, (2, 3, 4, 13, 17), dtype=np.uint16)
BYTES = RNG.integers(0, 256, (3, 13, 17), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (3, 13, 17, 3), dtype=np.uint8)
NAMES = {"Channel": {"Name": ["a", "b", "c", "d"]}}
SIZES = {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5}
SIZES |= {"PhysicalSizeZ": 2.0, "TimeIncrement": 1500, "TimeIncrementUnit": "ms"}


def ome(axes: str, **more: Any) -> dict[str, Any]:
    return {"ome": True, "photometric": "minisblack", "metadata": {"axes": axes, **more}}


def imagej(axes: str, **more: Any) -> dict[str, Any]:
    return {"imagej": True, "metadata": {"axes": axes, **more}}


FORMS: dict[str, tuple[np.ndarray, dict[str, Any], str]] = {
    "ome": (STACK, ome("TZCYX"), "TZCYX"),
    "ome other order": (STACK, ome("CTZYX"), "CTZYX"),
    "ome packed": (STACK, ome("TZCYX") | {"compression": "zlib"}, "TZCYX"),
    "ome tiles": (STACK, ome("TZCYX") | {"tile": (16, 16)}, "TZCYX"),
    "ome big": (STACK, ome("TZCYX") | {"bigtiff": True}, "TZCYX"),
    "ome z": (BYTES, ome("ZYX"), "ZYX"),
    "ome t": (BYTES, ome("TYX"), "TYX"),
    "ome float": (STACK[0, 0].astype(np.float32), ome("ZYX"), "ZYX"),
    "ome bool": (BYTES > 127, ome("ZYX"), "ZYX"),
    "ome colour": (COLOUR, ome("ZYXS") | {"photometric": "rgb"}, "ZYXS"),
    "imagej": (STACK, imagej("TZCYX"), "TZCYX"),
    "imagej z": (BYTES, imagej("ZYX"), "ZYX"),
    "imagej big-endian": (STACK.astype(">u2"), imagej("TZCYX"), "TZCYX"),
    "imagej colour": (COLOUR, imagej("TYXS"), "TYXS"),
    "named": (BYTES, {"photometric": "minisblack", "metadata": {"axes": "ZYX"}}, "ZYX"),
    "page": (BYTES[0], {"photometric": "minisblack"}, "YX"),
    "colour page": (COLOUR[0], {"photometric": "rgb"}, "YXS"),
}


@pytest.mark.parametrize("name", FORMS)
def test_tiff(name: str, tmp_path: Path) -> None:
    data, keywords, axes = FORMS[name]
    tifffile.imwrite(tmp_path / "x.tif", data, **keywords)
    with open_source(tmp_path / "x.tif") as source:
        assert (source.axes, source.shape) == (axes, data.shape)
        assert source.dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(np.asarray(source.data), data)
        np.testing.assert_array_equal(source.data[...], tifffile.imread(tmp_path / "x.tif"))
        check_planes(source, data, axes)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["TZCYX", "CZYX", "ZYX", "YX"])
def test_ome_zarr(axes: str, version: str, tmp_path: Path, ngff: Callable[..., None]) -> None:
    data = STACK[(0,) * (5 - len(axes))]
    ngff(tmp_path / "x.ome.zarr", data, axes, version=version, levels=2)
    with open_source(tmp_path / "x.ome.zarr") as source:
        assert (source.axes, source.shape, source.dtype) == (axes, data.shape, data.dtype)
        np.testing.assert_array_equal(source.data[...], data)
        assert [level.shape for level in source.levels] == [data.shape, data[..., ::2, ::2].shape]
        check_planes(source, data, axes)


def check_planes(source: Any, data: np.ndarray, axes: str) -> None:
    """Compare all planes of all channels with what was written, moved by NumPy."""
    full = data
    for place, axis in enumerate("TZC"):
        if axis not in axes:
            full = np.expand_dims(full, place)
        else:
            at = [a for a in axes if a in "TZC" or a in "YXS"].index(axis)
            missing = sum(a not in axes for a in "TZC"[:place])
            full = np.moveaxis(full, at + missing, place) if at + missing > place else full
    for channel in range(full.shape[2]):
        planes = list(source.planes(channel=channel))
        assert len(planes) == full.shape[0] * full.shape[1]
        for number, plane in enumerate(planes):
            t, z = divmod(number, full.shape[1])
            wanted = {a: n for a, n in (("T", t), ("Z", z)) if a in axes}
            assert plane.index == wanted
            pixels = plane.read()
            np.testing.assert_array_equal(pixels, full[t, z, channel])
            assert pixels.flags.writeable
            assert pixels.dtype.isnative
            check_rows(plane, full[t, z, channel])
            several = full[t, z]
            flat = np.concatenate(
                [np.atleast_3d(one) for one in several], axis=-1
            )  # one channel behind the other
            found = np.atleast_3d(plane.read_channels())
            if several.ndim == 3 or full.shape[2] == 1:
                np.testing.assert_array_equal(found, flat)


def check_rows(plane: Any, data: np.ndarray, *, lazy: bool = True) -> None:
    """Compare rows that are read one by one with what was written."""
    rows = lazily(plane)
    assert isinstance(rows, np.ndarray) is not lazy
    assert (rows.shape, rows.dtype) == (data.shape, data.dtype.newbyteorder("="))
    for part in slice(0, 5), slice(3, 4), slice(12, 13), slice(0, 13):
        found = rows[part]
        assert (type(found), found.dtype) == (np.ndarray, rows.dtype)
        np.testing.assert_array_equal(found, data[part])


def test_names_of_planes(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK, **ome("TZCYX"))
    source = open_source(tmp_path / "x.tif")
    found = [plane.suffix for plane in source.planes(channel=0)]
    assert found[:4] == ["_t000_z000", "_t000_z001", "_t000_z002", "_t001_z000"]
    for data, axes, suffix in ((BYTES, "ZYX", "_z001"), (BYTES, "TYX", "_t001")):
        tifffile.imwrite(tmp_path / "x.tif", data, **ome(axes))
        assert list(open_source(tmp_path / "x.tif").planes())[1].suffix == suffix


def test_an_axis_of_one_plane_is_not_named(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", STACK[:1, :1, :1], "TZCYX")
    (plane,) = open_source(tmp_path / "x").planes()
    assert (plane.index, plane.suffix) == ({"T": 0, "Z": 0}, "")


@pytest.mark.parametrize(
    ("z", "expected"),
    [
        (1, [1]),
        (slice(0, 2), [0, 1]),
        (slice(1, None), [1, 2]),
        (slice(2, 9), [2]),
        (slice(0, 3, 2), [0, 2]),
    ],
)
def test_ranges(tmp_path: Path, z: Any, expected: list[int]) -> None:
    tifffile.imwrite(tmp_path / "x.tif", BYTES, **ome("ZYX"))
    assert [p.index["Z"] for p in open_source(tmp_path / "x.tif").planes(z=z)] == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"z": 3}, r"has 3 planes along Z \(0 to 2\), but z 3 asks for none"),
        ({"z": slice(5, 7)}, r"z 5:7 asks for none"),
        ({"t": 1}, r"has 1 plane along T \(0 to 0\), but t 1"),
        ({"channel": 1}, "has 1 channel; there is none 1"),
        ({"channel": "DAPI"}, "has 1 channel; there is none 'DAPI'"),
    ],
)
def test_what_is_not_there(tmp_path: Path, words: dict[str, Any], said: str) -> None:
    tifffile.imwrite(tmp_path / "x.tif", BYTES, **ome("ZYX"))
    with pytest.raises(ImageError, match=said):
        list(open_source(tmp_path / "x.tif").planes(**words))


def test_channels_are_chosen_by_number_or_name(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK[0], **ome("ZCYX", **NAMES))
    with open_source(tmp_path / "x.tif") as source:
        assert source.channel_names == ("a", "b", "c", "d")
        for wanted in (2, "2", "c"):
            pixels = next(source.planes(channel=wanted)).read()
            np.testing.assert_array_equal(pixels, STACK[0, 0, 2])
        with pytest.raises(ImageError, match=r"4 channels: 0 \(a\), 1 \(b\).*choose the one"):
            next(source.planes())
        for wrong in (4, "e", "RGB", -1):
            with pytest.raises(ImageError, match="there is none"):
                next(source.planes(channel=wrong))


def test_three_channels_as_one_colour_image(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", np.moveaxis(COLOUR, -1, 0), "CZYX")
    found = [plane.read() for plane in open_source(tmp_path / "x").planes(channel="RGB")]
    np.testing.assert_array_equal(np.stack(found), COLOUR)
    for number, plane in enumerate(open_source(tmp_path / "x").planes(channel="RGB")):
        check_rows(plane, COLOUR[number])


def test_names_that_come_twice_are_told_apart(tmp_path: Path) -> None:
    names = {"Channel": {"Name": ["a", "a", "b", "c"]}}
    tifffile.imwrite(tmp_path / "x.tif", STACK[0, 0], **ome("CYX", **names))
    assert open_source(tmp_path / "x.tif").channel_names == ("a-0", "a-1", "b", "c")


@pytest.mark.parametrize("name", ["ome", "imagej", "0.4", "0.5"])
def test_sizes(name: str, tmp_path: Path, ngff: Any) -> None:
    path = tmp_path / "x"
    if name == "ome":
        tifffile.imwrite(path, STACK, **ome("TZCYX", **SIZES))
    elif name == "imagej":
        words = imagej("TZCYX", unit="micron", spacing=2.0, finterval=1.5)
        tifffile.imwrite(path, STACK, resolution=(4, 2), **words)
    else:
        ngff(path, STACK, "TZCYX", version=name, scale=[1.5, 2, 1, 500, 250])
    source = open_source(path)
    assert source.pixel_size == {"X": 0.25, "Y": 0.5, "Z": 2.0}
    assert source.time_step == 1.5
    assert source.sides == (0.5, 0.25)


@pytest.mark.parametrize(
    "words",
    [
        {"resolution": (72, 72), "resolutionunit": "INCH"},
        {"resolution": (1, 1), "imagej": True},
        ome("YX", PhysicalSizeX=2, PhysicalSizeXUnit="reference frame"),
        ome("YX", PhysicalSizeX=0.0, PhysicalSizeXUnit="nm"),
    ],
)
def test_sizes_that_say_nothing(words: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", BYTES[0], **words)
    assert open_source(tmp_path / "x.tif").pixel_size == {}


@pytest.mark.parametrize("metadata", [{}, None])
def test_axes_without_a_name_are_never_guessed(metadata: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, BYTES, photometric="minisblack", metadata=metadata)
    with pytest.raises(ImageError, match=r"\(3, 13, 17\).*unknown.*--axes ZYX") as caught:
        open_source(path)
    assert str(path) in str(caught.value)
    with open_source(path, axes="tyx") as source:
        assert source.axes == "TYX"
        np.testing.assert_array_equal(source.data[...], BYTES)
    with pytest.raises(ImageError, match="--axes TZYX does not fit"):
        open_source(path, axes="TZYX")


@pytest.mark.parametrize("axes", ["XYZ", "ZZYX", "YX Z", "Z", "", "IYX", "SYX"])
def test_axes_that_are_none(axes: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", BYTES, photometric="minisblack")
    with pytest.raises(ParameterError, match="give different letters"):
        open_source(tmp_path / "x.tif", axes=axes)


def test_given_axes_prevail_but_not_over_what_a_plane_is(tmp_path: Path) -> None:
    """Recorded as depth by ImageJ, meant as time; a single plane has no axes to give."""
    tifffile.imwrite(tmp_path / "x.tif", BYTES, **imagej("ZYX", spacing=2.0, unit="um"))
    source = open_source(tmp_path / "x.tif", axes="TYX")
    assert (source.axes, "Z" in source.pixel_size) == ("TYX", False)
    for name, data in (("a.tif", BYTES[0]), ("b.tif", COLOUR[0])):
        tifffile.imwrite(tmp_path / name, data)
        assert open_source(tmp_path / name, axes="ZYX").axes == "YXS"[: data.ndim]
    tifffile.imwrite(tmp_path / "c.tif", COLOUR, photometric="rgb")
    assert open_source(tmp_path / "c.tif", axes="ZYX").axes == "ZYXS"


@pytest.mark.parametrize("kind", ["grey", "colour", "bits", "deep", "palette", "alpha", "float"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_single_images_are_read_as_ever(kind: str, suffix: str, tmp_path: Path) -> None:
    images = {
        "grey": Image.fromarray(BYTES[0]),
        "colour": Image.fromarray(COLOUR[0]),
        "bits": Image.fromarray(BYTES[0] > 127),
        "deep": Image.fromarray(STACK[0, 0, 0]),
        "palette": Image.fromarray(COLOUR[0]).quantize(8),
        "alpha": Image.fromarray(np.dstack([COLOUR[0], BYTES[0]])),
        "float": Image.fromarray(BYTES[0].astype(np.float32)),
    }
    path = tmp_path / f"x{suffix}"
    try:
        images[kind].save(path)
    except OSError:
        # Not every form has all of them.
        path = tmp_path / "x.tif"
        images[kind].save(path)
    wanted = read_image(path)
    with open_source(path) as source:
        (plane,) = source.planes()
        # Palettes are decoded as a whole, and so is what is no TIFF.
        check_rows(plane, wanted, lazy=path.suffix == ".tif" and kind != "palette")
    found = plane.read()
    assert (found.dtype, source.dtype) == (wanted.dtype,) * 2
    assert source.shape == wanted.shape
    np.testing.assert_array_equal(found, wanted)
    assert (plane.index, plane.suffix) == ({}, "")


@pytest.mark.parametrize(
    "words",
    [
        {"tile": (128, 64)},
        {"rowsperstrip": 64},
        {"tile": (128, 64), "photometric": "rgb", "planarconfig": "separate"},
        {"rowsperstrip": 64, "photometric": "rgb", "planarconfig": "separate"},
        {"rowsperstrip": 64, "photometric": "rgb"},
        {"photometric": "rgb", "planarconfig": "separate", "compression": None},
    ],
)
def test_rows_of_a_large_page_take_the_memory_of_their_own(
    words: dict[str, Any], tmp_path: Path
) -> None:
    data = RNG.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)
    data = data if "photometric" in words else data[..., 0]
    stored = np.moveaxis(data, -1, 0) if "planarconfig" in words else data
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, stored, **{"compression": "zlib", "predictor": False, **words})
    with open_source(path) as source:
        (plane,) = source.planes()
        rows = lazily(plane)
        rows[0:1]  # what is loaded the first time
        tracemalloc.start()
        for top in range(0, 1024, 128):
            assert np.array_equal(rows[top : top + 128], data[top : top + 128])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < data.nbytes / 2


def test_rows_that_cannot_be_decoded(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, STACK[0, 0, 0], compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[0].dataoffsets[0]
    data = bytearray(path.read_bytes())
    data[place : place + 8] = b"\0" * 8
    path.write_bytes(bytes(data))
    with open_source(path) as source:
        (plane,) = source.planes()
        with pytest.raises(ImageError, match="cannot be decoded"):
            lazily(plane)[0:5]


def test_pixels_that_are_cut_off(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", STACK[0, 0, 0])
    data = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(data[:-20])
    with open_source(tmp_path / "x.tif") as source:
        (plane,) = source.planes()
        with pytest.raises(ImageError, match="damaged or cut short"):
            lazily(plane)


def test_what_has_to_be_read_at_once_is_limited(tmp_path: Path) -> None:
    Image.fromarray(BYTES[0]).save(tmp_path / "x.png")
    (plane,) = open_source(tmp_path / "x.png", max_pixels=2**40).planes()
    assert lazily(plane, most=13 * 17).shape == (13, 17)
    with pytest.raises(ImageError, match=r"13 x 17 pixels .*more than the 220 .* save it as OME"):
        lazily(plane, most=13 * 17 - 1)
    # So do pixels that are packed in one piece; of others only some rows are read.
    for name, words in {"one": {"compression": "zlib"}, "raw": {}}.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, BYTES[0], rowsperstrip=13, **words)
        with open_source(path) as source:
            (plane,) = source.planes()
            if name == "raw":
                check_rows(plane, BYTES[0])
                assert lazily(plane, most=17).shape == (13, 17)
            else:
                with pytest.raises(ImageError, match="can only be read at once"):
                    lazily(plane, most=13 * 17 - 1)


def test_nothing_but_the_description_is_read(tmp_path: Path, monkeypatch: Any) -> None:
    data = np.zeros((40, 512, 512), np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", data, **ome("ZYX"))
    tracemalloc.start()
    try:
        with open_source(tmp_path / "x.tif") as source:
            planes = list(source.planes())
            opened = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            assert not planes[20].read().any()
            read = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert opened < data[0].nbytes
    assert read < 4 * data[0].nbytes


def test_a_stack_for_one_contrast(tmp_path: Path, ngff: Any) -> None:
    from napari_sam_amg.stack_contrast import stack_contrast

    tifffile.imwrite(tmp_path / "x.tif", STACK, **ome("TZCYX"))
    ngff(tmp_path / "x.zarr", STACK, "TZCYX")
    for name in ("x.tif", "x.zarr"):
        with open_source(tmp_path / name) as source:
            stack = source.stack(2)
            found = stack_contrast(stack, (5.0, 95.0), plane_axes=stack.plane_axes)
        ordered = np.sort(STACK[:, :, 2], axis=None)
        last = ordered.size - 1
        assert found == (
            ordered[int(np.floor(0.05 * last))],
            ordered[int(np.ceil(0.95 * last))],
        )


def test_the_limit_on_pixels_is_for_a_plane(tmp_path: Path, ngff: Any) -> None:
    tifffile.imwrite(tmp_path / "x.tif", BYTES, **ome("ZYX"))
    ngff(tmp_path / "x.zarr", BYTES, "ZYX")
    Image.fromarray(BYTES[0]).save(tmp_path / "x.png")
    for name in ("x.tif", "x.zarr", "x.png"):
        open_source(tmp_path / name, max_pixels=13 * 17)
        with pytest.raises(ImageError, match="13 x 17 pixels, more than the 220"):
            open_source(tmp_path / name, max_pixels=220)


def test_a_file_of_several_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(BYTES, photometric="minisblack")
        writer.write(BYTES[0, :5], photometric="minisblack")
    with pytest.raises(ImageError, match="more than one image: 4 pages"):
        open_source(tmp_path / "x.tif")


SEVERAL: dict[str, tuple[np.ndarray, str, dict[str, Any]]] = {
    "stack": (STACK, "TZCYX", {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, **NAMES}),
    "page": (BYTES[0], "YX", {"PhysicalSizeX": 2.0, "PhysicalSizeY": 3.0}),
    "colour": (COLOUR, "ZYXS", {}),
}


def write_several(path: Path, **words: Any) -> None:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for data, axes, metadata in SEVERAL.values():
            light = "rgb" if axes.endswith("S") else "minisblack"
            writer.write(data, photometric=light, metadata={"axes": axes, **metadata}, **words)


@pytest.mark.parametrize("words", [{}, {"tile": (16, 16), "compression": "zlib"}])
def test_images_of_an_ome_tiff_that_holds_several(words: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    write_several(path, **words)
    with pytest.raises(ImageError, match=r"holds more than one image.*choose one with image="):
        open_source(path)
    with pytest.raises(ImageError, match="holds 3 images, counted from 0: there is no 3"):
        open_source(path, image=3)
    for number, (data, axes, metadata) in enumerate(SEVERAL.values()):
        with open_source(path, image=number) as source:
            assert (source.image, source.images) == (number, 3)
            assert (source.axes, source.shape) == (axes, data.shape)
            sizes = {a: metadata[f"PhysicalSize{a}"] for a in "XY" if metadata}
            assert source.pixel_size == sizes
            np.testing.assert_array_equal(np.asarray(source.data), data)
            check_planes(source, data, axes)
            # Another process finds the same image.
            plane = next(source.planes(channel=0 if "C" in axes else None))
            there = RemotePlane.of(plane, axes=None, max_pixels=1000)
            np.testing.assert_array_equal(there.read(), plane.read())
    assert open_source(path, image=0).channel_names == ("a", "b", "c", "d")


def test_a_set_of_files_of_an_image_each(tmp_path: Path) -> None:
    write_set(tmp_path, BYTES)
    for name in "a.ome.tif", "b.ome.tif":
        for number in range(3):
            with open_source(tmp_path / name, image=number) as source:
                assert source.images == 3
                assert source.sides == (number + 0.5,) * 2
                assert source.files[0] == tmp_path / name
                assert {path.name[0] for path in source.files} == set("abc")
                (plane,) = source.planes()
                np.testing.assert_array_equal(plane.read(), BYTES[number])
                check_rows(plane, BYTES[number])


@pytest.mark.parametrize("name", ["field {n}", "{n}", "0{n}"])
def test_sizes_are_those_of_the_image_where_others_are_missing(tmp_path: Path, name: str) -> None:
    write_set(tmp_path, BYTES, name)
    (tmp_path / "a.ome.tif").unlink()
    with open_source(tmp_path / "b.ome.tif", image=0) as source:
        count = source.images
    assert count == 2
    for number in range(count):
        with open_source(tmp_path / "b.ome.tif", image=number) as source:
            (plane,) = source.planes()
            pixels = plane.read()
            (which,) = [n for n in range(3) if np.array_equal(pixels, BYTES[n])]
            assert source.sides == (which + 0.5,) * 2


def test_the_number_of_the_only_image(tmp_path: Path, ngff: Any) -> None:
    """Files of one image take a number, so that nobody need know beforehand."""
    tifffile.imwrite(tmp_path / "x.tif", BYTES, photometric="minisblack", metadata={"axes": "ZYX"})
    ngff(tmp_path / "z", BYTES, "ZYX")
    Image.fromarray(BYTES[0]).save(tmp_path / "x.png")
    for name in "x.tif", "z", "x.png":
        source = open_source(tmp_path / name, image=0)
        assert (source.image, source.images) == (0, 1)
        with pytest.raises(ImageError, match="holds 1 image, counted from 0: there is no 5"):
            open_source(tmp_path / name, image=5)


def test_levels_of_a_tiff(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif", ome=True) as writer:
        words: dict[str, Any] = {"photometric": "minisblack", "tile": (16, 16)}
        writer.write(BYTES, subifds=1, metadata={"axes": "ZYX"}, **words)
        writer.write(BYTES[:, ::2, ::2], subfiletype=1, **words)
    with open_source(tmp_path / "x.tif") as source:
        assert [level.shape for level in source.levels] == [(3, 13, 17), (3, 7, 9)]
        for level, step in zip(source.levels, (1, 2), strict=True):
            np.testing.assert_array_equal(np.asarray(level), BYTES[:, ::step, ::step])


def test_a_hyperstack_of_one_page(tmp_path: Path) -> None:
    """ImageJ writes one page for any number of planes beyond four gigabytes."""
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, STACK[0, 0], **imagej("ZYX"))
    data = bytearray(path.read_bytes())
    order = "<" if data[:2] == b"II" else ">"
    (first,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, first)
    struct.pack_into(order + "I", data, first + 2 + 12 * entries, 0)
    path.write_bytes(bytes(data))
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    with open_source(path) as source:
        np.testing.assert_array_equal(np.asarray(source.data), STACK[0, 0])
        for plane, data in zip(source.planes(), STACK[0, 0], strict=True):
            check_rows(plane, data)


def test_a_set_of_files_is_one_image(tmp_path: Path) -> None:
    parts = {"a.tif": BYTES[:2], "b.tif": BYTES[2:]}
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:{own}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint8" SizeX="17" SizeY="13" SizeZ="3" SizeC="1" SizeT="1">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstZ="0" IFD="0" PlaneCount="2"><UUID FileName="a.tif">urn:uuid:a</UUID>'
        '</TiffData><TiffData FirstZ="2" IFD="0" PlaneCount="1"><UUID FileName="b.tif">urn:uuid:b'
        "</UUID></TiffData></Pixels></Image></OME>"
    )
    for name, data in parts.items():
        description = xml.format(own=name[0])
        words: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
        tifffile.imwrite(tmp_path / name, data, description=description, **words)
    for name in parts:
        with open_source(tmp_path / name) as source:
            assert source.axes == "ZYX"
            assert source.files[0] == tmp_path / name
            assert set(source.files) == {tmp_path / "a.tif", tmp_path / "b.tif"}
            found = [plane.read() for plane in source.planes()]
            np.testing.assert_array_equal(np.stack(found), BYTES)
            for number, plane in enumerate(source.planes()):
                check_rows(plane, BYTES[number])
    (tmp_path / "b.tif").unlink()
    with open_source(tmp_path / "a.tif") as source:
        planes = list(source.planes())
        np.testing.assert_array_equal(planes[1].read(), BYTES[1])
        with pytest.raises(ImageError, match="plane 2 is not in the file"):
            planes[2].read()


def test_arrays_of_ome_zarr_are_lazy(tmp_path: Path, ngff: Any) -> None:
    ngff(tmp_path / "x", STACK, "TZCYX")
    chunk = tmp_path / "x" / "0" / "1" / "0" / "0" / "0" / "0"
    chunk.write_bytes(b"damaged")
    with open_source(tmp_path / "x") as source:
        assert isinstance(source.data, zarr.Array)
        planes = list(source.planes(channel=0))
        np.testing.assert_array_equal(planes[0].read(), STACK[0, 0, 0])
        with pytest.raises(ImageError, match="cannot be read"):
            planes[3].read()
