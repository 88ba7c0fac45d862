"""A small picture that is made only while it can be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QSizePolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from qtpy.QtGui import QShowEvent

_SIDE = 160
_WAIT_MS = 100


class Thumbnail(QLabel):
    """Shows an RGB image reduced by leaving out pixels: those that are shown are exact.

    Parameters
    ----------
    ask : callable
        Called when a picture is needed; `show_result` is to be called with it.
    """

    def __init__(self, ask: Callable[[], None]) -> None:
        super().__init__("")
        self._ask = ask
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_WAIT_MS)
        self._timer.timeout.connect(ask)
        self.setFixedHeight(_SIDE)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip(
            "<qt>What the model is given: 8 bits for each of red, green and blue, before the "
            "picture is brought to the model's size.</qt>"
        )

    def refresh(self, _: object = None) -> None:
        """Have a new picture made soon, if this is seen; several wishes make one."""
        if self.isVisible():
            self._timer.start()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Make the picture when it comes into sight, as Qt asks."""
        super().showEvent(event)
        self._timer.start()

    def show_result(self, result: npt.NDArray[np.uint8] | str) -> None:
        """Show an image (uint8, HxWx3), or say why there is none."""
        if isinstance(result, str):
            self.show_text(result)
            return
        step = -(-max(result.shape[:2]) // _SIDE)
        small = np.ascontiguousarray(result[::step, ::step])
        height, width = small.shape[:2]
        image = QImage(small.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self.setPixmap(QPixmap.fromImage(image))  # copies the pixels

    def show_text(self, text: str) -> None:
        """Show words instead of a picture."""
        self.setText(text)
