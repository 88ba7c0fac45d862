"""The widget in a laptop's window: nothing cut off, reachable by keyboard, no own style."""

from __future__ import annotations

from pathlib import Path

import pytest
from magicgui.widgets import Label
from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollArea,
    QScrollBar,
    QWidget,
)

import napari_sam_amg
from napari_sam_amg.plugin.layout import Paragraph

FIELDS = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


@pytest.fixture
def laptop(widget, viewer, qtbot):
    """The widget in a window of 1280 x 780 pixels: a screen of 1280 x 800 with its task bar."""
    window = viewer.window._qt_window
    window.resize(1280, 780)
    with qtbot.waitExposed(window):
        window.show()
    return widget


def test_it_fits(laptop, viewer, qtbot):
    window, panel = viewer.window._qt_window, laptop._panel
    assert window.width() <= 1280
    assert window.height() <= 780
    inside = QRect(QPoint(0, 0), window.size())
    for name in panel.groups:
        for other in panel.groups.values():
            other.collapse(animate=False)
        panel.groups[name].expand(animate=False)
        qtbot.wait(20)
        shown = [w for w in panel.native.findChildren(QWidget) if w.isVisible()]
        (scroll,) = [w for w in shown if type(w) is QScrollArea]
        assert scroll.horizontalScrollBar().maximum() == 0, f"{name} is cut off at the side"
        for button in (panel.run_button, panel.all_button, panel.cancel_button, panel.keep_button):
            native = button.native
            place = QRect(native.mapTo(window, QPoint(0, 0)), native.size())
            assert inside.contains(place)
            assert native.width() >= native.fontMetrics().horizontalAdvance(native.text())
        assert window.height() <= 780


def test_every_field_is_reached_by_the_keyboard(laptop):
    fields = laptop._panel.native.findChildren(FIELDS)
    assert len(fields) > 30
    for field in fields:
        if isinstance(field, QScrollBar):
            continue
        focus = field.focusPolicy() & Qt.FocusPolicy.TabFocus
        # The parts of a field, such as a spin box's own line, are reached with it.
        assert focus or isinstance(field.parent(), FIELDS), field.objectName()


def test_it_has_no_style_of_its_own():
    sources = Path(napari_sam_amg.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if "setStyleSheet" in path.read_text("utf-8")]


class Laid(QObject):
    """Counts how often a widget is asked to lay out what is in it."""

    def __init__(self, watched):
        super().__init__()
        self.count = 0
        watched.installEventFilter(self)

    def eventFilter(self, watched, event):
        self.count += event.type() == QEvent.Type.LayoutRequest
        return False


@pytest.mark.parametrize(
    ("words", "laid"), [("Step 2 of 6, 3 s", False), (" ".join(["much to say"] * 60), True)]
)
def test_the_news_of_a_run_lay_nothing_out_anew(laptop, qtbot, words, laid):
    """Without a graphics card each layout of the window takes time from the run."""
    panel = laptop._panel
    laptop.say("Step 1 of 6, 2 s")
    qtbot.wait(50)
    seen = Laid(panel.native)
    laptop.say(words)
    qtbot.wait(50)
    assert (seen.count > 0) == laid
    native = panel.status.native
    assert native.text() == words
    needed = native.heightForWidth(native.width())
    assert native.height() >= needed, "cut off"


def test_words_that_had_room_follow_a_narrower_window(qtbot):
    label = Label(value="")
    paragraph = Paragraph(label, lines=3)
    qtbot.addWidget(paragraph)
    paragraph.resize(900, paragraph.sizeHint().height())
    paragraph.show()
    paragraph.say(" ".join(["word"] * 24))
    paragraph.resize(150, paragraph.height())
    assert label.native.width() == 150
    needed = label.native.heightForWidth(150)
    assert paragraph.heightForWidth(150) >= needed > paragraph.height()
