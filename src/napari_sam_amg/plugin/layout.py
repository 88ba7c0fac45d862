"""How fields are laid out: rows of a form, groups that fold, a column that scrolls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, FloatSlider, PushButton
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from magicgui.widgets import Label
    from magicgui.widgets.bases import BaseValueWidget
    from qtpy.QtGui import QResizeEvent

    Row = BaseValueWidget[Any] | tuple[BaseValueWidget[Any], ...] | QWidget


def group(title: str, rows: Iterable[Row]) -> QCollapsible:
    """Put rows below a title that folds them; folded at first."""
    collapsible = QCollapsible(title, collapsedIcon="▶")
    collapsible.setDuration(0)
    layout = collapsible.layout()
    if layout is not None:
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
    collapsible.addWidget(form(rows))
    collapsible.collapse(animate=False)
    return collapsible


def scrolling(inner: QWidget) -> QScrollArea:
    """Let a column scroll up and down; it is as wide as its contents need."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(inner)
    bar = scroll.verticalScrollBar()
    room = bar.sizeHint().width() if bar is not None else 0
    scroll.setMinimumWidth(inner.minimumSizeHint().width() + room)
    return scroll


def form(rows: Iterable[Row]) -> QWidget:
    """Put widgets below each other, each beside its label; those of a tuple side by side."""
    box = QWidget()
    lines = QFormLayout(box)
    lines.setContentsMargins(0, 0, 0, 0)
    lines.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    lines.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    for widget in rows:
        if isinstance(widget, tuple):
            lines.addRow(beside(widget))
            continue
        if isinstance(widget, QWidget):
            lines.addRow(widget)
            continue
        native = widget.native
        # A slider that is too long for the row goes below its label, where it has room.
        native.setMinimumWidth(150 if isinstance(widget, FloatSlider) else 120)
        if isinstance(widget, CheckBox | PushButton):
            widget.text = widget.text or widget.label
            lines.addRow(native)
        else:
            lines.addRow(widget.label, native)
            label = lines.labelForField(native)
            if label is not None:
                label.setToolTip(widget.tooltip)
        native.show()
    return box


class Paragraph(QWidget):
    """A label that breaks its lines in the width that there is, whatever its words need.

    Parameters
    ----------
    label : magicgui.widgets.Label
    lines : int
        For how many lines there is always room.
    """

    def __init__(self, label: Label, lines: int = 0) -> None:
        super().__init__()
        self._label = label
        self._words = label.native
        self._words.setWordWrap(True)
        self._words.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._words.setMinimumHeight(lines * self._words.fontMetrics().lineSpacing())
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self._words)
        self._words.show()

    def say(self, text: str) -> None:
        """Show words; those for which there is always room leave the window's layout alone.

        Else Qt lays out the whole window anew for each of them, and draws it once more.
        """
        least = self._words.minimumHeight()
        needed = self._words.fontMetrics().boundingRect(
            0, 0, self._words.width(), 0, Qt.TextFlag.TextWordWrap, text
        )
        fits = needed.height() <= least == self._words.height()
        self._column.setEnabled(not fits)
        self._label.value = text
        if not fits:  # not on its own, if it was due while it was not enabled
            self._column.activate()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Lay the words out anew, also those that had room before."""
        super().resizeEvent(event)
        self._column.setEnabled(True)
        self._column.setGeometry(self.rect())


def show_row(widget: BaseValueWidget[Any], *, shown: bool) -> None:
    """Show or hide the row of a field, with its label."""
    native = widget.native
    lines = native.parentWidget().layout() if native.parentWidget() is not None else None
    if isinstance(lines, QFormLayout):
        lines.setRowVisible(native, shown)


def beside(widgets: Iterable[BaseValueWidget[Any]]) -> QWidget:
    """Put buttons or short fields into one row."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        widget.native.setMinimumWidth(40)
        row.addWidget(widget.native)
        widget.native.show()
    return box
