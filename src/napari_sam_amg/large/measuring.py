"""Measurements of masks of a plane that need not fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.large.candidates import Candidates
from napari_sam_amg.large.source import Source
from napari_sam_amg.masks import MaskStore
from napari_sam_amg.measurements import COLOURS, measure

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd
    from numpy.typing import NDArray


def measured(
    batches: Iterable[tuple[int, Candidates]],
    shape: tuple[int, int],
    image: Any,
    *,
    pixel_size: float | tuple[float, float] | None,
    unit: str,
) -> pd.DataFrame:
    """Measure masks batch by batch.

    Parameters
    ----------
    batches : iterable of (int, Candidates)
        The first label of each, and its masks, which lie in a few rows of the image.
    shape : tuple of int
        Height and width of the image.
    image, pixel_size, unit
        As for `LargeResult.measure`.

    Returns
    -------
    DataFrame
    """
    import pandas as pd

    named = image if isinstance(image, Mapping) else {} if image is None else {"": image}
    sources = {name: Source(one, f"the image {name}".strip()) for name, one in named.items()}
    for name, source in sources.items():
        if source.shape != shape:
            raise ImageError(
                f"the image {name} has {source.shape[0]} x {source.shape[1]} pixels, the labels "
                f"{shape[0]} x {shape[1]}: give the image that they were found in"
            )

    def table(first: int, found: Candidates) -> pd.DataFrame:
        _, tops, _, heights = found.store.windows.T
        top = int(tops.min()) if len(found) else 0
        bottom = int((tops + heights).max(initial=top + 1))
        items = [
            (x, y - top, found.store.window(index))
            for index, (x, y, _, _) in enumerate(found.store.windows.tolist())
        ]
        store = MaskStore.from_windows((bottom - top, shape[1]), items)
        rows = {name: source[slice(top, bottom)] for name, source in sources.items()}
        pixels = _planes(rows) if isinstance(image, Mapping) else rows.get("")
        new = measure(store, pixels, pixel_size=pixel_size, unit=unit)
        new["label"] += first - 1
        new["centroid-0"] += top
        if pixel_size is not None:
            height = np.broadcast_to(np.asarray(pixel_size, dtype=float), 2)[0]
            new[f"centroid_{unit}-0"] += top * height
        return new

    tables = [table(first, found) for first, found in batches if len(found)]
    return pd.concat(tables or [table(1, Candidates.none(shape))], ignore_index=True)


def _planes(rows: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return images' channels, HxW, by name; those of colours are three."""
    found: dict[str, NDArray[Any]] = {}
    for name, pixels in rows.items():
        if pixels.ndim == 2:
            found[name] = pixels
        elif pixels.shape[2] == 1:
            found[name] = pixels[..., 0]
        else:
            found |= {f"{name} {colour}": pixels[..., i] for i, colour in enumerate(COLOURS)}
    return found
