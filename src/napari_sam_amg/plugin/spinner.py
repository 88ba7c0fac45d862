"""Where napari draws without a graphics card, every change of its window takes from the run."""

from __future__ import annotations

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QLabel, QMainWindow, QWidget

_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader", "gdi generic", "basic render")
"""In the names of OpenGL renderers that draw on the processor."""


def main_window(widget: QWidget) -> QWidget:
    """Return the window that a widget belongs to, also while its dock floats."""
    window = widget.window() or widget
    while (parent := window.parentWidget()) is not None:
        window = parent.window() or parent
    return window


def draws_on_processor(window: QWidget) -> bool:
    """Whether a window's OpenGL canvas, if it has one, is drawn without a graphics card."""
    from vispy.gloo import gl

    for canvas in window.findChildren(QOpenGLWidget):
        if canvas.isValid():
            canvas.makeCurrent()
            renderer = str(gl.glGetParameter(gl.GL_RENDERER)).lower()
            canvas.doneCurrent()
            return any(name in renderer for name in _SOFTWARE)
    return False


def hold_spinner(window: QWidget) -> None:
    """Pause the animation beside "activity" until napari next starts it.

    Each of its frames makes Qt compose the whole window with the canvas anew. Without a
    graphics card that took a third of the processor (``benchmarks/window.py cost``). The
    progress bars go on all the same.
    """
    bar = window.statusBar() if isinstance(window, QMainWindow) else None
    for label in bar.findChildren(QLabel) if bar is not None else ():
        if (movie := label.movie()) is not None:
            movie.setPaused(True)
