"""Where a result lies in the world: a layer's transform as JSON, and back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.masks import Masks

log = logging.getLogger(__name__)

PLANE = "plane"
"""Key in a result's provenance."""

_NUMBERS = ("scale", "translate", "rotate", "shear", "affine")
_WORDS = ("units", "axis_labels")
_MOST_AXES = 32


def transform_json(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the transform in napari's keywords of a layer as JSON; what is None is left out."""
    found: dict[str, Any] = {}
    for name in _NUMBERS:
        if keywords.get(name) is not None:
            found[name] = np.asarray(keywords[name], dtype=float).tolist()
    for name in _WORDS:
        if keywords.get(name) is not None:
            found[name] = [str(word) for word in keywords[name]]
    return found


def with_placement(masks: Masks, shape: Sequence[int], meta: Mapping[str, Any]) -> Masks:
    """Return masks that say where their layer lies now.

    Parameters
    ----------
    masks : Masks
        Of the only plane of a layer; left as they are.
    shape : sequence of int
        Of the layer's data.
    meta : mapping
        napari's keywords of the layer.
    """
    now = transform_json(meta)
    recorded = masks.provenance.get(PLANE)
    same = isinstance(recorded, dict) and _equal(recorded, now)
    if same or (recorded is None and _plain(now)):
        return masks
    if isinstance(recorded, dict) and len(recorded.get("index", ())) == len(shape):
        index = recorded["index"]
    else:
        axes = plane_axes(shape)
        index = [None if axis in axes else 0 for axis in range(len(shape))]
    placed = masks[np.arange(len(masks))]
    placed.provenance[PLANE] = {"index": index, **now}
    return placed


def plane_axes(shape: Sequence[int]) -> list[int]:
    """Return the two axes along which the only plane of a layer lies, from its data's shape."""
    long = [axis for axis, length in enumerate(shape) if length > 1]
    return long if len(long) == 2 else list(range(len(shape) - 2, len(shape)))


def placement(masks: Masks | LargeResult) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what places masks that were read: an index for their label image, and keywords.

    The index gives the image an axis of length 1 for each that the plane lies across. What
    a file says may be wrong: then the image lies at the origin, and the log says so.
    """
    recorded = masks.provenance.get(PLANE)
    if recorded is None:
        return (slice(None), slice(None)), {}
    try:
        return _checked(recorded)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        log.warning("where the masks lie cannot be used (%s): they lie at the origin", error)
        return (slice(None), slice(None)), {}


def _checked(recorded: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    from napari.layers import Labels

    index = tuple(slice(None) if where is None else None for where in recorded["index"])
    count = len(index)
    if count > _MOST_AXES or sum(isinstance(where, slice) for where in index) != 2:
        raise ValueError(f"index {recorded['index']!r}")
    keywords: dict[str, Any] = {}
    for name in _NUMBERS:
        if name in recorded:
            keywords[name] = np.asarray(recorded[name], dtype=float)
            if not np.isfinite(keywords[name]).all():
                raise ValueError(f"{name} is not finite")
    for name in _WORDS:
        if name in recorded:
            keywords[name] = tuple(str(word) for word in recorded[name])
            if len(keywords[name]) != count:
                raise ValueError(f"{name} has {len(keywords[name])} entries for {count} axes")
    for name in ("scale", "translate"):
        if name in keywords and keywords[name].shape != (count,):
            raise ValueError(f"{name} has the shape {keywords[name].shape}")
    if "affine" in keywords and keywords["affine"].shape != (count + 1, count + 1):
        raise ValueError(f"affine has the shape {keywords['affine'].shape}")
    if (np.asarray(keywords.get("scale", 1)) == 0).any():
        raise ValueError("the scale has a 0")
    try:  # what else napari may not like, it says best itself
        Labels(np.zeros((1,) * count, dtype=np.uint8), **keywords)
    except Exception as error:
        raise ValueError(str(error)) from error
    return index, keywords


def _equal(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a transform is as recorded, but for napari's rounding when it is taken apart."""
    for name, value in now.items():
        if name in _WORDS:
            if recorded.get(name) != value:
                return False
            continue
        before, after = np.asarray(recorded.get(name, np.nan)), np.asarray(value)
        if before.shape != after.shape or not np.allclose(before, after, rtol=1e-12, atol=1e-12):
            return False
    return True


def _plain(now: Mapping[str, Any]) -> bool:
    """Whether a transform says nothing: pixels at the origin."""
    usual = {"scale": 1.0, "translate": 0.0, "shear": 0.0}
    arrays = {name: np.asarray(now[name]) for name in _NUMBERS if name in now}
    return (
        all((arrays[name] == value).all() for name, value in usual.items() if name in arrays)
        and all(
            np.array_equal(arrays[name], np.eye(len(arrays[name])))
            for name in ("rotate", "affine")
            if name in arrays
        )
        and not set(now.get("units", ())) - {"pixel", "dimensionless"}
    )
