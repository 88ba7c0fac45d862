"""PNG folders, ours and amg.py's, and folders that are neither."""

from __future__ import annotations

import csv
import os
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_sam_amg.errors import ReadError, WriteError
from napari_sam_amg.formats import png, read_png_folder, write_png_folder
from napari_sam_amg.masks import Masks

HEADER = (
    "id,area,bbox_x0,bbox_y0,bbox_w,bbox_h,point_input_x,point_input_y,predicted_iou,"
    "stability_score,crop_box_x0,crop_box_y0,crop_box_w,crop_box_h"
)


@pytest.fixture
def masks(random_masks) -> Masks:
    return random_masks(np.random.default_rng(1), shape=(23, 37), count=5)


def _as_amg_writes_it(masks: Masks, folder) -> None:
    """Make the files that segment-anything's script makes, by other means than ours."""
    folder.mkdir()
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEADER.split(","))
        for number, record in enumerate(masks.records("binary_mask")):
            cv2.imwrite(
                str(folder / f"{number}.png"), record["segmentation"].astype(np.uint8) * 255
            )
            writer.writerow(
                [
                    number,
                    record["area"],
                    *record["bbox"],
                    *record["point_coords"][0],
                    record["predicted_iou"],
                    record["stability_score"],
                    *record["crop_box"],
                ]
            )


def test_what_is_written_is_what_amg_writes(masks, tmp_path):
    write_png_folder(masks, tmp_path / "ours")
    _as_amg_writes_it(masks, tmp_path / "theirs")
    ours = (tmp_path / "ours" / "metadata.csv").read_bytes()
    assert ours.split(b"\n")[0] == HEADER.encode()
    tables = [pd.read_csv(tmp_path / n / "metadata.csv") for n in ("ours", "theirs")]
    pd.testing.assert_frame_equal(*tables, check_dtype=False, check_exact=True)
    names = {n: sorted(os.listdir(tmp_path / n)) for n in ("ours", "theirs")}
    assert names["ours"] == sorted([*names["theirs"], "run.json"])
    for number in range(len(masks)):
        file = str(tmp_path / "ours" / f"{number}.png")
        pixels = cv2.imread(file, cv2.IMREAD_UNCHANGED)
        assert pixels.dtype == np.uint8
        np.testing.assert_array_equal(pixels, masks[number] * np.uint8(255))
        with Image.open(file) as image:
            assert image.mode == "L"


def test_a_folder_of_amg_is_read(masks, tmp_path):
    _as_amg_writes_it(masks, tmp_path / "theirs")
    found = read_png_folder(tmp_path / "theirs")
    assert found.shape == masks.shape
    assert found.features.drop(columns="area_visible").equals(
        masks.features.drop(columns="area_visible")
    )
    assert all((found[i] == masks[i]).all() for i in range(len(masks)))
    assert found.provenance == {}


def test_a_table_saved_by_a_spreadsheet_is_read(masks, tmp_path):
    write_png_folder(masks, tmp_path / "x")
    table = tmp_path / "x" / "metadata.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert read_png_folder(tmp_path / "x").features.equals(masks.features)


def test_no_masks(tmp_path):
    write_png_folder(Masks.empty((12, 34)), tmp_path / "x")
    assert (tmp_path / "x" / "metadata.csv").read_text() == HEADER + "\n"
    assert read_png_folder(tmp_path / "x").shape == (12, 34)
    (tmp_path / "x" / "run.json").unlink()
    with pytest.raises(ReadError, match="size of its image is unknown"):
        read_png_folder(tmp_path / "x")


TABLE = HEADER + "\n"
FRAMES = {"0.png": "frame", "1.png": "frame"}


@pytest.mark.parametrize(
    ("content", "overwrite", "message"),
    [
        ({}, False, None),
        ({}, True, None),
        ({"metadata.csv": TABLE, "0.png": "", "run.json": "{}"}, True, None),
        ({"metadata.csv": TABLE, "0.png": ""}, True, None),
        ({"metadata.csv": "\ufeff" + TABLE.replace("\n", "\r\n"), "0.png": ""}, True, None),
        ({"metadata.csv": TABLE, "0.png": ""}, False, "overwrite=True"),
        ({"notes.txt": "mine"}, False, "overwrite=True"),
        ({"metadata.csv": TABLE, "notes.txt": "mine"}, True, r"notes\.txt"),
        # The frames of a film are numbered too: names alone say nothing.
        (FRAMES, True, r"more than an earlier result: 0\.png, 1\.png"),
        (FRAMES | {"run.json": "{}"}, True, r"0\.png"),
        (FRAMES | {"metadata.csv": ""}, True, r"0\.png"),
        (FRAMES | {"metadata.csv": "frame,time\n0,0.1\n"}, True, r"0\.png"),
        (FRAMES | {"metadata.csv": TABLE.replace("area", "Area")}, True, r"0\.png"),
        (FRAMES | {"metadata.csv": HEADER + ",well\n"}, True, r"0\.png"),
    ],
)
def test_existing_folders(content, overwrite, message, masks, tmp_path):
    (tmp_path / "x").mkdir()
    for name, text in content.items():
        (tmp_path / "x" / name).write_bytes(text.encode())
    if message is None:
        write_png_folder(masks, tmp_path / "x", overwrite=overwrite)
        assert read_png_folder(tmp_path / "x").features.equals(masks.features)
    else:
        with pytest.raises(WriteError, match=message):
            write_png_folder(masks, tmp_path / "x", overwrite=overwrite)
        after = {p.name: p.read_bytes().decode() for p in (tmp_path / "x").iterdir()}
        assert after == content


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_a_table_elsewhere_does_not_make_a_result(masks, tmp_path):
    (tmp_path / "table").write_text(TABLE)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "0.png").write_text("frame")
    (tmp_path / "x" / "metadata.csv").symlink_to(tmp_path / "table")
    with pytest.raises(WriteError, match="more than an earlier result"):
        write_png_folder(masks, tmp_path / "x", overwrite=True)
    assert (tmp_path / "x" / "0.png").read_text() == "frame"


def _row(line: int, column: int, text: str):
    def damage(folder):
        lines = (folder / "metadata.csv").read_text().splitlines()
        cells = lines[line].split(",")
        cells[column] = text
        lines[line] = ",".join(cells)
        (folder / "metadata.csv").write_text("\n".join(lines))

    return damage


def _replace(name: str, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def _remove(name: str):
    return lambda folder: (folder / name).unlink()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, depth: int, colour: int, rows: bytes, interlace=0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    palette = _chunk(b"PLTE", bytes(768)) if colour == 3 else b""
    return (
        png.SIGNATURE
        + _chunk(b"IHDR", header)
        + palette
        + _chunk(b"IDAT", zlib.compress(rows, 9))
        + _chunk(b"IEND", b"")
    )


def _png(width=37, height=23, depth=8, colour=0) -> bytes:
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * channels * depth + 7) // 8)
    return make_png(width, height, depth, colour, row * height)


FOLDERS = {
    "no table": (_remove("metadata.csv"), r"holds no metadata\.csv"),
    "no picture": (_remove("3.png"), r"3\.png cannot be read"),
    "empty table": (_replace("metadata.csv", b""), "does not begin with the header"),
    "binary table": (_replace("metadata.csv", bytes(range(256))), "not a table"),
    "nul in table": (_replace("metadata.csv", b"\0\0\0"), "metadata"),
    "other header": (_row(0, 1, "Area"), "does not begin with the header"),
    "long cell": (_row(1, 1, "1" * 200_000), "metadata"),
    "too few cells": (_replace("metadata.csv", (HEADER + "\n0,1").encode()), "2 cells"),
    "open quote": (_replace("metadata.csv", (HEADER + '\n"0,1').encode()), "not a table"),
    "text": (_row(1, 8, "high"), "'high'; expected a number"),
    "formula": (_row(2, 8, "=1+1"), "expected a number"),
    "ids": (_row(2, 0, "7"), "has id '7'; expected 1"),
    "id is a path": (_row(2, 0, "../../x"), "expected a number"),
    "crop box": (_row(2, 11, "0.5"), "whole numbers"),
    "crop box nan": (_row(2, 11, "nan"), "whole numbers"),
    "crop box inf": (_row(2, 11, "1e999"), "whole numbers"),
    "row too few": (
        lambda f: (f / "metadata.csv").write_text(
            "\n".join((f / "metadata.csv").read_text().splitlines()[:-1])
        ),
        "incomplete",
    ),
    "run no json": (_replace("run.json", b"{"), "is not JSON"),
    "run a list": (_replace("run.json", b"[]"), "record of the run is damaged"),
    "run without shape": (_replace("run.json", b"{}"), "image size"),
    "run huge": (_replace("run.json", b'{"shape": [99999, 99999]}'), "pixels that are read"),
    "run negative": (_replace("run.json", b'{"shape": [-23, 37]}'), "positive"),
    "run other shape": (_replace("run.json", b'{"shape": [37, 23]}'), "but the image has"),
    "run other count": (_replace("run.json", b'{"shape": [23, 37], "count": 9}'), "incomplete"),
    "run rule": (_replace("run.json", b'{"shape": [23, 37], "overlap": "x"}'), "overlap rule"),
    "run rule list": (_replace("run.json", b'{"shape": [23, 37], "overlap": []}'), "overlap"),
    "run mode": (_replace("run.json", b'{"shape": [23, 37], "output_mode": 1}'), "output mode"),
    "run provenance": (
        _replace("run.json", b'{"shape": [23, 37], "provenance": 1}'), "provenance is damaged",
    ),
    "run deep": (_replace("run.json", b"[" * 200_000), "nested too deep"),
    "png no png": (_replace("2.png", b"GIF89a" + bytes(99)), "not a PNG"),
    "png empty": (_replace("2.png", b""), "not a PNG"),
    "png cut": (lambda f: (f / "2.png").write_bytes((f / "2.png").read_bytes()[:50]), "damaged"),
    "png other size": (_replace("2.png", _png(23, 37)), "but the image has"),
    "png colour": (_replace("2.png", _png(colour=2)), "8-bit colour PNG"),
    "png palette": (_replace("2.png", _png(colour=3)), "8-bit palette PNG"),
    "png 16 bits": (_replace("2.png", _png(depth=16)), "16-bit grey PNG"),
    "png alpha": (_replace("2.png", _png(colour=4)), "grey with alpha"),
    "png claims": (
        _replace("2.png", make_png(100_000, 100_000, 8, 0, b"")), "bytes cannot hold",
    ),
    "png no height": (_replace("2.png", make_png(37, 0, 8, 0, b"")), "header is damaged"),
    "png bad depth": (_replace("2.png", make_png(37, 23, 7, 0, b"")), "header is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_damaged_folders(name, masks, tmp_path):
    write_png_folder(masks, tmp_path / "x")
    damage, message = FOLDERS[name]
    damage(tmp_path / "x")
    with pytest.raises(ReadError, match=message) as caught:
        read_png_folder(tmp_path / "x")
    assert str(tmp_path / "x") in str(caught.value)


@pytest.mark.parametrize("what", ["file", "nothing", "nul"])
def test_what_is_no_folder(what, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReadError, match="is not a folder"):
        read_png_folder(str(tmp_path / what) + ("\0" if what == "nul" else ""))


@pytest.mark.parametrize("name", ["0.png", "metadata.csv", "run.json"])
@pytest.mark.skipif(sys.platform == "win32", reason="links need a right there")
def test_links_out_of_the_folder_are_not_followed(name, masks, tmp_path):
    write_png_folder(masks, tmp_path / "x")
    (tmp_path / "x" / name).rename(tmp_path / "outside")
    (tmp_path / "x" / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ReadError, match="is a link"):
        read_png_folder(tmp_path / "x")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes are POSIX")
@pytest.mark.parametrize("name", ["0.png", "metadata.csv", "run.json"])
def test_a_pipe_does_not_hang_the_reader(name, masks, tmp_path):
    write_png_folder(masks, tmp_path / "x")
    (tmp_path / "x" / name).unlink()
    os.mkfifo(tmp_path / "x" / name)
    code = "import sys; from napari_sam_amg import read_png_folder; read_png_folder(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ReadError" in done.stderr
    assert "is not a file" in done.stderr


def test_a_bomb_is_refused_before_it_is_decoded(masks, tmp_path, monkeypatch):
    write_png_folder(masks[:1], tmp_path / "x")
    (tmp_path / "x" / "run.json").unlink()
    side = 24_000
    bomb = make_png(side, side, 1, 0, bytes(side * (1 + side // 8)))
    (tmp_path / "x" / "0.png").write_bytes(bomb)

    def decode(*_):
        raise AssertionError("it was decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decode)
    with pytest.raises(ReadError, match="24000 x 24000 pixels; at most"):
        read_png_folder(tmp_path / "x")


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_of_fewer_bits_and_other_values_is_read(depth, masks, tmp_path):
    write_png_folder(masks[:1], tmp_path / "x")
    rows = bytes([0]) + bytes([0b10_00_00_01] * ((37 * depth + 7) // 8))
    (tmp_path / "x" / "0.png").write_bytes(make_png(37, 23, depth, 0, rows * 23))
    bits = np.unpackbits(np.frombuffer(rows[1:], np.uint8))[: 37 * depth].reshape(37, depth)
    np.testing.assert_array_equal(
        read_png_folder(tmp_path / "x")[0], np.tile(bits.any(axis=1), (23, 1))
    )


def test_a_mask_without_pixels_is_left_out_with_a_warning(masks, tmp_path, caplog):
    write_png_folder(masks, tmp_path / "x")
    (tmp_path / "x" / "1.png").write_bytes(_png())
    found = read_png_folder(tmp_path / "x")
    assert len(found) == 4
    np.testing.assert_array_equal(found[1], masks[2])
    np.testing.assert_array_equal(found.points, masks.points[[0, 2, 3, 4]])
    assert "left out 1 masks without pixels" in caplog.text
