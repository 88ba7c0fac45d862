"""``--summary``: a row for each image and plane, against counts by SciPy and NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from _runs import command, tree
from napari_sam_amg.cli import main

if TYPE_CHECKING:
    from pathlib import Path


def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "out" / "summary.csv", keep_default_na=False, dtype=str)


def check(row: pd.Series, mask_plane: np.ndarray, channels: dict[str, np.ndarray]) -> None:
    """Compare a row with the spots of a plane, as labelled by SciPy."""
    bright = mask_plane > 127
    labels, count = ndimage.label(bright)
    areas = [int((labels == n).sum()) for n in range(1, count + 1)]
    # The generator of these tests finds all of several spots as one mask besides.
    areas += [int(bright.sum())] if count > 1 else []
    assert int(row["masks"]) == len(areas)
    assert int(row["area_total"]) == sum(areas)
    assert row["area_median"] == (repr(float(np.median(areas))) if areas else "")
    assert float(row["fraction_covered"]) == pytest.approx(bright.mean())
    for suffix, values in channels.items():
        inside = row[f"intensity_mean_inside{suffix}"]
        assert (inside == "") is (not areas)
        if areas:
            assert float(inside) == pytest.approx(values[bright].mean())
        outside = float(row[f"intensity_mean_outside{suffix}"])
        assert outside == pytest.approx(values[~bright].mean())
    assert row["error"] == ""


@pytest.mark.parametrize("form", ["png", "coco", "labels", "ome-zarr"])
def test_a_row_for_each_image_and_plane(
    tmp_path: Path, generator: Any, painted: Any, form: str
) -> None:
    grey = painted(tmp_path / "in" / "a.png")
    empty = painted(tmp_path / "in" / "b.png", spots=0)
    colour = np.dstack([grey, grey // 2, grey // 3])
    Image.fromarray(colour).save(tmp_path / "in" / "c.png")
    stack = np.stack([np.stack([p, 255 - p]) for p in (grey, empty, grey[::-1])])
    words: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    names = {"Channel": {"Name": ["x", "y"]}, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(tmp_path / "in" / "d.tif", stack, metadata={"axes": "ZCYX", **names}, **words)
    more = ["--channel", "0", "--summary", "--format", form]
    assert main(command(tmp_path, *more)) == 0
    found = table(tmp_path)
    assert found["name"].tolist() == ["a.png", "b.png", "c.png", "d.tif", "d.tif", "d.tif"]
    assert found["z"].tolist() == ["", "", "", "0", "1", "2"]
    assert set(found["t"]) == {""}
    check(found.iloc[0], grey, {"": grey})
    check(found.iloc[1], empty, {"": empty})
    check(found.iloc[2], grey, {f"-{c}": colour[..., c] for c in range(3)})
    for z in range(3):
        row = found.iloc[3 + z]
        check(row, stack[z, 0], {"-x": stack[z, 0], "-y": stack[z, 1]})
        assert row["area_total_um2"] == repr(int(row["area_total"]) / 4)
    assert found["area_total_um2"].tolist()[:3] == ["", "", ""]


def test_rows_of_skipped_images_stay(tmp_path: Path, generator: Any, painted: Any) -> None:
    for seed, name in enumerate("abc"):
        painted(tmp_path / "in" / f"{name}.png", seed)
    words = command(tmp_path, "--summary", "--skip-existing", "--format", "labels")
    assert main([*words, "--glob", "[ab].png"]) == 0
    first = table(tmp_path)
    assert main(words) == 0
    assert generator.seen == ["a.png", "b.png", "c.png"]
    second = table(tmp_path)
    pd.testing.assert_frame_equal(second.iloc[:2], first)
    assert second["name"].tolist() == ["a.png", "b.png", "c.png"]
    before = tree(tmp_path / "out")
    assert main(words) == 0
    assert tree(tmp_path / "out") == before
    # An image without a row is not done; one that is done again has one row.
    (tmp_path / "out" / "summary.csv").unlink()
    assert main(words) == 0
    assert tree(tmp_path / "out") == before
    assert main([w for w in words if w != "--skip-existing"]) == 0
    assert tree(tmp_path / "out") == before


def test_failures_have_a_row(tmp_path: Path, generator: Any, painted: Any) -> None:
    painted(tmp_path / "in" / "a.png")
    painted(tmp_path / "in" / "c.png")
    (tmp_path / "in" / "b.png").write_bytes(b"no image, but\nnot empty")
    stack = np.full((2, 40, 60), 10, np.uint8)
    words: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "in" / "d.tif", stack, metadata={"axes": "ZYX"}, **words)

    def fail(name: str, number: int) -> None:
        if name in ("c.png", "d_z001.tif"):
            raise MemoryError

    generator.before_step = fail
    run = command(tmp_path, "--summary", "--skip-existing")
    assert main(run) == 1
    found = table(tmp_path)
    assert found["name"].tolist() == ["a.png", "b.png", "c.png", "d.tif", "d.tif"]
    assert [bool(error) for error in found["error"]] == [False, True, True, False, True]
    assert "is no PNG, JPEG, BMP or TIFF image" in found["error"][1]
    assert found["error"][2].startswith("not enough memory")
    assert found.iloc[4][["z", "masks"]].tolist() == ["1", ""]
    generator.before_step = lambda name, number: None
    painted(tmp_path / "in" / "b.png", 3)
    generator.seen.clear()
    assert main(run) == 0
    assert generator.seen == ["b.png", "c.png", "d_z001.tif"]
    found = table(tmp_path)
    assert found["name"].tolist() == ["a.png", "b.png", "c.png", "d.tif", "d.tif"]
    assert set(found["error"]) == {""}


def test_each_result_has_its_row_when_the_run_is_ended(
    tmp_path: Path, generator: Any, painted: Any
) -> None:
    for name in "abc":
        painted(tmp_path / "in" / f"{name}.png")

    def interrupt(name: str, number: int) -> None:
        if name == "c.png":
            raise KeyboardInterrupt

    generator.before_step = interrupt
    assert main(command(tmp_path, "--summary")) == 130
    assert table(tmp_path)["name"].tolist() == ["a.png", "b.png"]


def test_a_row_comes_before_its_result(
    tmp_path: Path, generator: Any, painted: Any, monkeypatch: Any
) -> None:
    """Whoever is killed in between has no result that lacks a row."""
    from napari_sam_amg import formats

    write, seen = formats.write_png_folder, []

    def watched(*args: Any, **keywords: Any) -> None:
        seen.append(table(tmp_path)["name"].tolist())
        write(*args, **keywords)

    monkeypatch.setattr(formats, "write_png_folder", watched)
    for name in "ab":
        painted(tmp_path / "in" / f"{name}.png")
    assert main(command(tmp_path, "--summary")) == 0
    assert seen == [["a.png"], ["a.png", "b.png"]]


@pytest.mark.parametrize("content", ["my,own\n1,2\n", "", "\xff"])
def test_somebody_elses_summary_is_not_replaced(
    tmp_path: Path, generator: Any, painted: Any, capsys: Any, content: str
) -> None:
    painted(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text(content, "latin-1")
    assert main(command(tmp_path, "--summary")) == 2
    assert "is no summary of an earlier run" in capsys.readouterr().err
    assert (tmp_path / "out" / "summary.csv").read_text("latin-1") == content
    assert generator.seen == []
    # Without the flag nothing of that name is looked at.
    assert main(command(tmp_path)) == 0


def test_names_of_any_kind_come_back(tmp_path: Path, generator: Any, painted: Any) -> None:
    names = ['a "b", c.png', "\u7d30\u80de.png"]
    for name in names:
        painted(tmp_path / "in" / name)
    for _ in range(2):
        assert main(command(tmp_path, "--summary")) == 0
        assert sorted(table(tmp_path)["name"]) == sorted(names)


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path, generator: Any) -> None:
    data = np.full((40, 60), 10, np.float32)
    data[5:10, 5:10] = 200
    data[0, 0], data[6, 6] = np.nan, np.inf
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", data)
    assert main(command(tmp_path, "--summary")) == 0
    row = table(tmp_path).iloc[0]
    assert float(row["intensity_mean_inside"]) == 200
    assert float(row["intensity_mean_outside"]) == 10
