"""How a large image becomes 8-bit: by the rule of small ones, with one look at each chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import Cancelled, ImageError
from napari_sam_amg.image import to_rgb
from napari_sam_amg.intensity import map_to_grey, measure_contrast
from napari_sam_amg.stack_contrast import stack_contrast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from napari_sam_amg.intensity import Brightness
    from napari_sam_amg.large.source import Source

_MOST_VALUES = 1 << 24
"""Values that percentiles are taken from, where they cannot be counted one by one."""


def mapping_of(
    source: Source,
    rule: Brightness,
    *,
    should_stop: Callable[[], bool],
    most: int = _MOST_VALUES,
) -> dict[str, Any]:
    """Settle how an image becomes 8-bit RGB, as `napari_sam_amg.image.prepare_image` does.

    Where contrast is measured, each chunk is read once: integers of 8 and 16 bits are counted,
    all of them; of other types every k-th row and column counts, with the smallest k that
    leaves at most `most` values, so that up to there the result is that of all values too.

    Parameters
    ----------
    source : Source
    rule : Brightness
    should_stop : callable
        Asked between reads.
    most : int

    Returns
    -------
    dict
        JSON: as the ``mapping`` of `napari_sam_amg.image.ModelInput`, its counts 0; with
        ``sampled_step`` (k) where contrast was measured.

    Raises
    ------
    Cancelled
        If `should_stop` said so.
    ImageError
        If contrast is to be measured and no value is finite.
    """
    notes: list[str] = []
    mapping: dict[str, Any] = {
        "shape": list(source.full_shape),
        "dtype": str(source.dtype),
        "rule": "linear",
        "contrast": None,
        "percentiles": None,
        "alpha_dropped": source.has_alpha,
        "nan_count": 0,
        "posinf_count": 0,
        "neginf_count": 0,
        "notes": notes,
    }
    if source.has_alpha:
        notes.append("The fourth channel was taken for transparency (alpha) and dropped.")
    if source.dtype.kind == "b":
        mapping["rule"] = "bool"
        return mapping
    contrast = rule.contrast
    if source.dtype == np.uint8 and contrast is None and not rule.map_uint8:
        if rule.gamma == 1.0:
            mapping["rule"] = "unchanged"
            return mapping
        contrast = (0.0, 255.0)
    if contrast is None:
        mapping["percentiles"] = list(rule.percentiles)
        if source.dtype.kind in "ui" and source.dtype.itemsize <= 2:
            step = 1
            ndim = len(source.full_shape)
            contrast = stack_contrast(
                _Rows(source), rule.percentiles, plane_axes=ndim - 1, should_stop=should_stop
            )
            if contrast[0] == contrast[1]:
                notes.append(f"Every value is {contrast[0]:g}: the model was given a black image.")
        else:
            count = math.prod(source.shape) * source.channels
            step = math.ceil(math.sqrt(count / most))
            values = _sampled(source, step, should_stop)
            contrast = measure_contrast(values, *rule.percentiles, notes)
        mapping["sampled_step"] = step
    mapping["contrast"] = [contrast[0], contrast[1]]
    if rule.gamma != 1.0:
        mapping["gamma"] = rule.gamma
    return mapping


class _Rows:
    """What `stack_contrast` asks of an array, with the blocks of a source for chunks."""

    def __init__(self, source: Source) -> None:
        self.shape, self.dtype, self.chunks = source.full_shape, source.dtype, source.chunks
        self._source = source

    def __getitem__(self, place: tuple[slice]) -> NDArray[Any]:
        return self._source[place]


def _sampled(source: Source, step: int, should_stop: Callable[[], bool]) -> NDArray[Any]:
    parts = []
    for top, block in source.blocks():
        if should_stop():
            raise Cancelled("the run was ended while contrast was measured")
        values = block[-top % step :: step, ::step]
        parts.append(values[np.isfinite(values)])
    values = np.concatenate(parts)
    if not values.size:
        raise ImageError(
            "the image holds no finite value"
            + (f" in every {step}th row and column" if step > 1 else "")
            + ": give contrast, or check how it was computed or read"
        )
    return values


@dataclass(frozen=True)
class Greys:
    """From an image's own values to 8-bit RGB.

    Attributes
    ----------
    rule : str
        "unchanged", "bool" or "linear".
    contrast : (float, float) or None
        The values that become black and white.
    gamma : float
    """

    rule: str
    contrast: tuple[float, float] | None
    gamma: float

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> Greys:
        """Return what `mapping_of` settled."""
        contrast = mapping["contrast"]
        limits = None if contrast is None else (float(contrast[0]), float(contrast[1]))
        return cls(mapping["rule"], limits, mapping.get("gamma", 1.0))

    def __call__(self, window: NDArray[Any]) -> NDArray[np.uint8]:
        """Return a part of the image as the model sees it, uint8 hxwx3."""
        if self.contrast is None:
            scale = 255 if self.rule == "bool" else 1
            return to_rgb(window.astype(np.uint8) * np.uint8(scale))
        if window.dtype.kind == "f" and window.dtype.itemsize > 8:
            with np.errstate(over="ignore"):
                window = window.astype(np.float64)
        return to_rgb(map_to_grey(window, self.contrast, self.gamma))


class NonFinite:
    """Counts the values of an image that are no finite numbers, as its rows are read."""

    def __init__(self) -> None:
        self._counts = {"nan_count": 0, "posinf_count": 0, "neginf_count": 0}

    def __call__(self, block: NDArray[Any]) -> None:
        """Count those of some rows."""
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            self._counts["nan_count"] += int(np.isnan(block).sum())
            self._counts["posinf_count"] += int(np.isposinf(block).sum())
            self._counts["neginf_count"] += int(np.isneginf(block).sum())

    def recorded(self, mapping: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mapping with the counts, and a note if there were any."""
        notes = list(mapping["notes"])
        if any(self._counts.values()):
            nan, above, below = self._counts.values()
            notes.append(
                f"Values that are no finite numbers ({nan} NaN, {above} +infinity, {below} "
                "-infinity) became black, +infinity white."
            )
        return {**mapping, **self._counts, "notes": notes}
