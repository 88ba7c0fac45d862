"""Volumes and series whose truth is known."""

from __future__ import annotations

import numpy as np

from napari_sam_amg import Masks


def as_masks(labels: np.ndarray, rng: np.random.Generator | None = None) -> Masks:
    """The objects of a label image as masks, in random order."""
    names = [name for name in np.unique(labels).tolist() if name]
    if rng is not None:
        names = rng.permutation(names).tolist()
    scores = np.linspace(0.5, 1, len(names))
    return Masks.from_arrays(
        [labels == name for name in names],
        shape=labels.shape,
        predicted_iou=scores,
        stability_score=scores[::-1],
    )


def same_partition(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two label arrays hold the same objects, by whatever names."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return all(len(np.unique(side)) == pairs.shape[1] for side in pairs) and [0, 0] in pairs.T
