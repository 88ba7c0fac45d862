"""Full frames of masks, packed one by one."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ImageError
from napari_sam_amg.masks.store import MaskStore
from napari_sam_amg.masks.window import Window, tight_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def packed(arrays: Iterable[npt.ArrayLike], shape: tuple[int, int] | None) -> MaskStore:
    """Pack full frames as they come; the first says their shape, unless it is given."""
    frames = iter(arrays)
    waiting = list(itertools.islice(frames, 1)) if shape is None else []
    if shape is None and not waiting:
        raise ImageError("there are no masks; give shape=(height, width) of their image")
    common = _inside(waiting[0], 0).shape if shape is None else tuple(shape)
    if len(common) != 2:
        raise ImageError(f"masks need one common two-dimensional shape, got {common}")

    def windows() -> Iterator[tuple[int, int, Window]]:
        # Popped, so that the first frame is not held to the end.
        for index, frame in enumerate(itertools.chain(_taken(waiting), frames)):
            pixels = _inside(frame, index)
            if pixels.shape != common:
                raise ImageError(
                    f"masks need one common two-dimensional shape: mask {index} has "
                    f"{pixels.shape}, expected {common}"
                )
            found = tight_window(pixels)
            if found is None:
                raise ImageError(f"mask {index} has no pixel; leave such masks out")
            yield found

    return MaskStore.from_windows((common[0], common[1]), windows())


def _taken(items: list[npt.ArrayLike]) -> Iterator[npt.ArrayLike]:
    while items:
        yield items.pop()


def _inside(array: npt.ArrayLike, index: int) -> Window:
    try:
        inside: Window = np.asarray(array) != 0
    except ValueError as error:
        raise ImageError(f"mask {index} is no array of numbers: {error}") from error
    return np.asarray(inside)
