"""The host's settings do not reach a run, a run's settings do not reach the host."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.decoder import Decoder
from napari_sam_amg.engine.encoder import Features, encode, encode_together
from napari_sam_amg.engine.features import FeatureCache, crops_at_once
from napari_sam_amg.engine.guard import undisturbed
from napari_sam_amg.errors import Cancelled, DeviceError, ParameterError

CPU = torch.device("cpu")
FEW = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


@pytest.fixture(scope="module")
def image(sample_images) -> np.ndarray:
    return sample_images[0][:160, :200]


def _precisions() -> list[str]:
    backends = torch.backends
    kinds = (backends.cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv)
    return [kind.fp32_precision for kind in (*kinds, backends.mkldnn.matmul)]


def _rows(masks) -> list[bytes]:
    return [masks.to_labels().tobytes(), masks.predicted_iou.tobytes(), masks.areas.tobytes()]


@pytest.fixture(scope="module")
def undisturbed_rows(small, image) -> list[bytes]:
    masks = AutomaticMaskGenerator(small, **FEW).segment(image)
    assert len(masks) > 3
    return _rows(masks)


class _DefaultType:
    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        torch.set_default_dtype(torch.float32)


class _MatmulPrecision:
    def __enter__(self) -> None:
        torch.set_float32_matmul_precision("medium")

    def __exit__(self, *_: object) -> None:
        torch.set_float32_matmul_precision("highest")


HOSTS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "default dtype": _DefaultType,
    "matmul precision": _MatmulPrecision,
    "inference mode": torch.inference_mode,
}


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_with_other_settings_gets_the_same_masks(host, small, image, undisturbed_rows):
    generator = AutomaticMaskGenerator(small, **FEW)
    with HOSTS[host]():
        assert _rows(generator.segment(image)) == undisturbed_rows
    # The encoder's output is kept: it must not be of the other kind.
    assert _rows(generator.segment(image)) == undisturbed_rows


def test_settings_come_back_when_two_runs_end_in_another_order():
    before = _precisions()
    first, second = undisturbed(CPU, fast=False), undisturbed(CPU, fast=True)
    steps: list[list[str]] = []
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with second:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with first:
        steps.append(_precisions())
        thread.start()
        assert entered.wait(10)
    steps.append(_precisions())  # the other one is still running
    leave.set()
    thread.join()
    assert steps == [["ieee"] * 4] * 2
    assert _precisions() == before


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), MemoryError("x")])
def test_memory_that_runs_out_in_the_encoder_is_our_error(error, small, image, monkeypatch):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(small, "forward_image", fail)
    with pytest.raises(DeviceError, match="too little memory"):
        AutomaticMaskGenerator(small, **FEW).segment(image)


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match="shape"), undisturbed(CPU, fast=False):
        raise RuntimeError("shape")


@pytest.mark.parametrize(
    ("device", "error", "said"),
    [
        ("gpu", DeviceError, "gpu"),
        (None, DeviceError, "None"),
        ("cuda:1", ParameterError, "cuda:1"),
        ("meta", ParameterError, "meta"),
    ],
)
def test_a_wrong_device_for_a_model_handed_in(device, error, said, small):
    with pytest.raises(error, match=said):
        AutomaticMaskGenerator(small, device=device)


def test_any_spelling_of_its_own_device_is_taken(small):
    for device in ("auto", "AUTO", "cpu", "CPU", torch.device("cpu")):
        assert AutomaticMaskGenerator(small, device=device).device == CPU


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_of_another_type_is_refused(dtype):
    from dataclasses import replace

    from napari_sam_amg.models.architecture import ARCHITECTURES, build

    model = build(replace(ARCHITECTURES["nuclei-nano"], image_size=128)).to(dtype)
    with pytest.raises(ParameterError, match=r"model\.float\(\)"):
        AutomaticMaskGenerator(model)


def test_the_cache_is_bounded():
    cache = FeatureCache(capacity=3 << 10)
    crops = _crops(5)
    kept = [cache.get(crop, (), _kibibytes) for crop in crops]
    assert cache.nbytes == 3 << 10
    assert cache.get(crops[4], (), _kibibytes) is kept[4]
    assert cache.get(crops[0], (), _kibibytes) is not kept[0]


def _crops(count: int) -> list:
    return [(np.full((4, 4, 3), value, dtype=np.uint8), None) for value in range(count)]


def _kibibytes(crops) -> list[Features]:
    return [Features(torch.zeros(1, 1, 16, 16), [], rgb.shape[:2]) for rgb, _ in crops]


@pytest.mark.parametrize("capacity", [0, 3 << 10, 1 << 20])
def test_what_follows_is_computed_with_it_and_kept_until_it_is_asked_for(capacity):
    calls = []

    def compute(crops):
        calls.append([int(rgb[0, 0, 0]) for rgb, _ in crops])
        return _kibibytes(crops)

    cache = FeatureCache(capacity)
    crops = _crops(8)
    crops[5] = crops[2]  # as two tiles of a black image
    for number, crop in enumerate(crops):
        cache.get(crop, iter(crops[number + 1 :]), compute, at_once=4)
    assert calls == [[0, 1, 2, 3], [4, 6, 7]]


@torch.no_grad()
def test_crops_that_are_encoded_at_once_are_those_that_are_encoded_alone(nano, sample_images):
    scene_rgb = np.stack([sample_images[0][:300, :420]] * 3, axis=-1)
    crops = [(scene_rgb[:200, :300], None), (scene_rgb[50:250, 20:220], (240, 240))]
    crops.append((scene_rgb[::-1], None))
    together = encode_together(nano, crops, "stretch")
    for (rgb, frame), found in zip(crops, together, strict=True):
        alone = encode(nano, rgb, "stretch", frame)
        assert found.frame == alone.frame
        for a, b in zip(
            [found.embedding, *found.high_res, found.objects],
            [alone.embedding, *alone.high_res, alone.objects],
            strict=True,
        ):
            assert a.shape == b.shape
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
        # No memory of the others is held.
        assert found.embedding.untyped_storage().nbytes() == found.embedding.nbytes


@pytest.mark.parametrize("memory", ["enough", "too little"])
def test_an_accelerator_encodes_crops_together(small, image, monkeypatch, caplog, memory) -> None:
    """On a CPU that is made to do so; the masks are those that it finds otherwise."""
    generator = AutomaticMaskGenerator(small, **FEW, crop_n_layers=1)
    expected = generator.segment(image)
    counts, original = [], encode_together

    def counted(model, crops, resizing):
        counts.append(len(crops))
        if memory == "too little" and len(crops) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return original(model, crops, resizing)

    monkeypatch.setattr("napari_sam_amg.engine.generator.encode_together", counted)
    generator._room.crops = 3
    generator.clear_cache()
    found = generator.segment(image)
    assert counts == ([3, 2] if memory == "enough" else [3, 1, 1, 1, 1, 1])
    assert ("one crop at a time" in caplog.text) is (memory == "too little")
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.predicted_iou, expected.predicted_iou, atol=1e-4)
    np.testing.assert_allclose(found.areas, expected.areas, rtol=0.02, atol=2)


def test_what_memory_has_no_room_for_is_not_tried_again(small, image, monkeypatch) -> None:
    """Neither for the next crop, nor by a generator with other settings on the same model."""
    tried = []

    class Short(Decoder):
        def __init__(self, *arguments, look_ahead, **settings):
            super().__init__(*arguments, look_ahead=look_ahead, **settings)
            tried.append(look_ahead)
            self.short = look_ahead

    monkeypatch.setattr("napari_sam_amg.engine.generator.Decoder", Short)
    generator = AutomaticMaskGenerator(small, **FEW, crop_n_layers=1)
    generator.configured(**FEW).segment(image)
    generator.segment(image)
    assert tried == [True] + [False] * 5


def test_how_many_crops_go_together() -> None:
    assert [crops_at_once(size, "cuda") for size in (512, 1024, 4096)] == [16, 4, 1]
    assert crops_at_once(512, "cpu") == 1


def test_a_run_stops_between_blocks_of_the_encoder(small, image, undisturbed_rows):
    generator = AutomaticMaskGenerator(small, **FEW)
    asked: list[int] = []

    def should_stop() -> bool:
        asked.append(1)
        return len(asked) == 3

    with pytest.raises(Cancelled):
        list(generator.steps(image, should_stop=should_stop))
    assert len(asked) == 3
    # Nothing is left of it: no hook, no half-made encoder output.
    assert _rows(generator.segment(image)) == undisturbed_rows
    assert len(asked) == 3


def test_stopping_one_thread_leaves_another_on_the_same_model_alone(
    small, image, undisturbed_rows
):
    inside, done = threading.Event(), threading.Event()
    found: list[list[bytes]] = []

    def work() -> None:
        inside.wait(10)
        found.append(_rows(AutomaticMaskGenerator(small, **FEW).segment(image)))
        done.set()

    def should_stop() -> bool:
        inside.set()
        return done.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(Cancelled):
        list(AutomaticMaskGenerator(small, **FEW).steps(image, should_stop=should_stop))
    thread.join()
    assert found == [undisturbed_rows]


def test_a_configured_generator_shares_the_model_and_what_was_encoded(small, image, monkeypatch):
    calls = []
    original = small.forward_image
    monkeypatch.setattr(small, "forward_image", lambda x: calls.append(1) or original(x))
    generator = AutomaticMaskGenerator(small, **FEW)
    generator.segment(image)
    other = generator.configured(**{**FEW, "points_per_side": 4})
    masks = other.segment(image)
    assert calls == [1]
    expected = AutomaticMaskGenerator(small, **{**FEW, "points_per_side": 4}).segment(image)
    assert _rows(masks) == _rows(expected)
    assert generator.parameters.points_per_side == 6
    with pytest.raises(ParameterError, match="points_per_side"):
        generator.configured(points_per_sid=4)


def test_what_was_found_so_far_can_be_asked_from_another_thread(small, image):
    generator = AutomaticMaskGenerator(small, **FEW | {"points_per_batch": 4})
    counts: list[int] = []
    problems: list[ValueError] = []
    ended = threading.Event()

    def ask(partial) -> None:
        while not ended.wait(0.001):  # without a pause it would starve the run
            try:
                counts.append(len(partial()))
            except ValueError as error:  # columns of unequal length
                problems.append(error)
                return

    steps = generator.steps(image, propose=True)
    thread = threading.Thread(target=ask, args=(next(steps).partial,))
    thread.start()
    total = list(steps)[-1].result
    ended.set()
    thread.join()
    assert problems == []
    assert counts == sorted(counts)
    assert counts[-1] <= len(total)
    assert len(set(counts)) > 1
