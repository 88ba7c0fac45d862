"""What a run promises: the same result by every path, progress, cancel, threads, memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

from _scale import FULL, scaled
from napari_sam_amg import AmgParameters, AutomaticMaskGenerator
from napari_sam_amg.engine import at_once
from napari_sam_amg.errors import ImageError, ParameterError, SamAmgError
from napari_sam_amg.parameters import SAM2_PARAMETERS, SELECT_PARAMETERS

KEEP_MOST = {
    "pred_iou_thresh": 0.05,
    "stability_score_thresh": 0.05,
    "box_nms_thresh": 0.9,
}


@pytest.fixture(scope="module")
def image(sample_images):
    return sample_images[0][40:280, 250:560]


def _generator(model, **parameters):
    return AutomaticMaskGenerator(model, **({"points_per_side": 8} | KEEP_MOST | parameters))


def _same(a, b) -> None:
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert (x["segmentation"] == y["segmentation"]).all()
        assert {k: v for k, v in x.items() if k != "segmentation"} == {
            k: v for k, v in y.items() if k != "segmentation"
        }


def test_defaults_are_those_of_sam2(small):
    import inspect

    signature = inspect.signature(SAM2AutomaticMaskGenerator)
    for name in SAM2_PARAMETERS:
        assert getattr(AmgParameters(), name) == signature.parameters[name].default
        assert getattr(AutomaticMaskGenerator(small).parameters, name) == getattr(
            AmgParameters(), name
        )


def test_a_name_brings_its_recommendation_and_arguments_win():
    from napari_sam_amg.models import model_info

    recommended = dict(model_info("nuclei-nano").recommended)
    assert recommended
    generator = AutomaticMaskGenerator("nuclei-nano", pred_iou_thresh=0.123)
    for name, value in (recommended | {"pred_iou_thresh": 0.123}).items():
        assert getattr(generator.parameters, name) == value
    points = AutomaticMaskGenerator("nuclei-nano", point_grids=[[(0.5, 0.5)]])
    assert points.parameters.points_per_side is None


@pytest.mark.parametrize("layers", [0, 1])
def test_generate_segment_and_select_agree(small, image, layers):
    generator = _generator(small, crop_n_layers=layers, points_per_side=8)
    records = generator.generate(image)
    assert len(records) > 3
    _same(records, generator.segment(image).records("binary_mask"))
    _same(records, generator.propose(image).select().records("binary_mask"))


CROPPED = {"crop_n_layers": 1, "points_per_side": 6}


@pytest.fixture(scope="module")
def proposals(small, image):
    return _generator(small, **CROPPED).propose(image)


THRESHOLDS = [
    {"pred_iou_thresh": 0.4},
    {"pred_iou_thresh": 0.0},
    {"stability_score_thresh": 0.6},
    {"stability_score_thresh": 0.0},
    {"box_nms_thresh": 0.3},
    {"box_nms_thresh": 1.0},
    {"crop_nms_thresh": 0.2},
    {"min_mask_region_area": 40},
    {"min_area": 900},
    {"max_area": 900},
    {"exclude_border": True},
    {"pred_iou_thresh": 0.2, "box_nms_thresh": 0.4, "min_area": 300, "max_area": 5000},
]


@pytest.mark.parametrize("tile_size", [None, 128])
def test_many_masks_at_once_are_the_same(small, image, monkeypatch, tile_size):
    """On a CPU that does as an accelerator would, for which calls are dear."""
    parameters = {"crop_n_layers": 1} if tile_size is None else {"tile_size": tile_size}
    generator = _generator(small, **parameters)
    expected = generator.segment(image), generator.propose(image).select()
    monkeypatch.setattr(at_once, "pays", lambda device: True)
    found = generator.segment(image), generator.propose(image).select()
    assert len(expected[0]) > 3
    for one, other in zip(found, expected, strict=True):
        _same(one.records("binary_mask"), other.records("binary_mask"))


def test_thresholds_cover_everything_that_select_takes():
    assert {name for chosen in THRESHOLDS for name in chosen} == set(SELECT_PARAMETERS)


@pytest.mark.parametrize("chosen", THRESHOLDS, ids=str)
def test_select_equals_a_fresh_run(small, image, proposals, chosen):
    fresh = _generator(small, **CROPPED, **chosen).segment(image)
    found = proposals.select(**chosen)
    _same(found.records("binary_mask"), fresh.records("binary_mask"))
    assert found.provenance["parameters"] == fresh.provenance["parameters"]


def test_thresholds_change_something(proposals):
    counts = {str(c): len(proposals.select(**c)) for c in THRESHOLDS}
    assert len(set(counts.values())) > 4, counts


def test_floor(small, image):
    generator = _generator(small)
    high = generator.propose(image, floor=0.3)
    assert len(high) < len(generator.propose(image))
    assert (high.predicted_iou > 0.3).all()
    with pytest.raises(ParameterError, match=r"0\.3"):
        high.select(pred_iou_thresh=0.2)
    with pytest.raises(ParameterError, match="floor"):
        generator.propose(image, floor=-1)


def test_steps_count_up_and_end_with_the_result(small, image):
    generator = _generator(small, points_per_side=8, points_per_batch=20, crop_n_layers=1)
    steps = list(generator.steps(image))
    assert [s.done for s in steps] == list(range(1, steps[0].total + 1))
    assert {s.total for s in steps} == {5 * (1 + 4) + 1}
    assert [s.stage for s in steps[:5]] == ["encode"] + ["decode"] * 4
    assert all(s.result is None for s in steps[:-1])
    _same(steps[-1].result.records("binary_mask"), generator.generate(image))


def test_a_cancelled_run_keeps_what_it_found(small, image):
    generator = _generator(small, points_per_batch=16)
    counts = []
    for step in generator.steps(image):
        counts.append(len(step.partial()))
        if step.done == 3:
            break
    assert counts[0] == 0
    assert 0 < counts[-1] < len(generator.segment(image))
    _same(generator.generate(image), _generator(small).generate(image))


def test_batch_size_and_repetition_do_not_change_a_byte(small, image):
    results = [
        _generator(small, points_per_side=10, points_per_batch=batch).generate(image)
        for batch in (7, 16, 64, 256, 64)
    ]
    assert len(results[0]) > 3
    for other in results[1:]:
        _same(results[0], other)


OTHER_PROCESS = """
import hashlib, sys
import imageio.v3 as iio
from napari_sam_amg import AutomaticMaskGenerator
image = iio.imread(sys.argv[1])[:200, :240]
batch = int(sys.argv[2])
generator = AutomaticMaskGenerator("nuclei-nano", device="cpu", points_per_batch=batch)
masks = generator.segment(image)
print(len(masks), hashlib.sha256(
    masks.to_labels().tobytes() + masks.predicted_iou.tobytes() + masks.areas.tobytes()
).hexdigest())
"""


def test_two_processes_give_the_same_bytes(sample_paths):
    said = [
        subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, str(sample_paths[0]), batch],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for batch in ("16", "64")
    ]
    assert int(said[0].split()[0]) > 1
    assert said[0] == said[1]


def test_one_generator_serves_many_threads(small, image):
    generator = _generator(
        small, points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0
    )
    crops = [image[:, i * 40 : i * 40 + 120] for i in range(4)]
    serial = [generator.generate(crop) for crop in crops]
    assert sum(map(len, serial)) > 8
    generator.clear_cache()
    runs = scaled(50)
    found: dict[tuple[int, int], list] = {}

    def work(worker: int) -> None:
        for repetition in range(runs):
            found[worker, repetition] = generator.generate(crops[(worker + repetition) % 4])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 * runs
    for (worker, repetition), records in found.items():
        _same(records, serial[(worker + repetition) % 4])


def test_features_are_encoded_once(small, image, monkeypatch):
    calls = []
    original = small.forward_image
    monkeypatch.setattr(small, "forward_image", lambda x: calls.append(1) or original(x))
    generator = _generator(small, points_per_side=2)
    generator.generate(image)
    generator.generate(image.copy())
    assert len(calls) == 1
    generator.clear_cache()
    generator.generate(image)
    assert len(calls) == 2


@pytest.mark.parametrize("shape", [(240, 300), (300, 240), (128, 500)])
def test_a_padded_profile_equals_a_hand_padded_square(small, sample_images, shape):
    import dataclasses

    image = np.repeat(sample_images[0][: shape[0], : shape[1], None], 3, axis=2)
    side = max(shape)
    square = np.zeros((side, side, 3), np.uint8)
    square[: shape[0], : shape[1]] = image
    grid = np.random.default_rng(0).random((80, 2))
    scale = np.array([shape[1] / side, shape[0] / side])

    def run(array, points, resize):
        generator = AutomaticMaskGenerator(
            small,
            point_grids=[points],
            box_nms_thresh=1.0,
            pred_iou_thresh=0.0,
            stability_score_thresh=0.0,
        )
        generator.info = dataclasses.replace(
            generator.info, profile=dataclasses.replace(generator.info.profile, resize=resize)
        )
        return generator.propose(array)

    padded = run(image, grid, "pad")
    by_hand = run(square, grid * scale, "stretch")
    expected = [by_hand.store.full(i)[: shape[0], : shape[1]] for i in range(len(by_hand))]
    kept = [i for i, mask in enumerate(expected) if mask.any()]
    assert len(padded) == len(kept) > 20
    for row, i in enumerate(kept):
        np.testing.assert_array_equal(padded.store.full(row), expected[i])
    np.testing.assert_array_equal(padded.predicted_iou, by_hand.predicted_iou[kept])


def test_fast_precision_finds_the_same_objects(small, image, monkeypatch):
    from parity_tools import compare

    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False
    )
    parameters = {"points_per_side": 12} | KEEP_MOST
    exact = AutomaticMaskGenerator(small, **parameters)
    fast = AutomaticMaskGenerator(small, precision="fast", **parameters)
    result = compare(exact.generate(image), fast.generate(image), parameters)
    assert result.counts[0] > 3
    assert result.f1(0.75) > 0.8
    assert fast.segment(image).provenance["precision"] == "fast"


def test_fast_precision_computes_in_float32_where_bfloat16_is_slow(
    small, image, monkeypatch, caplog
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True}, raising=False)
    parameters = {"points_per_side": 6} | KEEP_MOST
    exact = AutomaticMaskGenerator(small, **parameters).segment(image)
    assert not caplog.records
    found = AutomaticMaskGenerator(small, precision="fast", **parameters).segment(image)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "no units for bfloat16" in caplog.text
    assert found.provenance["precision"] == "exact"
    assert len(found) == len(exact) > 3
    np.testing.assert_array_equal(found.predicted_iou, exact.predicted_iou)


def test_provenance_says_what_made_a_result(sample_images):
    import json

    image = sample_images[0][::2, ::2]
    masks = AutomaticMaskGenerator("nuclei-nano", device="cpu").segment(image, name="field 3")
    assert len(masks) > 3
    provenance = masks.provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert provenance["model"]["name"] == "nuclei-nano"
    assert len(provenance["model"]["sha256"]) == 64
    assert provenance["source"] == "field 3"
    assert provenance["device"] == "cpu"
    assert provenance["input"]["shape"] == list(image.shape)
    assert set(provenance["versions"]) >= {"napari-sam-amg", "torch", "sam2"}
    again = AutomaticMaskGenerator(
        provenance["model"]["name"], **provenance["parameters"]
    ).generate(image)
    _same(again, masks.records("binary_mask"))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"points_per_sid": 8}, "points_per_side"),
        ({"precision": "half"}, "exact"),
        ({"contrast": (5, 5)}, "contrast"),
        ({"contrast": "auto"}, "contrast"),
        ({"contrast": (0, float("nan"))}, "contrast"),
        ({"pred_iou_thresh": float("nan")}, "pred_iou_thresh"),
    ],
)
def test_wrong_arguments_are_refused_before_a_model_is_loaded(keywords, message):
    with pytest.raises(ParameterError, match=message):
        AutomaticMaskGenerator("/nowhere/model.pt", **keywords)


@pytest.mark.parametrize("model", [None, 3, torch.nn.Linear(1, 1)])
def test_a_model_of_a_wrong_kind_is_refused(model):
    with pytest.raises(ParameterError, match="model"):
        AutomaticMaskGenerator(model)


def test_a_model_stays_where_it_is(small):
    with pytest.raises(ParameterError, match="cpu"):
        AutomaticMaskGenerator(small, device="cuda")


def test_bad_images_are_refused_by_name(small):
    with pytest.raises(ImageError, match="my stack"):
        _generator(small).generate(np.zeros((3, 4, 5, 6)), name="my stack")


def test_out_of_memory_halves_the_group_and_changes_nothing(small, image, monkeypatch):
    expected = _generator(small).generate(image)
    decoder = small.sam_mask_decoder
    original, sizes = decoder.forward, []

    def limited(**keywords):
        size = len(keywords["sparse_prompt_embeddings"])
        sizes.append(size)
        if size > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return original(**keywords)

    monkeypatch.setattr(decoder, "forward", limited)
    found = _generator(small).generate(image)
    assert max(sizes) > 4
    assert len(found) == len(expected)
    monkeypatch.setattr(decoder, "forward", lambda **_: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(SamAmgError, match="too little memory"):
        _generator(small).generate(image)


MEMORY = """
    import resource, sys
    import numpy as np
    from napari_sam_amg import AutomaticMaskGenerator

    thresholds = dict(pred_iou_thresh=float(sys.argv[2]), stability_score_thresh=0.0)
    generator = AutomaticMaskGenerator(
        "nuclei-nano", device="cpu", points_per_side=32, box_nms_thresh=1.0, **thresholds
    )
    image = np.load(sys.argv[1])[:512, :512].repeat(8, axis=0).repeat(8, axis=1)
    generator.preview(image[:64, :64])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    masks = generator.segment(image)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{len(masks)} {(after - before) / 2**20}")
"""


def test_memory_is_bounded_by_the_objects(sample_images, tmp_path):
    # 1,024 prompts on 4096x4096: sam2 would hold 12 GiB a batch. The full run filters nothing.
    np.save(tmp_path / "tile.npy", sample_images[0])
    threshold = "0.0" if FULL else "0.2"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            textwrap.dedent(MEMORY),
            str(tmp_path / "tile.npy"),
            threshold,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    count, gibibytes = done.stdout.split()
    assert int(count) > (500 if FULL else 5)
    assert float(gibibytes) < 3
