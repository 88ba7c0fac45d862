"""``--format large``: what is written tile by tile, beside a run in memory."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from _linked import same_partition
from _runs import command, tree
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.cli import main
from napari_sam_amg.cli.existing import is_result_folder
from napari_sam_amg.large import LargeResult

if TYPE_CHECKING:
    from collections.abc import Callable

LARGE = ("--format", "large", "--tile-size", "200", "--tile-halo", "40")
TILES = {"tile_size": 200, "tile_halo": 40}


@pytest.fixture(scope="session")
def field(sample_images: list[np.ndarray]) -> np.ndarray:
    """A part of the fluorescence sample: uint16, 300x420."""
    sample = sample_images[0]
    grey = sample if sample.ndim == 2 else sample[..., 0]
    return np.ascontiguousarray(grey[:300, :420]).astype(np.uint16) * 100 + 40


def labels_of(folder: Path) -> np.ndarray:
    return np.asarray(LargeResult.open(folder).levels[0])


def in_memory(image: np.ndarray, **settings: Any) -> np.ndarray:
    generator = AutomaticMaskGenerator("nuclei-nano", device="cpu", **TILES, **settings)
    labels = generator.segment(image).to_labels()
    assert labels.max() > 3
    return labels


def write_tiff(path: Path, data: np.ndarray, **words: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, data, **{"photometric": "minisblack", **words})


@pytest.mark.parametrize(
    "form", ["tiles", "strips", "in one piece", "png", "zarr", "channel", "colour"]
)
def test_equals_a_run_in_memory(
    form: str, field: np.ndarray, tmp_path: Path, ngff: Callable[..., None]
) -> None:
    path, seen, more = tmp_path / "in" / "a.tif", field, []
    path.parent.mkdir()
    if form == "tiles":
        write_tiff(path, field, tile=(64, 96), compression="zlib")
    elif form == "strips":
        path = path.with_name("a.ome.tif")
        write_tiff(path, field, rowsperstrip=70, compression="zlib")
    elif form == "in one piece":
        write_tiff(path, field)
    elif form == "png":
        path = path.with_suffix(".png")
        Image.fromarray(field).save(path)
    elif form == "zarr":
        path = path.with_name("a.ome.zarr")
        ngff(path, field, "YX")
    elif form == "channel":
        path = path.with_name("a.ome.zarr")
        ngff(path, np.stack([field[::-1], field]), "CYX")
        more = ["--channel", "1"]
    else:
        seen = np.stack([field // 256, field // 300, field // 200], -1).astype(np.uint8)
        write_tiff(path, seen, photometric="rgb", tile=(64, 96), compression="zlib")
    assert main(command(tmp_path, *LARGE, *more)) == 0
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == ("a.ome" if form == "strips" else "a")
    result = LargeResult.open(folder)
    expected = in_memory(seen)
    assert same_partition(np.asarray(result.levels[0]), expected)
    assert len(result) == len(result.table) == expected.max()
    assert result.provenance["source"] == path.name
    seen_axes = result.provenance["image_plane"]["axes"]
    assert seen_axes == {"channel": "CYX", "colour": "YXS"}.get(form, "YX")


def test_a_stack_has_a_result_for_each_plane_and_one_contrast(
    field: np.ndarray, tmp_path: Path
) -> None:
    stack = np.stack([field // 3, field])
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    words = {"ome": True, "metadata": metadata, "tile": (64, 96)}
    write_tiff(tmp_path / "in" / "a.ome.tif", stack, **words)
    assert main(command(tmp_path, *LARGE)) == 0
    assert main(command(tmp_path, "--format", "labels", *LARGE[2:])) == 0
    together = tifffile.imread(tmp_path / "out" / "a.ome.tif")
    contrasts = set()
    for z, labels in enumerate(together):
        folder = tmp_path / "out" / f"a.ome_z00{z}"
        assert same_partition(labels_of(folder), labels)
        provenance = LargeResult.open(folder).provenance
        assert provenance["pixel_size"] == [0.25, 0.5]
        contrasts.add(tuple(provenance["input"]["contrast"]))
    assert len(contrasts) == 1


@pytest.mark.parametrize("form", ["stack", "channels", "colour", "colours", "float"])
def test_the_summary_is_that_of_a_run_in_memory(
    form: str, field: np.ndarray, tmp_path: Path
) -> None:
    path, words = tmp_path / "in" / "a.ome.tif", {"ome": True, "tile": (64, 96)}
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    if form == "stack":
        write_tiff(path, np.stack([field // 3, field]), metadata={"axes": "ZYX", **sizes}, **words)
    elif form == "channels":
        names = {"Channel": {"Name": ["DAPI", "GFP"]}}
        data = np.stack([field, field[::-1]])
        write_tiff(path, data, metadata={"axes": "CYX", **sizes, **names}, **words)
    elif form == "colours":  # of two channels each
        one = np.stack([field // 256, field // 300, field // 200], -1).astype(np.uint8)
        metadata = {"axes": "CYXS", **sizes}
        write_tiff(path, np.stack([one, one // 3]), metadata=metadata, photometric="rgb", ome=True)
    elif form == "colour":
        path = path.with_name("a.tif")
        colours = np.stack([field // 256, field // 300, field // 200], -1).astype(np.uint8)
        write_tiff(path, colours, photometric="rgb", tile=(64, 96))
    else:
        path = path.with_name("a.tif")
        holed = field.astype(np.float32)
        holed[:9] = np.nan
        write_tiff(path, holed, rowsperstrip=70)
    chosen = [
        "--summary",
        "--measure",
        *(["--channel", "0"] if form in ("channels", "colours") else []),
    ]
    written = tmp_path / "out" / "summary.csv"
    assert main(command(tmp_path, *LARGE, *chosen)) == 0
    found = pd.read_csv(written)
    written.unlink()
    (table, *_) = sorted((tmp_path / "out").glob("*.measurements.csv"))
    columns = set(pd.read_csv(table)) | ({"z"} if form == "stack" else set())
    assert main(command(tmp_path, "--format", "labels", *LARGE[2:], *chosen)) == 0
    expected = pd.read_csv(written)
    table = tmp_path / "out" / f"{path.stem}.measurements.csv"
    assert columns == set(pd.read_csv(table))
    assert expected["masks"].min() > 1
    assert len(found) == (2 if form == "stack" else 1)
    assert ("intensity_mean_inside-GFP" in found) is (form == "channels")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)
    # A row for each result: without it, a run that passes over results is to give it again.
    written.unlink()
    assert main(command(tmp_path, *LARGE, *chosen, "--skip-existing")) == 0
    pd.testing.assert_frame_equal(pd.read_csv(written), expected, rtol=1e-9)


def test_a_run_that_was_ended_goes_on(
    field: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from napari_sam_amg.engine import AutomaticMaskGenerator as Generator

    write_tiff(tmp_path / "in" / "a.tif", field, tile=(64, 96))
    asked = itertools.count(1)
    original = Generator.find_in_tile

    def interrupted(*arguments: Any, **keywords: Any) -> Any:
        if next(asked) == 4:
            raise KeyboardInterrupt
        return original(*arguments, **keywords)

    monkeypatch.setattr(Generator, "find_in_tile", interrupted)
    assert main(command(tmp_path, *LARGE)) == 130
    with pytest.raises(Exception, match="no finished result"):
        LargeResult.open(tmp_path / "out" / "a")
    assert main(command(tmp_path, *LARGE, "--object-score-thresh", "0.4")) == 1
    assert (
        "unfinished run that differs in parameters.object_score_thresh" in capsys.readouterr().err
    )
    before = next(asked)
    assert main(command(tmp_path, *LARGE)) == 0
    tiles = LargeResult.open(tmp_path / "out" / "a").provenance["tiles"]["count"]
    assert next(asked) - before - 1 == tiles - 3
    assert same_partition(labels_of(tmp_path / "out" / "a"), in_memory(field))
    # Again: nothing is asked for, and nothing is written.
    files = tree(tmp_path / "out")
    assert main(command(tmp_path, *LARGE)) == 0
    assert main(command(tmp_path, *LARGE, "--skip-existing")) == 0
    assert tree(tmp_path / "out") == files
    assert next(asked) == before + tiles - 1


def test_what_is_there_is_not_replaced(
    field: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiff(tmp_path / "in" / "a.tif", field)
    write_tiff(tmp_path / "in" / "b.tif", field)
    assert main(command(tmp_path, *LARGE)) == 0
    files = tree(tmp_path / "out")
    (tmp_path / "in" / "b.tif").unlink()
    write_tiff(tmp_path / "in" / "b.tif", field[::-1])
    assert main(command(tmp_path, *LARGE)) == 1
    said = capsys.readouterr().err
    assert "in/b.tif: " in said
    assert "in/a.tif" not in said
    assert tree(tmp_path / "out") == files
    # No run of another form takes its place, and its label image is no image of another run.
    (tmp_path / "out" / "a" / "mine.txt").write_text("mine")
    for form, said in ("png", "it holds labels/"), ("large", "it holds mine.txt"):
        assert main(command(tmp_path, "--format", form)) == 2
        assert said in capsys.readouterr().err
        assert tree(tmp_path / "out") == {**files, "a/mine.txt": b"mine"}
    (tmp_path / "out" / "a" / "mine.txt").unlink()
    arguments = ["--input", str(tmp_path), "--recursive", "--output", str(tmp_path / "new")]
    assert main([*arguments, "--format", "rle"]) == 0
    names = {path.name for path in (tmp_path / "new").rglob("*.json")}
    assert names == {"a.json", "a.run.json", "b.json", "b.run.json"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler cannot be had with --format large"),
        (["--link"], "--link needs --format labels or ome-zarr, found large"),
        (["--polygons"], "--polygons needs --format coco, found large"),
    ],
)
def test_what_cannot_be_had(
    flags: list[str],
    said: str,
    field: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_tiff(tmp_path / "in" / "a.tif", field)
    assert main(command(tmp_path, *LARGE, *flags)) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_one_plane_at_a_time_is_open_while_contrast_is_measured(tmp_path: Path) -> None:
    from napari_sam_amg.cli.large import _RowsOfAll
    from napari_sam_amg.sources import open_source
    from napari_sam_amg.stack_contrast import stack_contrast

    stack = np.random.default_rng(0).integers(0, 4000, (60, 16, 16), dtype=np.uint16)
    write_tiff(tmp_path / "a.tif", stack, metadata={"axes": "ZYX"})
    files = Path("/proc/self/fd")
    with open_source(tmp_path / "a.tif") as source:
        rows = _RowsOfAll(list(source.planes()), 1000)
        before, most = len(list(files.glob("*"))), 0
        read = type(rows).__getitem__

        class Watched(_RowsOfAll):
            def __getitem__(self, place: Any) -> Any:
                nonlocal most
                found = read(self, place)
                most = max(most, len(list(files.glob("*"))))
                return found

        rows.__class__ = Watched
        found = stack_contrast(rows, (10, 90), plane_axes=1)
    assert found == stack_contrast(stack, (10, 90))
    assert most <= before + 2


def test_pictures_that_can_only_be_decoded_as_a_whole_are_limited(
    field: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("napari_sam_amg.cli.large.MAX_PIXELS", 100_000)
    (tmp_path / "in").mkdir()
    Image.fromarray(field).save(tmp_path / "in" / "a.png")
    assert main(command(tmp_path, *LARGE)) == 1
    assert "can only be read at once" in capsys.readouterr().err
    assert main(command(tmp_path, *LARGE, "--max-pixels", "200000")) == 0


def test_a_folder_that_may_not_be_looked_into_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, **_: Any) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    for name in "exists", "is_file", "is_dir":
        monkeypatch.setattr(Path, name, refuse)
    assert not is_result_folder(tmp_path)


@pytest.mark.parametrize("channels", [False, True])
def test_measurements_are_those_of_a_run_in_memory(
    channels: bool, field: np.ndarray, tmp_path: Path, ngff: Callable[..., None]
) -> None:
    """Row by row, against the same masks measured by scikit-image in one piece."""
    marker = np.random.default_rng(0).integers(0, 5000, field.shape, dtype=np.uint16)
    more = ["--pixel-size", "0.5"]
    if channels:
        path = tmp_path / "in" / "a.ome.zarr"
        path.parent.mkdir()
        ngff(path, np.stack([field, marker]), "CYX")
        more += ["--channel", "0"]
    else:
        write_tiff(tmp_path / "in" / "a.tif", field, tile=(64, 96), compression="zlib")
    assert main(command(tmp_path, *LARGE, "--measure", *more)) == 0
    found = pd.read_csv(tmp_path / "out" / "a.measurements.csv")
    result = LargeResult.open(tmp_path / "out" / "a")
    image = np.stack([field, marker], -1) if channels else field
    expected = result.masks().measure(image, pixel_size=0.5)
    pd.testing.assert_frame_equal(found[list(expected)], expected, rtol=1e-9)
    assert {"predicted_iou", "parent"} <= set(found)
    # The table belongs to the result: without it, the image is done again, and nothing else.
    (tmp_path / "out" / "a.measurements.csv").unlink()
    files = tree(tmp_path / "out" / "a")
    assert main(command(tmp_path, *LARGE, "--measure", *more, "--skip-existing")) == 0
    assert (tmp_path / "out" / "a.measurements.csv").exists()
    assert tree(tmp_path / "out" / "a") == files


def test_an_image_without_masks_has_a_table_of_none(tmp_path: Path) -> None:
    write_tiff(tmp_path / "in" / "a.tif", np.zeros((300, 420), np.uint8))
    assert main(command(tmp_path, *LARGE, "--measure")) == 0
    found = pd.read_csv(tmp_path / "out" / "a.measurements.csv")
    assert len(found) == 0
    assert {"label", "centroid-0", "intensity_mean"} <= set(found)


def test_layers_of_crops_fail_with_advice(
    field: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiff(tmp_path / "in" / "a.tif", field)
    flags = ["--format", "large", "--crop-n-layers", "1"]
    assert main(command(tmp_path, *flags)) == 1
    assert "crop_n_layers=1 looks at the whole image at once" in capsys.readouterr().err


def test_planes_beyond_the_usual_limit_are_taken(
    field: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("napari_sam_amg.cli.plan.MAX_PIXELS", 100_000)
    write_tiff(tmp_path / "in" / "a.tif", field, tile=(64, 96))
    assert main(command(tmp_path, "--format", "labels")) == 1
    assert "--format large" in capsys.readouterr().err
    assert main(command(tmp_path, *LARGE, "--pixel-size", "0.65")) == 0
    record = json.loads((tmp_path / "out" / "a" / "run.json").read_text())
    assert record["pixel_size"] == [0.65, 0.65]
    assert main(command(tmp_path, *LARGE, "--max-pixels", "100000")) == 1
