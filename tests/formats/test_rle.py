"""Run lengths against pycocotools and sam2, and against files made to do harm."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from sam2.utils.amg import mask_to_rle_pytorch, rle_to_mask

from _scale import scaled
from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats import rle
from napari_sam_amg.masks.runs import to_coco_counts

SHAPES = ["square", "row", "column", "pixel", "wide"]


def _random_mask(rng: np.random.Generator, kind: str) -> np.ndarray:
    height, width = (int(n) for n in rng.integers(1, 48, 2))
    shape = {
        "square": (height, width),
        "row": (1, width),
        "column": (height, 1),
        "pixel": (1, 1),
        "wide": (height, 8 * width),
    }[kind]
    density = rng.choice([0.0, 1.0, 0.02, 0.5, 0.98])
    mask = rng.random(shape) < density
    if rng.random() < 0.3:
        mask[rng.integers(shape[0]) :, : rng.integers(shape[1] + 1)] ^= True
    return mask


def _placed(found, shape) -> np.ndarray:
    image = np.zeros(shape, dtype=bool)
    if found is not None:
        left, top, window = found
        image[top : top + window.shape[0], left : left + window.shape[1]] = window
    return image


@pytest.mark.parametrize("kind", SHAPES)
def test_equal_to_pycocotools_and_sam2_both_ways(kind, rng):
    for _ in range(scaled(20_000) // len(SHAPES)):
        mask = _random_mask(rng, kind)
        size = list(mask.shape)
        plain, packed = rle.encode(mask), rle.encode_compressed(mask)

        theirs = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
        assert plain == mask_to_rle_pytorch(torch.from_numpy(mask)[None])[0]
        assert packed == {"size": size, "counts": theirs["counts"].decode("ascii")}

        assert (rle_to_mask(plain) == mask).all()
        assert (coco_mask.decode(packed) == mask).all()
        for ours in (plain, packed, theirs):
            found = rle.decode(ours)
            assert (_placed(found, mask.shape) == mask).all()
        assert (found is None) is not mask.any()
        if found is not None:
            box = [found[0], found[1], found[2].shape[1], found[2].shape[0]]
            assert box == coco_mask.toBbox(theirs).tolist()


@pytest.mark.parametrize("seed", range(6))
def test_a_window_is_encoded_as_the_image_that_it_lies_in(seed):
    rng = np.random.default_rng(seed)
    image = np.zeros((300, 400), dtype=bool)
    image[250 - 50 * seed :, 13:77] = rng.random((50 + 50 * seed, 64)) < 0.5
    left, top, window = rle.decode(rle.encode(image))
    again = rle.encode_compressed(window, left=left, top=top, shape=image.shape)
    assert (coco_mask.decode(again) == image).all()


@pytest.mark.parametrize(
    "counts",
    [
        [2**31 - 1, 1],
        [0, 2**31],
        [2**30, 1, 2**30 - 2, 1],
        [1, 2**30, 3, 5, 2**30 - 9],
        [15, 16, 17, 31, 32, 33, 0, 1, 511, 512, 1023, 1024, 2**31 - 3225],
    ],
)
def test_large_counts_as_pycocotools_writes_them(counts):
    size = [2**16, 2**15]
    theirs = coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"]
    assert to_coco_counts(counts) == theirs.decode("ascii")
    assert rle.from_coco_counts(theirs).tolist() == counts


def test_decoding_needs_memory_for_the_window_not_the_image():
    height, width = 46_000, 46_000
    first = 20_000 * height + 30_000
    counts = [first, 40, height - 40, 40, height * width - first - height - 40]
    tracemalloc.start()
    left, top, window = rle.decode(
        {"size": [height, width], "counts": counts}, max_pixels=height * width
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (left, top, window.shape, int(window.sum())) == (20_000, 30_000, (40, 2), 80)
    assert peak < 1_000_000


@pytest.mark.parametrize("counts", [[0, 4, 0, 4, 0, 0, 8], [3, 0, 0, 2, 11], [16, 0], [0, 0, 16]])
def test_runs_of_no_length_are_allowed(counts):
    theirs = coco_mask.frPyObjects({"size": [4, 4], "counts": counts}, 4, 4)
    found = rle.decode({"size": [4, 4], "counts": counts})
    assert (_placed(found, (4, 4)) == coco_mask.decode(theirs)).all()


@pytest.mark.parametrize(
    ("counts", "size"), [([0, 16], 16), ([5, 2, 2, 2, 5], 4), ([3, 2, 11], 8), ([16], 0)]
)
def test_the_size_is_known_before_the_window_is(counts, size):
    value = {"size": [4, 4], "counts": counts}
    found = rle.decode(value)
    assert rle.decoded_size(value, shape=(4, 4)) == size
    assert size == (0 if found is None else found[2].size)


HOSTILE = {
    "no dict": ([1, 2], "expected size and counts"),
    "null": (None, "expected size and counts"),
    "no counts": ({"size": [4, 4]}, "expected size and counts"),
    "size 0 0": ({"size": [0, 0], "counts": []}, "positive"),
    "negative size": ({"size": [-4, -4], "counts": [16]}, "positive"),
    "one number": ({"size": [16], "counts": [16]}, "positive"),
    "float size": ({"size": [4.0, 4.0], "counts": [16]}, "positive"),
    "bool size": ({"size": [True, True], "counts": [1]}, "positive"),
    "text size": ({"size": "44", "counts": [16]}, "positive"),
    "null size": ({"size": None, "counts": [16]}, "positive"),
    "nested size": ({"size": [[4], [4]], "counts": [16]}, "positive"),
    "4.9 GB": ({"size": [70_000, 70_000], "counts": [0, 4_900_000_000]}, "pixels that are read"),
    "2**62": ({"size": [2**31, 2**31], "counts": "0"}, "pixels that are read"),
    "huge": ({"size": [10**400, 1], "counts": [1]}, "pixels that are read"),
    "short": ({"size": [4, 4], "counts": [3, 4]}, "add up to 7"),
    "long": ({"size": [4, 4], "counts": [3, 14]}, "add up to 17"),
    "none": ({"size": [4, 4], "counts": []}, "add up to 0"),
    "negative": ({"size": [4, 4], "counts": [20, -4]}, "a run has"),
    "negative, small": ({"size": [4, 4], "counts": [10, 10, -4]}, "a run has -4"),
    "one too long": ({"size": [4, 4], "counts": [0, 2**40]}, "a run has"),
    "beyond int64": ({"size": [4, 4], "counts": [2**70]}, "larger than any image"),
    "wraps to 16": ({"size": [4, 4], "counts": [2**63 - 1, 2**63 - 1, 18]}, "a run has"),
    "float": ({"size": [4, 4], "counts": [3.0, 13.0]}, "whole numbers"),
    "bool": ({"size": [4, 4], "counts": [True, 15]}, "whole numbers"),
    "null count": ({"size": [4, 4], "counts": [None]}, "whole numbers"),
    "dict": ({"size": [4, 4], "counts": {"a": 1}}, "whole numbers"),
    "too many runs": ({"size": [2, 2], "counts": [0] * 10 + [4]}, "11 runs"),
    "characters": ({"size": [4, 4], "counts": "@ !"}, "characters"),
    "not ascii": ({"size": [4, 4], "counts": "\u00e9"}, "characters"),
    "surrogate": ({"size": [4, 4], "counts": "\ud800"}, "characters"),
    "cut": ({"size": [4, 4], "counts": "PPP"}, "cut short"),
    "endless": ({"size": [4, 4], "counts": "o" * 40 + "0"}, "35 bits"),
    "empty text": ({"size": [4, 4], "counts": ""}, "add up to 0"),
    "wrong image": ({"size": [2, 8], "counts": [16]}, "but the image has"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_damage_is_refused_and_named(name):
    value, message = HOSTILE[name]
    with pytest.raises(ReadError, match=message):
        rle.decode(value, shape=(4, 4) if name == "wrong image" else None)


def test_random_damage_is_refused_or_decoded_as_it_says(rng):
    alphabet = np.frombuffer(bytes(range(48, 112)), dtype=np.uint8)
    accepted = 0
    for _ in range(scaled(20_000)):
        mask = _random_mask(rng, "square")
        text = bytearray(rle.encode_compressed(mask)["counts"].encode())
        for _ in range(int(rng.integers(0, 3))):
            text[rng.integers(len(text))] = rng.choice(alphabet)
        size = list(mask.shape)
        try:
            found = rle.decode({"size": size, "counts": bytes(text).decode()})
        except ReadError:
            continue
        accepted += 1
        counts = rle.from_coco_counts(bytes(text))
        assert _placed(found, mask.shape).sum() == counts[1::2].sum()
        assert rle_to_mask({"size": size, "counts": counts.tolist()}).sum() == counts[1::2].sum()
    assert accepted > 100
