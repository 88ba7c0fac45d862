"""A run in files against a run in memory."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pandas as pd
import pytest
import zarr

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.errors import Cancelled, ImageError, ParameterError, WriteError
from napari_sam_amg.large import LargeResult, output, plane, segment_large, steps_large
from napari_sam_amg.masks.doubt import RULE

TILES = {"tile_size": 100, "tile_halo": 25, "points_per_side": 6}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Many rows of chunks in a small image."""
    monkeypatch.setattr(plane, "CHUNK", 32)


def pixels(store):
    """What masks are, whatever their order."""
    return sorted(
        (tuple(window), store.window(index).tobytes())
        for index, window in enumerate(store.windows.tolist())
    )


def tree(folder, but=("run.json",)):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


@pytest.mark.parametrize(
    "parameters",
    [
        TILES,
        {"tile_size": 64, "tile_halo": 16, "points_per_side": 5, "overlap": "largest_on_top"},
        {
            **TILES,
            "min_mask_region_area": 30,
            "min_area": 30,
            "max_area": 900,
            "overlap": "best_score_on_top",
            "box_nms_thresh": 0.3,
        },
        {**TILES, "exclude_border": True, "overlap": "discard_overlaps", "scale": 1.28},
    ],
    ids=str,
)
def test_equals_a_run_in_memory(pretend, mosaic, tmp_path, parameters):
    generator = pretend(**parameters)
    in_memory = generator.segment(mosaic)
    result = segment_large(generator, mosaic, tmp_path / "out")
    masks = result.masks()
    assert len(in_memory) > 30
    assert pixels(masks.store) == pixels(in_memory.store)
    assert result.count == len(in_memory)
    # The same masks in the same order make the same image and table, all at once.
    np.testing.assert_array_equal(result.levels[0], masks.to_labels())
    pd.testing.assert_frame_equal(result.table, masks.features)
    assert result.doubt == masks.doubt == in_memory.doubt
    assert sorted(result.table.predicted_iou) == sorted(in_memory.features.predicted_iou)
    assert sorted(result.table.overlap_fraction) == sorted(in_memory.features.overlap_fraction)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "labels",
        "masks",
        "run.json",
        "table.csv",
    ]


def test_equals_a_run_in_memory_of_the_embedded_model(small, sample_images, tmp_path):
    image = sample_images[0][40:360:2, 120:480:2].astype(np.float32) ** 2
    generator = AutomaticMaskGenerator(
        small,
        tile_size=96,
        tile_halo=24,
        points_per_side=6,
        pred_iou_thresh=0.05,
        stability_score_thresh=0.05,
        min_mask_region_area=10,
    )
    in_memory = generator.segment(image)
    result = segment_large(generator, image, tmp_path / "out")
    assert len(in_memory) > 5
    assert pixels(result.masks().store) == pixels(in_memory.store)
    assert result.provenance["input"]["contrast"] == in_memory.provenance["input"]["contrast"]
    assert result.provenance["tiles"]["count"] == in_memory.provenance["tiles"]["count"]


def test_a_small_image_is_seen_as_a_whole(pretend, mosaic, tmp_path):
    image = mosaic[:90, :80]
    generator = pretend(**{**TILES, "tile_halo": None})
    in_memory = generator.segment(image)
    assert "tiles" not in in_memory.provenance
    result = segment_large(generator, image, tmp_path / "out")
    assert pixels(result.masks().store) == pixels(in_memory.store)
    assert len(in_memory) > 3


def test_an_image_without_objects_gives_an_empty_result(pretend, tmp_path):
    result = segment_large(
        pretend(pred_iou_thresh=1.0, **{**TILES}), np.zeros((120, 130), np.uint8), tmp_path / "out"
    )
    assert result.count == len(result.masks()) == len(result.table) == 0
    assert result.doubt.startswith("nothing was found")
    assert not np.asarray(result.levels[0]).any()
    assert list(result.table) == list(result.masks().features)


def test_what_is_ended_goes_on_from_its_finished_tiles(pretend, mosaic, tmp_path):
    generator = pretend(**TILES)
    whole = list(steps_large(generator, mosaic, tmp_path / "whole"))
    assert [step.done for step in whole] == list(range(1, whole[0].total + 1))
    assert [step.result is None for step in whole] == [True] * (len(whole) - 1) + [False]
    ended = 0
    for more in (0, 7, 1, 12):
        count = 0
        for step in steps_large(generator, mosaic, tmp_path / "ended"):
            count += step.stage == "tile"
            ended += step.stage == "tile"
            assert not (tmp_path / "ended" / "run.json").exists()
            if count == more:
                break
    with pytest.raises(Cancelled):
        list(steps_large(generator, mosaic, tmp_path / "ended", should_stop=lambda: True))
    last = [step.stage for step in steps_large(generator, mosaic, tmp_path / "ended")]
    assert last.count("kept tile") == ended == 20
    assert last.count("tile") == len(whole) - 2 - ended
    assert tree(tmp_path / "ended") == tree(tmp_path / "whole")


def test_a_damaged_tile_is_done_again(pretend, mosaic, tmp_path):
    generator = pretend(**TILES)
    segment_large(generator, mosaic, tmp_path / "whole")
    for step in steps_large(generator, mosaic, tmp_path / "out"):
        if step.done == 6:
            break
    files = sorted((tmp_path / "out" / "unfinished" / "tiles").rglob("*.npz"))
    assert len(files) == 5
    files[0].write_bytes(files[0].read_bytes()[:-30])
    files[1].write_bytes(b"")
    stages = [step.stage for step in steps_large(generator, mosaic, tmp_path / "out")]
    assert stages.count("kept tile") == 3
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_an_unfinished_run_is_gone_on_with_only_as_it_was_begun(pretend, mosaic, tmp_path):
    folder = tmp_path / "out"
    generator = pretend(**TILES)
    for step in steps_large(generator, mosaic, folder):
        if step.done == 9:
            break
    other = pretend(**{**TILES, "box_nms_thresh": 0.3})
    with pytest.raises(WriteError, match=r"parameters\.box_nms_thresh \(0\.7, now 0\.3\)"):
        steps_large(other, mosaic, folder)
    with pytest.raises(WriteError, match="brightness"):
        steps_large(pretend(contrast=(0, 200), **TILES), mosaic, folder)
    with pytest.raises(WriteError, match="image"):
        steps_large(generator, mosaic[:-1], folder)
    with pytest.raises(WriteError, match="pixel_size"):
        steps_large(generator, mosaic, folder, pixel_size=0.5)
    changed = mosaic.copy()
    changed[3, 200] ^= 1
    with pytest.raises(ImageError, match="rows 0 to 99"):
        list(steps_large(generator, changed, folder))
    anew = [step.stage for step in steps_large(generator, changed, folder, resume=False)]
    assert "kept tile" not in anew
    with pytest.raises(WriteError, match="finished"):
        steps_large(generator, changed, folder, resume=False)
    with pytest.raises(WriteError, match="finished"):
        steps_large(other, changed, folder)


def test_a_finished_run_is_not_done_again(pretend, mosaic, tmp_path):
    folder = tmp_path / "out"
    generator = pretend(**TILES)
    first = list(steps_large(generator, mosaic, folder))
    before = tree(folder, but=())
    (folder / "unfinished").mkdir()  # as if it had been killed while it cleared up
    again = list(steps_large(generator, mosaic, folder))
    assert {step.stage for step in again} == {"contrast", "kept tile", "write"}
    assert [step.done for step in again] == [step.done for step in first]
    assert again[-1].result == first[-1].result
    assert tree(folder, but=()) == before
    assert not (folder / "unfinished").exists()
    # What a model's card says of doubt changes no result.
    rule = dict.fromkeys(RULE, 0.5)
    told = copy.copy(generator)
    told.info = dataclasses.replace(generator.info, doubt=rule)
    assert list(steps_large(told, mosaic, folder))[-1].result == first[-1].result
    assert tree(folder, but=()) == before
    with pytest.raises(ImageError, match="another image"):
        segment_large(generator, mosaic ^ 1, folder)


def test_two_runs_do_not_share_a_folder(pretend, mosaic, tmp_path):
    generator = pretend(**TILES)
    at_work = steps_large(generator, mosaic, tmp_path / "out")
    late = steps_large(generator, mosaic, tmp_path / "out")
    for _ in range(3):
        next(at_work)
    with pytest.raises(WriteError, match="another run is at work"):
        steps_large(generator, mosaic, tmp_path / "out", resume=False)
    with pytest.raises(WriteError, match="another run is at work"):
        next(late)
    at_work.close()
    stages = [step.stage for step in steps_large(generator, mosaic, tmp_path / "out")]
    assert stages.count("kept tile") == 2


def test_other_weights_are_other_candidates(pretend, mosaic, tmp_path, small, monkeypatch):
    generator = pretend(**TILES)
    next(iter(steps_large(generator, mosaic, tmp_path / "out")))
    monkeypatch.setattr(AutomaticMaskGenerator, "weights_digest", lambda self: "other")
    with pytest.raises(WriteError, match="weights"):
        steps_large(generator, mosaic, tmp_path / "out")


def test_the_weights_digest_is_that_of_the_weights(pretend, small):
    import copy

    generator = pretend()
    before = generator.weights_digest()
    other = copy.deepcopy(small)
    assert AutomaticMaskGenerator(other).weights_digest() == before
    next(other.parameters()).data.flatten()[0] += 1
    assert AutomaticMaskGenerator(other).weights_digest() != before


def test_what_is_in_the_way_stays(pretend, mosaic, tmp_path):
    generator = pretend(**TILES)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine.txt").write_text("mine")
    (tmp_path / "labelled" / "labels").mkdir(parents=True)
    for name in ("file", "folder", "labelled"):
        before = tree(tmp_path)
        for resume in (True, False):
            with pytest.raises(WriteError, match=name):
                steps_large(generator, mosaic, tmp_path / name, resume=resume)
        assert tree(tmp_path) == before
    assert (tmp_path / "labelled" / "labels").is_dir()


def test_refuses_what_is_not_tiled(pretend, tmp_path):
    image = zarr.create_array({}, shape=(5000, 4000), chunks=(500, 500), dtype="uint8")
    with pytest.raises(ParameterError, match="tile_size"):
        steps_large(pretend(), image, tmp_path / "out")
    with pytest.raises(ParameterError, match="crop_n_layers"):
        steps_large(pretend(crop_n_layers=1), image, tmp_path / "out")
    with pytest.raises(ParameterError, match="pixel_size"):
        steps_large(pretend(**TILES), image, tmp_path / "out", pixel_size=0)
    assert not (tmp_path / "out").exists()


def test_masks_of_a_part_are_read_alone(pretend, mosaic, tmp_path):
    result = segment_large(pretend(**TILES), mosaic, tmp_path / "out")
    box = (100, 150, 250, 360)
    labels, masks = result.masks_within(box)
    everything = result.masks()
    expected = [
        label
        for label, (x, y, w, h) in enumerate(everything.store.windows.tolist(), start=1)
        if y < 250 and y + h > 100 and x < 360 and x + w > 150
    ]
    assert labels.tolist() == expected
    assert 3 < len(expected) < len(everything)
    np.testing.assert_array_equal(masks[0], everything[expected[0] - 1])
    again = LargeResult.open(tmp_path / "out")
    assert again.count == result.count == len(everything)


def test_rows_are_written_as_they_are_settled(pretend, mosaic, tmp_path):
    """Half-way through, the upper part of labels and table is there, and as it stays."""
    result = segment_large(pretend(**TILES), mosaic, tmp_path / "whole")
    labels, table = np.asarray(result.levels[0]), (tmp_path / "whole/table.csv").read_bytes()
    seen = []
    for step in steps_large(pretend(**TILES), mosaic, tmp_path / "out"):
        if step.stage == "tile":
            now = zarr.open_array(tmp_path / "out/labels/masks/0", mode="r")[:]
            rows = np.flatnonzero(now.any(axis=1)).max(initial=-1) + 1
            np.testing.assert_array_equal(now[:rows], labels[:rows])
            part = (tmp_path / "out" / output.TABLE).read_bytes()
            assert table.startswith(part)
            seen.append((rows, len(part)))
    assert seen == sorted(seen)
    assert len(set(seen)) > 3
    assert seen[len(seen) * 3 // 4][0] > 100


def test_measurements_need_the_image_that_was_segmented(pretend, mosaic, tmp_path):
    result = segment_large(pretend(**TILES), mosaic, tmp_path / "out")
    shown = result.measure({"a": mosaic, "b": mosaic[::-1]}, pixel_size=(2.0, 0.5))
    expected = result.masks().measure({"a": mosaic, "b": mosaic[::-1]}, pixel_size=(2.0, 0.5))
    pd.testing.assert_frame_equal(shown, expected, rtol=1e-9)
    shapes = result.measure(pixel_size=0.5)
    pd.testing.assert_frame_equal(shapes, result.masks().measure(pixel_size=0.5), rtol=1e-9)
    with pytest.raises(ImageError, match="has 347 x 464 pixels, the labels 348 x 464"):
        result.measure(mosaic[1:])
