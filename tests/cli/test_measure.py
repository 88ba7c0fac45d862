"""``--measure``: a table beside each result, whatever its format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.measure import regionprops_table

from _runs import IN_MEMORY, command, tree
from napari_sam_amg.cli import main
from napari_sam_amg.cli.options import parse
from napari_sam_amg.errors import ParameterError, WriteError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("generator")


@pytest.mark.parametrize("form", IN_MEMORY)
def test_a_table_for_each_image(
    tmp_path: Path, painted: Any, spots: Any, generator: Any, form: str
) -> None:
    images = {name: painted(tmp_path / "in" / name, seed) for seed, name in NAMES}
    words = command(tmp_path, "--format", form, "--measure", "--pixel-size", "0.5")
    assert main(words) == 0
    for name, image in images.items():
        table = pd.read_csv(tmp_path / "out" / f"{name[:-4]}.measurements.csv")
        masks = spots(image)
        assert table["label"].tolist() == list(range(1, len(masks) + 1))
        for row, mask in enumerate(masks):
            expected = regionprops_table(
                mask.astype(np.uint8), image, properties=("area", "perimeter", "intensity_std")
            )
            for column, value in expected.items():
                assert table.loc[row, column] == pytest.approx(value[0])
        assert table["area_um2"].tolist() == (table["area"] / 4).tolist()
        assert (table["predicted_iou"] == np.float32(0.9)).all()
    # All over again, or only what lacks something.
    done = list(generator.seen)
    assert main([*words, "--skip-existing"]) == 0
    assert generator.seen == done
    (tmp_path / "out" / "b.measurements.csv").unlink()
    assert main([*words, "--skip-existing"]) == 0
    assert generator.seen == [*done, "b.png"]
    if form == "geojson":
        found = json.loads((tmp_path / "out" / "a.geojson").read_text())
        assert found["features"][0]["properties"]["measurements"]["area_um2"] == pytest.approx(
            pd.read_csv(tmp_path / "out" / "a.measurements.csv")["area_um2"][0]
        )


NAMES = tuple(enumerate(("a.png", "b.png")))


def test_colour(tmp_path: Path) -> None:
    image = np.full((40, 60, 3), 10, np.uint8)
    image[5:20, 5:20] = (200, 30, 40)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    assert main(command(tmp_path, "--measure")) == 0
    table = pd.read_csv(tmp_path / "out" / "a.measurements.csv")
    found = [table[f"intensity_mean-{channel}"][0] for channel in range(3)]
    assert found == [200, 30, 40]
    assert not [name for name in table if "_um" in name]


def test_transparency_is_no_channel(tmp_path: Path, capsys: Any) -> None:
    image = np.full((40, 60, 4), 10, np.uint8)
    image[5:20, 5:20] = (200, 30, 40, 255)
    (tmp_path / "in").mkdir()
    Image.fromarray(image).save(tmp_path / "in" / "a.png")
    assert main(command(tmp_path, "--measure")) == 0
    table = pd.read_csv(tmp_path / "out" / "a.measurements.csv")
    means = [name for name in table if name.startswith("intensity_mean")]
    assert means == [f"intensity_mean-{channel}" for channel in range(3)]
    assert table.loc[0, means].tolist() == [200, 30, 40]


@pytest.mark.parametrize("form", IN_MEMORY)
def test_result_and_table_stay_together(
    tmp_path: Path, painted: Any, form: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Whichever of the two cannot be written, the other is not replaced."""
    painted(tmp_path / "in" / "a.png", 1)
    words = command(tmp_path, "--format", form, "--measure")
    assert main(words) == 0
    before = tree(tmp_path / "out")
    painted(tmp_path / "in" / "a.png", 2)
    writers = {"png": "write_png_folder", "rle": "write_rle_json", "imagej": "write_imagej_rois"}
    name = writers.get(form, f"write_{form.replace('-', '_')}")
    for failing in (f"napari_sam_amg.formats.{name}", "pandas.DataFrame.to_csv"):
        with monkeypatch.context() as patch:
            patch.setattr(failing, _no_space)
            assert main(words) != 0
        found = tree(tmp_path / "out")
        if form == "coco" and failing.endswith("to_csv"):
            continue  # the dataset, of many images, comes first
        assert found == before, failing
    assert main(words) == 0
    after = tree(tmp_path / "out")
    assert set(after) == set(before)
    assert after["a.measurements.csv"] != before["a.measurements.csv"]


def _no_space(*_: Any, **__: Any) -> None:
    raise WriteError("no space")


def test_ctrl_c_leaves_the_tables_of_a_dataset_that_stays(
    tmp_path: Path, painted: Any, generator: Any
) -> None:
    for seed, name in NAMES:
        painted(tmp_path / "in" / name, seed)
    words = command(tmp_path, "--format", "coco", "--measure")
    assert main(words) == 0
    before = tree(tmp_path / "out")
    painted(tmp_path / "in" / "a.png", 7)

    def interrupt(name: str, number: int) -> None:
        if name == "b.png":
            raise KeyboardInterrupt

    generator.before_step = interrupt
    assert main(words) == 130
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize("content", ["my own,numbers\n1,2\n", "label,area,kind\n1,2,3\n"])
def test_a_table_of_somebody_elses_is_refused(
    tmp_path: Path, painted: Any, generator: Any, capsys: Any, content: str
) -> None:
    painted(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.measurements.csv").write_text(content)
    before = tree(tmp_path)
    assert main(command(tmp_path, "--measure")) == 2
    assert "a.measurements.csv would be replaced" in capsys.readouterr().err
    assert generator.seen == []
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pixel-size", "0.5"], "--pixel-size needs --measure"),
        (["--measure", "--pixel-size", "0"], "--pixel-size 0: give a length"),
        (["--measure", "--pixel-size", "small"], "--pixel-size small: give a length"),
        (["--measure", "--pixel-size", "nan"], "--pixel-size nan: give a length"),
        (["--measure", "--pixel-size", ""], "--pixel-size is empty"),
    ],
)
def test_sizes_that_are_none(words: list[str], said: str) -> None:
    with pytest.raises(ParameterError, match=said):
        parse(["--input", "a.png", "--output", "b", *words])
