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


def paragraph(label: Label) -> QWidget:
    """Let a label break its lines in the width that there is, whatever its words need."""
    words = label.native
    words.setWordWrap(True)
    words.setAlignment(Qt.AlignmentFlag.AlignTop)
    words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    box = QWidget()
    column = QVBoxLayout(box)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(words)
    words.show()
    return box


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
