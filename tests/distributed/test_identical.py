"""Two workers find and write what one machine does."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
import torch

from _runs import command
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.cli import main
from napari_sam_amg.distributed import segment_many

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from distributed import Client, LocalCluster

FEW = ["--points-per-side", "2", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]


def test_the_model_itself(
    cluster: LocalCluster, tmp_path: Path, sample_images: Any, content: Any
) -> None:
    (tmp_path / "in").mkdir()
    image = sample_images[0][100:164, 100:180]
    for number in range(2):
        tifffile.imwrite(tmp_path / "in" / f"{number}.tif", np.roll(image, 9 * number, axis=1))
    stack = np.stack([image, image // 2]).astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "in" / "s.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    assert torch.get_num_threads() > 1, "the workers have one thread: it is to make no difference"
    results = []
    for more in ([], ["--scheduler", cluster.scheduler_address]):
        assert main(command(tmp_path, "--format", "labels", "--measure", *FEW, *more)) == 0
        results.append(content(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")
    assert len(results[0]) == 6
    assert any(np.frombuffer(data, np.uint8).any() for data in results[0].values())
    assert [name for name in results[0] if results[0][name] != results[1][name]] == []


@pytest.mark.parametrize(
    "more",
    [
        ["--format", "png", "--summary"],
        ["--format", "rle", "--brightness", "plane"],
        ["--format", "coco", "--measure"],
        ["--format", "labels", "--measure", "--summary", "--link"],
        ["--format", "ome-zarr", "--summary"],
    ],
    ids=lambda words: words[1],
)
def test_every_kind_of_result(
    more: list[str],
    spots: Path,
    cluster: LocalCluster,
    tmp_path: Path,
    images: Callable[..., None],
    content: Callable[[Path], dict[str, bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    images("a.tif", "b/c.tif", "d.tif") if "--link" in more else images(
        "a.png", "b/c.tif", "d.png"
    )
    results, said = [], []
    for scheduler in ([], ["--scheduler", cluster.scheduler_address]):
        words = command(tmp_path, "--model-type", "nuclei-nano", *more, *scheduler)
        assert main(words) == 0
        results.append(content(tmp_path / "out"))
        shutil.rmtree(tmp_path / "out")
        out, err = capsys.readouterr()
        said.append(([line.partition(":")[0] for line in out.splitlines()[:-1]], err))
    assert results[0].keys() == results[1].keys()
    assert [name for name in results[0] if results[0][name] != results[1][name]] == []
    # In the order of the images, notes of the model too.
    assert said[1] == (["2 workers at tcp", *said[0][0]], said[0][1])


def test_only_what_is_missing_is_done(
    spots: Path,
    cluster: LocalCluster,
    tmp_path: Path,
    images: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    images("a.png", "b.tif")
    words = command(tmp_path, "--scheduler", cluster.scheduler_address, "--skip-existing")
    assert main(words) == 0
    shutil.rmtree(tmp_path / "out" / "b_z001")
    capsys.readouterr()
    assert main(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("3 of 4 planes have a result")
    assert out[-1].startswith("done: 1 of 1")
    assert (tmp_path / "out" / "b_z001" / "0.png").is_file()


def test_from_a_script(client: Client, tmp_path: Path, sample_images: Any) -> None:
    image = np.ascontiguousarray(sample_images[0][100:164, 100:180])
    tifffile.imwrite(tmp_path / "a.tif", image[::-1])
    few = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    found = list(segment_many([image, tmp_path / "a.tif"], client=client, device="cpu", **few))
    here = AutomaticMaskGenerator("nuclei-nano", device="cpu", **few)
    for pixels, masks in zip([image, image[::-1]], found, strict=True):
        expected = here.segment(pixels)
        assert len(masks) > 0
        assert masks.features.equals(expected.features)
        assert np.array_equal(masks.to_labels(), expected.to_labels())
    assert list(segment_many([], client=client)) == []
