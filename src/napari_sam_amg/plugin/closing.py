"""Notices that a widget is taken out of its window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class Closing(QObject):
    """Calls a function when a widget is left without a parent; it may be docked again.

    napari has no event for this: a closed dock hands its widget over to nobody.

    Parameters
    ----------
    native : QWidget
    taken_out : callable
    """

    def __init__(self, native: QWidget, taken_out: Callable[[], None]) -> None:
        super().__init__()
        self._taken_out = taken_out
        native.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what Qt sends, and let it pass."""
        left = event is not None and event.type() == QEvent.Type.ParentChange
        if left and watched is not None and watched.parent() is None:
            self._taken_out()
        return False
