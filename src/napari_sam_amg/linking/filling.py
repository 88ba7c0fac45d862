"""Masks for slices that an object is missing from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from napari_sam_amg.masks.window import Window

Placed = tuple[int, int, "Window"]
"""Left and top in the image, and the pixels of a mask, bool hxw."""


def between(
    before: Placed, after: Placed, steps: tuple[int, int], shape: tuple[int, int]
) -> Placed | None:
    """Interpolate a mask between two.

    Shape-based interpolation: signed distances to the outlines are averaged, and what lies inside
    is the mask (Raya and Udupa, IEEE Transactions on Medical Imaging 9, 1990). The masks are first
    laid on each other by their centroids, so that an object that moves does not vanish.

    Parameters
    ----------
    before, after : (int, int, ndarray)
        Left, top and pixels of the masks.
    steps : (int, int)
        Slices from the one before, and to the one after.
    shape : (int, int)
        Height and width of the image in pixels.

    Returns
    -------
    (int, int, ndarray), or None
        As the masks that are given; None if nothing lies inside.
    """
    far, near = steps  # the nearer one weighs more
    total = far + near
    centres = [_centre(mask) for mask in (before, after)]
    middle = (near * centres[0] + far * centres[1]) / total
    places = [
        np.array([mask[1], mask[0]]) + np.rint(middle - centre).astype(int)
        for mask, centre in zip((before, after), centres, strict=True)
    ]
    ends = [place + mask[2].shape for place, mask in zip(places, (before, after), strict=True)]
    low, high = np.minimum(*places) - 1, np.maximum(*ends) + 1
    one, other = (
        _distance(mask[2], place - low, high - low)
        for place, mask in zip(places, (before, after), strict=True)
    )
    inside: Window = near * one + far * other > 0
    top, left = low.tolist()
    return _within(left, top, inside, shape)


def _centre(mask: Placed) -> npt.NDArray[np.float64]:
    rows, columns = np.nonzero(mask[2])
    return np.array([rows.mean() + mask[1], columns.mean() + mask[0]])


def _distance(
    pixels: Window, place: npt.NDArray[Any], size: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Signed distance to the outline of a mask in a frame, in pixels, positive inside."""
    from scipy.ndimage import distance_transform_edt

    frame = np.zeros(tuple(size), dtype=np.bool_)
    y, x = place.tolist()
    frame[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
    # The outline runs between pixels, half of one from the centres on its both sides.
    inner, outer = distance_transform_edt(frame), distance_transform_edt(~frame)
    signed: npt.NDArray[np.float64] = np.where(frame, inner - 0.5, 0.5 - outer)
    return signed


def _within(left: int, top: int, pixels: Window, shape: tuple[int, int]) -> Placed | None:
    """Cut off what lies outside the image."""
    y, x = max(0, -top), max(0, -left)
    part = pixels[y : max(y, shape[0] - top), x : max(x, shape[1] - left)]
    return (left + x, top + y, part) if part.any() else None
