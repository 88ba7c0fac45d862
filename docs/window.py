"""Make the picture of napari's window with the widget after a run (needs a display).

xvfb-run -a -s "-screen 0 1280x800x24" python docs/window.py
"""

from __future__ import annotations

import time
from pathlib import Path

import napari

from napari_sam_amg.plugin import AmgWidget
from napari_sam_amg.plugin.samples import fluorescence


def main() -> None:
    """Run the widget on the fluorescence sample and take the picture."""
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window.resize(1280, 780)
    ((image, keywords, _),) = fluorescence()
    viewer.add_image(image, **keywords)
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Automatic mask generation", area="right")
    widget.run()
    application = QApplication.instance()
    until = time.monotonic() + 300
    while time.monotonic() < until and widget.labels_layer is None:
        application.processEvents()
        time.sleep(0.01)
    viewer.reset_view()
    for _ in range(30):
        application.processEvents()
        time.sleep(0.02)
    viewer.screenshot(Path(__file__).parent / "images" / "widget.png", canvas_only=False)
    viewer.close()


if __name__ == "__main__":
    main()
