"""A plane of a stack is found as that plane alone, by the real model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from _runs import command
from napari_sam_amg import AutomaticMaskGenerator, read_coco
from napari_sam_amg.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_plane_alone_has_the_same_masks(
    tmp_path: Path, small: Any, sample_images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = sample_images[0][:120, :150].astype(np.uint16) * 16
    stack = np.stack([np.stack([image, image[::-1] // 3]), np.stack([image // 2, image[:, ::-1]])])
    settings = {"points_per_side": 6, "pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}

    def load(options: Any) -> AutomaticMaskGenerator:
        return AutomaticMaskGenerator(
            small, contrast=options.contrast, **{**settings, **options.parameters}
        )

    monkeypatch.setattr("napari_sam_amg.cli.run.load_generator", load)
    words: dict[str, Any] = {"ome": True, "photometric": "minisblack"}
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack, metadata={"axes": "CZYX"}, **words)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    more = [*flags, "--format", "coco", "--channel", "1"]
    assert main(command(tmp_path, *more)) == 0
    planes = read_coco(tmp_path / "out" / "annotations.json")
    assert list(planes) == ["a_z000.tif", "a_z001.tif"]
    ordered = np.sort(stack[1], axis=None)
    last = ordered.size - 1
    limits = [ordered[int(np.floor(last * 0.001))], ordered[int(np.ceil(last * 0.999))]]
    for number, masks in enumerate(planes.values()):
        assert masks.provenance["input"]["contrast"] == limits
        folder = tmp_path / f"plane{number}"
        (folder / "in").mkdir(parents=True)
        tifffile.imwrite(folder / "in" / "b.tif", stack[1, number])
        contrast = ["--contrast", *map(str, limits)]
        assert main(command(folder, *flags, "--format", "coco", *contrast)) == 0
        (alone,) = read_coco(folder / "out" / "annotations.json").values()
        assert len(alone) == len(masks) > 1
        for mine, other in zip(masks, alone, strict=True):
            np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(masks.predicted_iou, alone.predicted_iou)
        np.testing.assert_array_equal(masks.stability_score, alone.stability_score)
    # Both planes have the same limits, which are not those of the plane.
    assert float(np.percentile(stack[1, 0], 99.9)) < limits[1]
