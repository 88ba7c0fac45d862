"""What a run asks of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt

    from napari_sam_amg.engine.decoder import Decoded, Decoder
    from napari_sam_amg.engine.encoder import Features
    from napari_sam_amg.engine.features import Framed


@dataclass(frozen=True)
class ModelCalls:
    """The two ways a run uses the model; each call takes the model's lock.

    Attributes
    ----------
    encode : callable
        (a crop, those that follow it) to `Features`; an accelerator encodes several at once.
    decoder : callable
        `Features` to a `Decoder`.
    decode : callable
        (`Decoder`, float32 nx2 points in crop pixels, those of the next call or None) to
        `Decoded`.
    """

    encode: Callable[[Framed, Iterable[Framed]], Features]
    decoder: Callable[[Features], Decoder]
    decode: Callable[[Decoder, npt.NDArray[np.float32], npt.NDArray[np.float32] | None], Decoded]
