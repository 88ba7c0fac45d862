"""Features of the crops used last, and which crops are encoded at once."""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_sam_amg.engine.encoder import Features

Framed = tuple[npt.NDArray[np.uint8], tuple[int, int] | None]
"""A crop (uint8, HxWx3), and height and width in pixels of what the model's square stands for."""

_PIXELS_AT_ONCE = 1 << 22
"""Of the model's input, on an accelerator: four crops for a model of 1024 pixels."""


def crops_at_once(image_size: int, device: str) -> int:
    """Return how many crops are encoded at once.

    On a CPU one: its caches hold no more, and nothing then depends on what comes together.
    """
    return 1 if device == "cpu" else max(1, _PIXELS_AT_ONCE // image_size**2)


@dataclass
class Room:
    """What an accelerator's memory has room for; less once it has run out.

    Attributes
    ----------
    crops : int
        That are encoded at once.
    look_ahead : bool
        Whether prompts are begun before the last ones are finished.
    """

    crops: int
    look_ahead: bool = True


class FeatureCache:
    """The features of the crops used last, bounded in memory.

    Parameters
    ----------
    capacity : int
        Bytes to hold at the most; the entries just added are always held.
    """

    def __init__(self, capacity: int = 1 << 30) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[bytes, Features] = OrderedDict()

    def get(
        self,
        crop: Framed,
        following: Iterable[Framed],
        compute: Callable[[Sequence[Framed]], list[Features]],
        at_once: int = 1,
    ) -> Features:
        """Return the features of a crop, computed only if its bytes or its frame are new.

        Parameters
        ----------
        crop : Framed
        following : iterable of Framed
            What is asked for next: some are computed with it.
        compute : callable
            Returns the features of some crops.
        at_once : int
            How many those may be.
        """
        key = _key(crop)
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        new, wanted = {key: crop}, {key}
        for other in itertools.islice(following, at_once - 1):
            wanted.add(its := _key(other))
            if its in self._entries:
                self._entries.move_to_end(its)
            else:
                new[its] = other
        self._entries.update(zip(new, compute(list(new.values())), strict=True))
        found = self._entries[key]
        # What is wanted next has come to the end: the others go, those used longest ago first.
        while len(self._entries) > len(wanted) and self.nbytes > self._capacity:
            self._entries.popitem(last=False)
        return found

    @property
    def nbytes(self) -> int:
        """Memory of all entries in bytes."""
        return sum(entry.nbytes for entry in self._entries.values())

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()


def _key(crop: Framed) -> bytes:
    rgb, frame = np.ascontiguousarray(crop[0]), crop[1]
    digest = hashlib.blake2b(repr((rgb.shape, frame)).encode(), digest_size=32)
    digest.update(rgb.data)
    return digest.digest()
