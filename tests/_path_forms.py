"""Forms of a path that users type, and masks to save there."""

from __future__ import annotations

import numpy as np

from napari_sam_amg import Masks

STEMS = [
    "plain",
    "with space",
    "ünïcödé",
    "日本語",
    "a'quote",
    'a"double',
    "per%cent",
    "hash#tag",
    "plus+minus-",
    "(brackets)[square]",
    "comma,semi;colon",
    "dot.ted",
    "two.dots.here",
    "UPPER",
    "-leading-dash",
    "=formula",
    "~tilde",
    "$dollar",
    "am&persand",
    "trailing ",
    "x" * 120,
    "new/folder/below",
    "./relative/../up",
    "emoji 🔬",
    ".hidden",
]


def three_masks() -> Masks:
    """Return masks of which two overlap."""
    arrays = np.zeros((3, 30, 40), bool)
    arrays[0, 2:12, 3:15], arrays[1, 5:20, 10:30], arrays[2, 22:28, 1:9] = True, True, True
    return Masks.from_arrays(arrays, predicted_iou=np.array([0.9, 0.8, 0.7], np.float32))


def assert_same(found: Masks, masks: Masks) -> None:
    """Compare pixels and scores."""
    assert len(found) == len(masks)
    for one, other in zip(found, masks, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found.predicted_iou, masks.predicted_iou)
