"""Predicted against true quality: bins, the expected calibration error, and a diagram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from resampling import drawn_fields, middle

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

BINS = 10


@dataclass(frozen=True, eq=False)
class Reliability:
    """Pairs of a predicted and a true value, in bins of the predicted one.

    Attributes
    ----------
    counts : ndarray, float64, 10
        Pairs in each bin of a tenth; what lies outside 0 to 1 is in the first or last.
    predicted, true : ndarray, float64, 10
        Sums of the values.
    """

    counts: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.float64]
    true: npt.NDArray[np.float64]

    @classmethod
    def of(cls, predicted: npt.NDArray[np.float64], true: npt.NDArray[np.float64]) -> Reliability:
        """Sort N pairs into bins."""
        index = np.clip(np.floor(predicted * BINS), 0, BINS - 1).astype(np.int64)
        sums = [np.bincount(index, w, BINS) for w in (np.ones_like(true), predicted, true)]
        return cls(*sums)

    def __add__(self, other: Reliability) -> Reliability:
        return Reliability(
            self.counts + other.counts, self.predicted + other.predicted, self.true + other.true
        )

    @property
    def error(self) -> float:
        """Expected calibration error: |mean predicted - mean true|, weighted by the bins."""
        total = self.counts.sum()
        return float(np.abs(self.predicted - self.true).sum() / total) if total else float("nan")

    @property
    def means(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean predicted and true value of each bin, NaN where it is empty."""
        with np.errstate(invalid="ignore"):
            return self.predicted / self.counts, self.true / self.counts


def error_interval(parts: dict[str, Reliability], draws: int = 2000, seed: int = 0) -> list[float]:
    """Return the calibration error of all fields, and the interval over fields drawn anew.

    Parameters
    ----------
    parts : dict
        By field.
    draws, seed : int
        As for `resampling.intervals`.
    """
    gaps = np.array([part.predicted - part.true for part in parts.values()])
    counts = np.array([part.counts.sum() for part in parts.values()])
    times = drawn_fields(len(parts), draws, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.abs(times @ gaps).sum(1) / (times @ counts)
        whole = float(np.abs(gaps.sum(0)).sum() / counts.sum())
    ends = middle(drawn[:, None])[:, 0] if len(parts) > 1 else [np.nan] * 2
    return [whole, float(ends[0]), float(ends[1])]


def draw(path: Path, panels: dict[str, Reliability]) -> None:
    """Write a PNG with a diagram for each panel, side by side.

    Bars are the mean true IoU of each bin; the line is where predicted and true are equal; the
    strip below has the share of candidates in each bin.
    """
    from PIL import Image, ImageDraw, ImageFont

    side, strip, left, top, gap = 300, 60, 56, 34, 26
    width, height = (left + side + 14) * len(panels), top + side + gap + strip + 44
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(13)
    for number, (title, found) in enumerate(panels.items()):
        x0 = number * (left + side + 14) + left
        bottom = top + side
        pen.text((x0, 9), f"{title}: error {found.error:.3f}", "black", font)
        share = found.counts / max(1.0, found.counts.sum())
        below = bottom + gap + strip
        for i, mean in enumerate(found.means[1]):
            a, b = x0 + side * i // BINS + 1, x0 + side * (i + 1) // BINS - 1
            if np.isfinite(mean):
                pen.rectangle((a, bottom - round(side * float(mean)), b, bottom), "#7aa6d8")
            pen.rectangle((a, below - round(strip * float(share[i])), b, below), "#b0b0b0")
        pen.rectangle((x0, top, x0 + side, bottom), outline="black")
        pen.rectangle((x0, bottom + gap, x0 + side, below), outline="black")
        pen.line((x0, bottom, x0 + side, top), "#c03030", 2)
        for tick in (0, 0.5, 1):
            at = round(side * tick)
            pen.text((x0 + at, bottom + 4), f"{tick:g}", "black", font, anchor="ma")
            pen.text((x0 - 6, bottom - at), f"{tick:g}", "black", font, anchor="rm")
        pen.text((x0 + side // 2, below + 8), "predicted IoU", "black", font, anchor="ma")
        pen.text((x0 + 6, top + 6), "true IoU", "black", font)
        pen.text((x0 + 6, bottom + gap + 4), "share of candidates", "black", font)
    picture.quantize(64).save(path, optimize=True)
