"""``--link``: objects over slices and tracks over time, against SciPy's own components."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from scipy import ndimage

from _runs import command
from napari_sam_amg.cli import main
from napari_sam_amg.cli.options import parse
from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 40


def scene(length: int) -> np.ndarray:
    """Return planes of squares: two that drift slowly, one in a single plane (uint8)."""
    data = np.full((length, SIDE, SIDE), 10, np.uint8)
    for number in range(length):
        data[number, 4 + number : 12 + number, 4:12] = 200
        data[number, 24:32, 10 + number : 20 + number] = 200
    data[1, 4:10, 30:36] = 200
    return data


def write(path: Path, data: np.ndarray, axes: str, **metadata: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    words: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(path, data, metadata={"axes": axes, **metadata}, **words)


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label images have the same objects, whatever their numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs)


def read(tmp_path: Path, name: str = "a") -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    out = tmp_path / "out"
    tables = [pd.read_csv(out / f"{name}.{kind}.csv") for kind in ("objects", "places")]
    return tifffile.imread(out / f"{name}.tif"), *tables


@pytest.mark.parametrize("axes", ["ZYX", "TYX"])
def test_one_axis(tmp_path: Path, generator: Any, axes: str) -> None:
    data = scene(4)
    write(
        tmp_path / "in" / "a.tif",
        data,
        axes,
        PhysicalSizeX=0.5,
        PhysicalSizeY=0.5,
        PhysicalSizeZ=2,
    )
    assert main(command(tmp_path, "--format", "labels", "--link")) == 0
    labels, objects, places = read(tmp_path)
    # All spots together, which the generator finds too, are an object of their own.
    assert len(objects) == 3
    expected = ndimage.label(data > 127)[0]
    if axes == "ZYX":
        # The square of a single plane is dropped, and with it what hid the whole there.
        assert objects["voxels"].max() == (data > 127).sum()
        assert places["slice"].tolist() == [0, 1, 2, 3] * 3
        assert {"volume_um3", "centroid_um-0"} <= set(objects)
    else:
        expected[1, 4:10, 30:36] = 0
        assert objects["track_id"].tolist() == [1, 2, 3]
        assert places["frame"].tolist() == [0, 1, 2, 3] * 3
    assert same_partition(labels, expected)


def test_both_axes(tmp_path: Path, generator: Any) -> None:
    data = np.stack([scene(3)] * 2, axis=1)  # T, Z: the slices of a time point are alike
    write(tmp_path / "in" / "a.tif", data, "TZYX")
    assert main(command(tmp_path, "--format", "ome-zarr", "--link")) == 0
    labels = zarr.open_group(tmp_path / "out" / "a.ome.zarr")["labels/masks/0"][:]
    assert labels.shape == data.shape
    np.testing.assert_array_equal(labels[:, 0], labels[:, 1])
    expected = ndimage.label(data[:, 0] > 127)[0]
    expected[1, 4:10, 30:36] = 0
    assert same_partition(labels[:, 0], expected)


def test_planes_without_a_stack_are_objects(tmp_path: Path, generator: Any) -> None:
    """A folder of stacks and single images has the same tables for each."""
    write(tmp_path / "in" / "a.tif", scene(3)[1], "YX")
    assert main(command(tmp_path, "--format", "labels", "--link")) == 0
    labels, objects, places = read(tmp_path)
    assert labels.shape == (SIDE, SIDE)
    assert same_partition(labels, ndimage.label(scene(3)[1] > 127)[0])
    assert len(objects) == len(places) == 4


def test_how_it_was_linked_is_told_and_can_be_set(tmp_path: Path, generator: Any) -> None:
    write(tmp_path / "in" / "a.tif", scene(3), "ZYX")
    flags = ("--link-min-extent", "1", "--link-fill-gaps", "leave_open")
    assert main(command(tmp_path, "--format", "labels", "--link", *flags)) == 0
    labels, objects, _ = read(tmp_path)
    assert same_partition(labels, ndimage.label(scene(3) > 127)[0])
    assert (objects["extent"] == 1).any()
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as tiff:
        text = tiff.ome_metadata
    assert json.dumps("min_extent") in text.replace("&quot;", '"')


def test_what_has_tables_is_done(tmp_path: Path, generator: Any) -> None:
    write(tmp_path / "in" / "a.tif", scene(3), "ZYX")
    run = command(tmp_path, "--format", "labels", "--link", "--skip-existing")
    assert main(run) == 0
    seen = len(generator.seen)
    assert main(run) == 0
    assert len(generator.seen) == seen
    (tmp_path / "out" / "a.places.csv").unlink()
    assert main(run) == 0
    assert len(generator.seen) == 2 * seen
    (tmp_path / "out" / "a.places.csv").write_text("mine\n")
    assert main(run) == 2  # a file of someone else
    assert (tmp_path / "out" / "a.places.csv").read_text() == "mine\n"


REFUSED = [
    (("--link",), "--link needs --format labels or ome-zarr, found png"),
    (("--format", "labels", "--track-max-gap", "2"), "--track-max-gap needs --link"),
    (("--format", "labels", "--link", "--link-max-gap", "-1"), r"--link-max-gap=-1: .*0 to 100"),
    (
        ("--format", "labels", "--link", "--track-max-distance", "far"),
        "--track-max-distance='?far",
    ),
    (("--format", "labels", "--link", "--link-gap", "1"), "did you mean --link-max-gap"),
]


@pytest.mark.parametrize(("flags", "said"), REFUSED)
def test_what_is_refused(flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse(["--input", "a.tif", "--output", "out", *flags])


def test_flags_become_parameters() -> None:
    flags = ["--track-max-distance", "none", "--no-track-divisions", "--link-min-overlap=0.5"]
    linking = parse(
        ["--input", "a", "--output", "o", "--format", "labels", "--link", *flags]
    ).linking
    assert linking is not None
    assert linking.track.max_distance is None
    assert not linking.track.divisions
    assert linking.link.min_overlap == 0.5


def test_settings_of_the_widget_lie_beneath_the_flags(tmp_path: Path) -> None:
    settings = {
        "kind": "napari-sam-amg settings",
        "version": 1,
        "model": "nuclei-nano",
        "parameters": {},
        "linking": {"link": {"max_gap": 4, "min_extent": 3}, "track": {"divisions": False}},
    }
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    words = ["--input", "a", "--output", "o", "--format", "labels", "--config", str(path)]
    assert parse(words).linking is None
    linking = parse([*words, "--link", "--link-max-gap", "1"]).linking
    assert linking is not None
    assert (linking.link.max_gap, linking.link.min_extent) == (1, 3)
    assert not linking.track.divisions
    assert linking.track.max_gap == parse([*words[:6], "--link"]).linking.track.max_gap
    path.write_text(json.dumps(settings | {"linking": {"link": {"max_gap": -4}}}))
    with pytest.raises(ParameterError, match=r"settings\.json.*max_gap=-4"):
        parse([*words, "--link"])


@pytest.mark.parametrize("axes", ["CZYX", "TCYX", "TZCYX"])
def test_tables_have_the_intensities_of_all_channels(
    tmp_path: Path, generator: Any, axes: str
) -> None:
    planes = scene(3)
    marker = (np.indices(planes.shape).sum(axis=0) + 20).astype(np.uint8)
    data = np.stack([planes, marker], axis=0 if axes == "CZYX" else 1)
    if axes == "TZCYX":
        data = np.stack([data, data], axis=1)
    write(tmp_path / "in" / "a.tif", data, axes, Channel={"Name": ["DAPI", "GFP"]})
    flags = ("--format", "labels", "--link", "--measure", "--channel", "DAPI")
    assert main(command(tmp_path, *flags)) == 0
    labels, objects, places = read(tmp_path)
    place = "slice" if axes == "CZYX" else "frame"
    labels = labels[:, 0] if axes == "TZCYX" else labels
    number = "label" if axes == "CZYX" else "track_id"
    for label in (1, 2):  # the squares, which nothing hides
        pixels = [marker[n][labels[n] == label] for n in range(3)]
        rows = places[places[number] == label].sort_values(place)
        means = [p.mean() for p in pixels]
        assert rows["intensity_mean-GFP"].tolist() == pytest.approx(means)
        assert rows["intensity_max-DAPI"].tolist() == [200] * 3
        if axes == "CZYX":
            whole = np.concatenate(pixels)
            row = objects[objects["label"] == label].iloc[0]
            assert row["intensity_std-GFP"] == pytest.approx(whole.std())
            assert row["intensity_min-GFP"] == whole.min()
