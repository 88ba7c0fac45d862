"""Images in every form that is promised, against Pillow, OpenCV and tifffile."""

from __future__ import annotations

import importlib.util
import io
import lzma
import os
import struct
import subprocess
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.formats import read_image, read_labels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (13, 17, 3), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (13, 17, 4), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (13, 17), dtype=np.uint16)
DEEP_COLOUR = RNG.integers(0, 65536, (13, 17, 3), dtype=np.uint16)
FLOAT = RNG.normal(size=(13, 17)).astype(np.float32)
INTEGER = RNG.integers(-(2**31), 2**31, (13, 17), dtype=np.int32)
SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _pillow(array, form, **keywords) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **keywords)
    return file.getvalue()


def _opencv(array, suffix) -> bytes:
    swapped = array if array.ndim == 2 else array[..., ::-1]
    return cv2.imencode(suffix, swapped)[1].tobytes()


def _tiff(array, **keywords) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **keywords)
    return file.getvalue()


EXACT = {
    "png grey": (_pillow(GREY, "PNG"), GREY),
    "png colour": (_pillow(COLOUR, "PNG"), COLOUR),
    "png alpha": (_pillow(ALPHA, "PNG"), ALPHA),
    "png 1 bit": (_pillow(GREY > 127, "PNG"), GREY > 127),
    "png 16 bits": (_opencv(DEEP, ".png"), DEEP),
    "bmp grey": (_pillow(GREY, "BMP"), GREY),
    "bmp colour": (_opencv(COLOUR, ".bmp"), COLOUR),
    "tiff grey": (_tiff(GREY, photometric="minisblack"), GREY),
    "tiff colour": (_tiff(COLOUR, photometric="rgb"), COLOUR),
    "tiff planar": (
        _tiff(np.moveaxis(COLOUR, -1, 0), photometric="rgb", planarconfig="separate"), COLOUR,
    ),
    "tiff alpha": (_tiff(ALPHA, photometric="rgb", extrasamples=["unassalpha"]), ALPHA),
    "tiff 16 bits": (_tiff(DEEP, photometric="minisblack"), DEEP),
    "tiff 16 bits big": (_tiff(DEEP.astype(">u2"), photometric="minisblack"), DEEP),
    "tiff 16 bits colour": (_tiff(DEEP_COLOUR, photometric="rgb"), DEEP_COLOUR),
    "tiff 32 bits": (_tiff(INTEGER, photometric="minisblack"), INTEGER),
    "tiff float": (_tiff(FLOAT, photometric="minisblack"), FLOAT),
    "tiff bool": (_tiff(GREY > 127, photometric="minisblack"), GREY > 127),
    "tiff deflate": (_tiff(DEEP, photometric="minisblack", compression="zlib"), DEEP),
    "tiff deflate strips": (
        _tiff(DEEP, photometric="minisblack", compression="zlib", rowsperstrip=4), DEEP,
    ),
    "tiff deflate tiles": (
        _tiff(DEEP, photometric="minisblack", compression="zlib", tile=(16, 16)), DEEP,
    ),
    "tiff deflate planar": (
        _tiff(
            np.moveaxis(DEEP_COLOUR, -1, 0), photometric="rgb", planarconfig="separate",
            compression="zlib",
        ),
        DEEP_COLOUR,
    ),
    "tiff lzma": (_tiff(DEEP, photometric="minisblack", compression="lzma"), DEEP),
    "tiff tiles": (_tiff(DEEP, photometric="minisblack", tile=(16, 16)), DEEP),
    "tiff imagej": (_tiff(DEEP, imagej=True), DEEP),
    "tiff ome": (_tiff(DEEP, ome=True, photometric="minisblack"), DEEP),
    "tiff bigtiff": (_tiff(DEEP, bigtiff=True, photometric="minisblack"), DEEP),
    "tiff one plane": (_tiff(DEEP[None], photometric="minisblack"), DEEP),
    "tiff lzw": (_pillow(GREY, "TIFF", compression="tiff_lzw"), GREY),
    "tiff lzw 16 bits": (_pillow(DEEP, "TIFF", compression="tiff_lzw"), DEEP),
    "tiff lzw colour": (_pillow(COLOUR, "TIFF", compression="tiff_lzw"), COLOUR),
    "tiff packbits": (_pillow(COLOUR, "TIFF", compression="packbits"), COLOUR),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_pixels_are_exact(name, tmp_path):
    data, wanted = EXACT[name]
    # By content: the suffix says nothing.
    (tmp_path / "n\u00e4me.xyz").write_bytes(data)
    found = read_image(tmp_path / "n\u00e4me.xyz")
    assert found.dtype == wanted.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, wanted)


def test_pixels_that_would_change_are_refused(tmp_path):
    """Pillow takes unsigned 32-bit pixels for signed ones."""
    data = _pillow(np.abs(INTEGER), "TIFF", compression="tiff_lzw")
    signed, unsigned = struct.pack("<HHII", 339, 3, 1, 2), struct.pack("<HHII", 339, 3, 1, 1)
    assert data.count(signed) == 1
    (tmp_path / "x.tif").write_bytes(data)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), np.abs(INTEGER))
    (tmp_path / "x.tif").write_bytes(data.replace(signed, unsigned))
    if importlib.util.find_spec("imagecodecs") is not None:
        assert read_image(tmp_path / "x.tif").dtype == np.uint32
        return
    with pytest.raises(ImageError, match=r"compression \(LZW\) may need the package imagecodecs"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_jpeg(array, tmp_path):
    (tmp_path / "x.jpg").write_bytes(_pillow(array, "JPEG", quality=95))
    with Image.open(tmp_path / "x.jpg") as image:
        np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), np.asarray(image))


def test_palettes_become_colours(tmp_path):
    image = Image.fromarray(COLOUR).quantize(16)
    image.save(tmp_path / "x.png")
    wanted = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), wanted)
    image.save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), wanted)
    image.save(tmp_path / "x.bmp")
    np.testing.assert_array_equal(read_image(tmp_path / "x.bmp"), wanted)
    image.save(tmp_path / "t.png", transparency=0)
    assert read_image(tmp_path / "t.png").shape == (13, 17, 4)


def test_grey_with_alpha_and_cmyk(tmp_path):
    pair = Image.fromarray(ALPHA).convert("LA")
    pair.save(tmp_path / "x.png")
    found = read_image(tmp_path / "x.png")
    assert found.shape == (13, 17, 4)
    np.testing.assert_array_equal(found[..., 0], np.asarray(pair)[..., 0])
    np.testing.assert_array_equal(found[..., 3], np.asarray(pair)[..., 1])
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "x.jpg")
    assert read_image(tmp_path / "x.jpg").shape == (13, 17, 3)


def test_interlaced_png(tmp_path):
    """Adam7 by hand: nothing here writes it."""
    rows = b""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    for y, x, down, across in [*passes, (1, 0, 2, 1)]:
        for row in GREY[y::down, x::across]:
            if len(row):
                rows += b"\0" + row.tobytes()
    (tmp_path / "x.png").write_bytes(_png(17, 13, 8, 0, zlib.compress(rows), interlace=1))
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), GREY)


def test_orientation_is_named_not_applied(tmp_path, caplog):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "x.jpg").write_bytes(_pillow(COLOUR, "JPEG", exif=exif))
    assert read_image(tmp_path / "x.jpg").shape == (13, 17, 3)
    assert "used as stored" in caplog.text


def _png(width, height, depth, colour, data, interlace=0) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return SIGNATURE + chunks


def _patched(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


STACK = RNG.integers(0, 256, (3, 13, 17), dtype=np.uint8)


def _ring() -> bytes:
    """A page that leads to one without tags, which leads back."""
    data = _tiff(GREY, photometric="minisblack", metadata=None)
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    data = _patched(data, first + 2 + 12 * entries, struct.pack("<I", len(data)))
    return data + struct.pack("<HI", 0, first)


def _of_size(data: bytes, side: int) -> bytes:
    """Return a TIFF that claims to have side x side pixels."""
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        places = [tiff.pages[0].tags[code].offset for code in (256, 257)]
    for place in places:
        data = _patched(data, place + 2, struct.pack("<HII", 4, 1, side))
    return data


def _bomb(kind: str) -> bytes:
    """Return a TIFF of 10 x 10 pixels, whose only strip unpacks to far more."""
    plain = bytes(1 << 28)
    code, packed = {
        "deflate": (8, lambda: zlib.compress(plain)),
        "adobe deflate": (32946, lambda: zlib.compress(plain)),
        "lzma": (34925, lambda: lzma.compress(plain, preset=0)),
        "lzma streams": (34925, lambda: lzma.compress(bytes(60_000), preset=0) * 4000),
        "packbits": (32773, lambda: b"\x81\0" * (1 << 20)),
    }[kind]
    data, strip = _tiff(np.zeros((10, 10), dtype=np.uint8), metadata=None), packed()
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        places = {number: tiff.pages[0].tags[number].offset for number in (259, 273, 279)}
    for number, value in ((259, code), (273, len(data)), (279, len(strip))):
        data = _patched(data, places[number] + 2, struct.pack("<HII", 4, 1, value))
    return data + strip


@pytest.mark.parametrize("reader", [read_image, read_labels])
@pytest.mark.parametrize("kind", ["deflate", "adobe deflate", "lzma", "lzma streams", "packbits"])
def test_a_tiff_that_unpacks_to_far_more_takes_no_memory(kind, reader, tmp_path):
    (tmp_path / "x.tif").write_bytes(_bomb(kind))
    tracemalloc.start()
    try:
        with pytest.raises((ImageError, ReadError), match="unpacks to more than the 65,636 bytes"):
            reader(tmp_path / "x.tif")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20_000_000


def test_a_tiff_of_one_huge_tile_takes_no_memory(tmp_path):
    data = _tiff(GREY, photometric="minisblack", tile=(16, 32), compression="zlib", metadata=None)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        places = [tiff.pages[0].tags[number].offset for number in (322, 323)]
    for place in places:
        data = _patched(data, place + 2, struct.pack("<HII", 4, 1, 1 << 16))
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(ImageError, match="tiles of 65536 x 65536 pixels"):
        read_image(tmp_path / "x.tif")


RING = _ring()
REFUSED = {
    "empty": (b"", "is empty"),
    "text": (b"hello, world", "no PNG, JPEG, BMP or TIFF"),
    "gif": (_pillow(GREY, "GIF"), "no PNG, JPEG, BMP or TIFF"),
    "webp": (b"RIFF\0\0\0\0WEBPVP8 ", "no PNG, JPEG, BMP or TIFF"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no PNG, JPEG, BMP or TIFF"),
    "png head": (EXACT["png grey"][0][:20], "cut short"),
    "png cut": (EXACT["png colour"][0][:200], "damaged or cut short"),
    "png 16 bits colour": (_opencv(DEEP_COLOUR, ".png"), "16-bit colour PNG"),
    "png over the cap": (
        _png(30_000, 30_000, 1, 0, bytes(200_000)), "30000 x 30000 pixels, more than",
    ),
    "png of nothing": (_png(20_000, 20_000, 8, 6, b""), "cannot hold"),
    "png animation": (
        _pillow(GREY, "PNG", save_all=True, append_images=[Image.fromarray(255 - GREY)]),
        "more than one image: 2 pictures of an animation",
    ),
    "jpeg cut": (_pillow(COLOUR, "JPEG")[:300], "damaged or cut short"),
    "jpeg head": (b"\xff\xd8\xff\xe0", "damaged or cut short"),
    "bmp cut": (EXACT["bmp colour"][0][:80], "damaged or cut short"),
    "bmp over the cap": (
        _patched(EXACT["bmp colour"][0], 18, struct.pack("<ii", 30_000, 30_000)), "more than",
    ),
    "tiff head": (b"II*\0", "no TIFF page"),
    "tiff cut": (EXACT["tiff 16 bits"][0][:100], "TIFF page|cannot be decoded"),
    "tiff data cut": (
        _tiff(DEEP, photometric="minisblack", compression="zlib")[:-40], "TIFF page|decoded",
    ),
    "tiff loop": (b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "TIFF page"),
    "tiff pages in a ring": (RING, "TIFF page"),
    "tiff stack": (_tiff(STACK, photometric="minisblack"), "more than one image: 3 pages"),
    "tiff ome stack": (_tiff(STACK, ome=True, photometric="minisblack"), "more than one image"),
    "tiff imagej stack": (_tiff(STACK, imagej=True), "more than one image"),
    "tiff over the cap": (
        _of_size(_tiff(GREY, photometric="minisblack", metadata=None), 30_000),
        "30000 x 30000 pixels, more than",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path, monkeypatch):
    data, message = REFUSED[name]
    (tmp_path / "file").write_bytes(data)
    if "cap" in name or "nothing" in name:

        def decode(*_, **__):
            raise AssertionError("it was decoded")

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decode)
        monkeypatch.setattr("tifffile.TiffPage.asarray", decode)
    with pytest.raises(ImageError, match=message) as caught:
        read_image(tmp_path / "file")
    assert str(tmp_path / "file") in str(caught.value)


def test_two_pages_of_different_size(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(GREY[:5], photometric="minisblack")
    with pytest.raises(ImageError, match="more than one image: 2 pages"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize("name", ["png grey", "bmp grey", "tiff grey", "jpeg"])
def test_the_limit_on_pixels_is_exact(name, tmp_path):
    data = _pillow(GREY, "JPEG") if name == "jpeg" else EXACT[name][0]
    (tmp_path / "x").write_bytes(data)
    assert read_image(tmp_path / "x", max_pixels=13 * 17).shape == (13, 17)
    with pytest.raises(ImageError, match="13 x 17 pixels, more than the 220"):
        read_image(tmp_path / "x", max_pixels=13 * 17 - 1)


def test_many_pixels_below_the_limit_are_no_bomb_warning(tmp_path):
    """Pillow warns beyond 89 million pixels, whose limit belongs to the host process."""
    side = 9600
    data = zlib.compress(bytes(side * (1 + side // 8)))
    (tmp_path / "x.png").write_bytes(_png(side, side, 1, 0, data))
    assert read_image(tmp_path / "x.png").shape == (side, side)


@pytest.mark.parametrize(("path", "message"), [("none", "cannot be read"), (".", "is a folder")])
def test_no_file(path, message, tmp_path):
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / path)
    with pytest.raises(ReadError, match="there is no such file"):
        read_labels(tmp_path / path)


def test_a_name_with_a_nul():
    with pytest.raises(ImageError, match="no name of a file"):
        read_image("a\0b")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code = "import sys; from napari_sam_amg.formats import read_image; read_image(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pipe")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "is not a file" in done.stderr


@pytest.mark.parametrize("count", [0, 1, 255, 256, 65_535, 65_536])
def test_label_images_have_16_or_32_bits(count, tmp_path):
    from napari_sam_amg.formats import write_labels
    from napari_sam_amg.masks import Masks, MaskStore, MaskTable

    pixel = np.ones((1, 1), dtype=bool)
    store = MaskStore.from_windows((260, 260), ((n % 260, n // 260, pixel) for n in range(count)))
    masks = Masks(store, MaskTable.unknown(store))
    write_labels(masks, tmp_path / "x.tif")
    found = tifffile.imread(tmp_path / "x.tif")
    assert found.dtype == (np.uint32 if count > 65_535 else np.uint16)
    np.testing.assert_array_equal(found.ravel()[:count], np.arange(1, count + 1))
    assert not found.ravel()[count:].any()
    np.testing.assert_array_equal(read_labels(tmp_path / "x.tif"), found)
    with Image.open(tmp_path / "x.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), found)


@pytest.mark.parametrize("array", [COLOUR, FLOAT, INTEGER])
def test_what_is_no_label_image(array, tmp_path):
    (tmp_path / "x.tif").write_bytes(_tiff(array))
    with pytest.raises(ReadError, match="is no label image"):
        read_labels(tmp_path / "x.tif")
