"""Notices that a widget is taken out of its window, or is gone with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget


class Closing(QObject):
    """Calls functions when a widget leaves.

    napari has no event for this: a closed dock hands its widget over to nobody, and a closed
    window destroys it.

    Parameters
    ----------
    native : QWidget
    taken_out : callable
        Called when it has a parent no more; it may be docked again.
    destroyed : callable
        Called when it is destroyed; no part of it can be used any more.
    """

    def __init__(
        self, native: QWidget, taken_out: Callable[[], None], destroyed: Callable[[], None]
    ) -> None:
        super().__init__()
        self._taken_out = taken_out
        native.installEventFilter(self)
        native.destroyed.connect(lambda *_: destroyed())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Look at what Qt sends, and let it pass."""
        left = event is not None and event.type() == QEvent.Type.ParentChange
        if left and watched is not None and watched.parent() is None:
            self._taken_out()
        return False
