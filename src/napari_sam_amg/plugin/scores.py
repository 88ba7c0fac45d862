"""What each threshold removes: the candidates' scores as small plots, and counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from magicgui.widgets import Label
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from napari_sam_amg.plugin.layout import Paragraph
from napari_sam_amg.plugin.section import Host, Section

if TYPE_CHECKING:
    from qtpy.QtGui import QPaintEvent

REASONS = {
    "pred_iou_thresh": "low predicted IoU",
    "stability_score_thresh": "unstable",
    "crop edge": "cut off by a crop's edge",
    "box_nms_thresh": "duplicates",
    "crop_nms_thresh": "duplicates between crops",
    "min_mask_region_area": "duplicates after cleaning",
    "min_area": "too small",
    "max_area": "too large",
    "exclude_border": "at the border",
}
"""Why candidates are not shown, by the steps of `Selection.removed`."""

_BINS = 40
_FAINT, _STRONG = QColor(128, 128, 128), QColor(70, 150, 240)  # seen on light and on dark


class ScorePlot(QWidget):
    """A histogram of one score over all candidates; those that are shown stand out.

    Parameters
    ----------
    title : str
        What is plotted.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._edges = np.linspace(0, 1, _BINS + 1)
        self._values: npt.NDArray[Any] = np.empty(0)
        self._all = np.zeros(_BINS)
        self._shown = np.zeros(_BINS)
        self._threshold = 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_scores(
        self, values: npt.NDArray[Any], rows: npt.NDArray[np.int64], threshold: float
    ) -> None:
        """Plot the scores of N candidates, of which `rows` are shown.

        Parameters
        ----------
        values : ndarray, N
        rows : ndarray, int64
        threshold : float
            Drawn as a line.
        """
        if values is not self._values:
            self._values = values
            known = values[np.isfinite(values)]
            top = max(1.0, float(known.max(initial=0)))
            self._edges = np.linspace(0, top, _BINS + 1)
            self._all = np.histogram(known, self._edges)[0]
        self._shown = np.histogram(values[rows], self._edges)[0]
        self._threshold = threshold
        self.setToolTip(
            f"<qt>{self._title} of {len(values):,} candidates (grey) and of the {len(rows):,} "
            f"masks that are shown (coloured); the line is the threshold, {threshold:g}.</qt>"
        )
        self.update()

    def sizeHint(self) -> QSize:
        """Return what Qt asks for."""
        return QSize(120, 4 * self.fontMetrics().lineSpacing())

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw it, as Qt asks."""
        painter = QPainter(self)
        text = self.fontMetrics().lineSpacing()
        area = QRectF(0, text, self.width() - 1, self.height() - text - 1)
        palette = self.palette()
        painter.drawText(QRectF(0, 0, self.width(), text), Qt.AlignmentFlag.AlignLeft, self._title)
        # Square roots, so that a few good masks are seen beside thousands of bad candidates.
        highest = float(np.sqrt(self._all.max(initial=1))) or 1.0
        step = area.width() / _BINS
        for counts, colour in (
            (self._all, _FAINT),
            (self._shown, _STRONG),
        ):
            for index in np.flatnonzero(counts).tolist():
                height = area.height() * float(np.sqrt(counts[index])) / highest
                left, top = area.left() + index * step, area.bottom() - height
                painter.fillRect(QRectF(left, top, step, height), colour)
        painter.setPen(QPen(palette.windowText().color(), 1))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        x = area.left() + area.width() * min(self._threshold / self._edges[-1], 1.0)
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.end()


class Scores(Section):
    """Plots of predicted IoU and stability below their thresholds, and counts."""

    title = "Quality"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._plots = {
            "predicted_iou": (ScorePlot("Predicted IoU"), "pred_iou_thresh"),
            "stability_score": (ScorePlot("Stability"), "stability_score_thresh"),
        }
        plots = QWidget()
        row = QHBoxLayout(plots)
        row.setContentsMargins(0, 0, 0, 0)
        for plot, _ in self._plots.values():
            row.addWidget(plot)
        self.removed = Label(name="removed", value="After a run: why candidates are not shown.")
        # Room for the longest text, so that the form does not jump while a slider moves.
        self._paragraph = Paragraph(self.removed, lines=3)
        row.setSpacing(12)
        self.rows = [plots, self._paragraph]
        host.result_changed.connect(self._update)

    def _update(self) -> None:
        result = self._host.result
        if result is None or result.selection is None:
            return
        for name, (plot, threshold) in self._plots.items():
            values = getattr(result.proposals, name)
            plot.show_scores(values, result.rows, result.thresholds[threshold])
        counts = result.selection.removed.items()
        lost = [f"{count:,} {REASONS[step]}" for step, count in counts if count]
        words = f"Not shown: {', '.join(lost)}." if lost else "All candidates are shown."
        self._paragraph.say(words)
