"""ImageJ's ROIs, read by roifile and filled by scikit-image."""

from __future__ import annotations

import struct
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest
from roifile import ROI_TYPE, ImagejRoi, roiread
from skimage import measure

from _scale import scaled
from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats import imagej, write_imagej_rois
from napari_sam_amg.masks import Masks, MaskStore, MaskTable

if TYPE_CHECKING:
    from pathlib import Path


def _filled(roi: ImagejRoi, shape: tuple[int, int], left: int = 0, top: int = 0) -> np.ndarray:
    """Pixels of a part of the image whose centres have an odd number of outlines around."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
    inside = np.zeros(shape, dtype=bool)
    for ring in roi.coordinates(multi=True):
        corners = ring.astype(np.float64) - (left, top)
        inside ^= measure.points_in_poly(centres, corners).reshape(shape)
    return inside


def _properties(path: Path) -> list[str]:
    """Properties where ImageJ looks for them, as roifile did not read them before 2026."""
    texts = []
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            data = archive.read(entry)
            (second_header,) = struct.unpack(">i", data[60:64])
            start, length = struct.unpack(">ii", data[second_header + 40 : second_header + 48])
            texts.append(data[start : start + 2 * length].decode("utf-16-be"))
    return texts


def _at(left: int, top: int, window: np.ndarray) -> Masks:
    shape = (top + window.shape[0], left + window.shape[1])
    store = MaskStore.from_windows(shape, [(left, top, window)])
    return Masks(store, MaskTable.unknown(store))


def _ring() -> np.ndarray:
    window = np.ones((4, 5), dtype=bool)
    window[1:3, 2] = False
    return window


def test_every_mask_comes_back_whole(random_masks, rng, tmp_path):
    kinds = set()
    for _ in range(scaled(100)):
        masks = random_masks(rng)
        write_imagej_rois(masks, tmp_path / "a.zip")
        rois = roiread(tmp_path / "a.zip")
        assert [roi.name for roi in rois] == [f"{i + 1:04}" for i in range(len(masks))]
        for index, roi in enumerate(rois):
            np.testing.assert_array_equal(_filled(roi, masks.shape), masks[index])
            left, top, window = masks.window(index)
            height, width = window.shape
            assert (roi.left, roi.top) == (left, top)
            assert (roi.right, roi.bottom) == (left + width, top + height)
            assert (roi.position, roi.c_position, roi.z_position, roi.t_position) == (0, 0, 0, 0)
            kinds.add((roi.roitype, roi.composite))
    assert kinds == {(ROI_TYPE.TRACED, False), (ROI_TYPE.RECT, True)}


def test_only_pieces_and_holes_make_a_composite(tmp_path):
    box, ring, pieces = np.zeros((3, 6, 9), dtype=bool)
    box[1:4, 2:8] = True
    ring[1:5, 1:6] = _ring()
    pieces[[0, 1], [0, 1]] = True
    write_imagej_rois(Masks.from_arrays([box, ring, pieces]), tmp_path / "a.zip")
    rois = roiread(tmp_path / "a.zip")
    assert [roi.composite for roi in rois] == [False, True, True]
    assert [len(roi.coordinates(multi=True)) for roi in rois] == [1, 2, 2]
    corners = rois[0].coordinates().tolist()
    assert corners == [[2, 1], [8, 1], [8, 4], [2, 4]]


def test_the_bytes_are_those_of_imagej(tmp_path):
    write_imagej_rois(_at(3, 2, np.ones((4, 5), dtype=bool)), tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        (entry,) = archive.infolist()
        data = archive.read(entry)
    # Java reads archives as a stream: sizes have to come before what they are of.
    assert (entry.filename, entry.flag_bits & 0x08) == ("0001.roi", 0)
    assert data[:4] == b"Iout"
    version, kind, top, left, bottom, right, count = struct.unpack(">hBxhhhhH", data[4:18])
    assert version >= 224, "since which there are properties"
    assert (kind, top, left, bottom, right, count) == (8, 2, 3, 6, 8, 4)
    assert struct.unpack(">8h", data[64:80]) == (0, 5, 5, 0, 0, 0, 4, 4)


@pytest.mark.parametrize("window", [np.ones((2, 3), dtype=bool), _ring()])
@pytest.mark.parametrize(
    ("left", "top"),
    [(32_760, 3), (3, 32_766), (40_000, 50_000), (60_532, 0), (60_533, 0), (9, 70_000),
     (65_534, 65_535), (2**24 - 5, 0)],
)  # fmt: skip
def test_far_corners_are_exact(left, top, window, tmp_path):
    """Whole numbers of 16 bits up to where ImageJ takes them for negative, then floats."""
    write_imagej_rois(_at(left, top, window), tmp_path / "a.zip")
    (roi,) = roiread(tmp_path / "a.zip")
    np.testing.assert_array_equal(_filled(roi, window.shape, left, top), window)
    reach = max(left + window.shape[1], top + window.shape[0])
    assert roi.composite == (reach > 60_535 or not window.all())
    if not roi.composite:
        # What ImageJ's decoder makes of the box and of the offsets from it.
        assert (roi.left, roi.top) == (left, top)
        assert roi.integer_coordinates.max(axis=0).tolist() == [3, 2]


@pytest.mark.parametrize(("left", "top"), [(2**24, 0), (5, 2**24)])
def test_beyond_what_floats_hold_nothing_is_written(left, top, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"old")
    with pytest.raises(WriteError, match=r"reaches to pixel 16,777,21.*another format"):
        write_imagej_rois(_at(left, top, np.ones((1, 1), dtype=bool)), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == b"old"


def test_an_outline_of_very_many_corners(tmp_path):
    """More than 16 bits count."""
    comb = np.ones((2, 40_001), dtype=bool)
    comb[0, 1::2] = False
    write_imagej_rois(_at(0, 0, comb), tmp_path / "a.zip")
    (roi,) = roiread(tmp_path / "a.zip")
    assert (roi.roitype, roi.n_coordinates) == (ROI_TYPE.TRACED, 80_004)
    x, y = roi.coordinates().T.astype(np.int64)
    assert abs(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) == 2 * comb.sum()


def test_known_scores_are_properties(tmp_path):
    iou = np.array([0.93, np.nan, 1 / 3, 1e-45], dtype=np.float32)
    stability = np.array([np.nan, np.inf, 1.0, 0.5], dtype=np.float32)
    masks = Masks.from_arrays(np.ones((4, 2, 2)), predicted_iou=iou, stability_score=stability)
    write_imagej_rois(masks, tmp_path / "a.zip")
    texts = _properties(tmp_path / "a.zip")
    assert texts[:2] == ["predicted_iou: 0.93\n", ""]
    found = dict(line.split(": ") for line in texts[2].splitlines())
    assert list(found) == ["predicted_iou", "stability_score"]
    assert np.float32(found["predicted_iou"]) == iou[2]
    assert float(found["stability_score"]) == 1
    assert np.float32(texts[3].split()[1]) == iou[3]


def test_no_masks_make_an_empty_archive_under_any_name(tmp_path):
    path = tmp_path / "\u7d30\u80de \u00e9" / "\U0001f600.zip"
    write_imagej_rois(Masks.empty((5, 5)), path)
    assert zipfile.is_zipfile(path)
    assert roiread(path) == []


def test_more_masks_than_four_digits_still_sort(tmp_path, monkeypatch):
    masks = Masks.from_arrays([np.ones((1, 1))])[np.zeros(10_000, dtype=np.int64)]
    # One ROI for all, as this is about names only.
    roi = ImagejRoi()
    monkeypatch.setattr(imagej, "_roi", lambda *_: roi)
    write_imagej_rois(masks, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        names = archive.namelist()
    assert names == sorted(names)
    assert (names[0], names[-1]) == ("00001.roi", "10000.roi")


def test_the_same_masks_give_the_same_bytes(random_masks, rng, tmp_path, monkeypatch):
    masks = random_masks(rng, count=4)
    write_imagej_rois(masks, tmp_path / "a.zip")
    monkeypatch.setattr(zipfile.time, "time", lambda: 2e9)
    write_imagej_rois(masks, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_an_interruption_leaves_the_earlier_file(random_masks, rng, tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(b"old")
    roi = imagej._roi

    def interrupted(masks, index, name):
        if index == 2:
            raise KeyboardInterrupt
        return roi(masks, index, name)

    monkeypatch.setattr(imagej, "_roi", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_imagej_rois(random_masks(rng, count=3), tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == b"old"
