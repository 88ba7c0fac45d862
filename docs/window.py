"""Make the pictures of napari's window with the widget (needs a display).

xvfb-run -a -s "-screen 0 1280x800x24" python docs/window.py
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari

from napari_sam_amg.plugin import AmgWidget
from napari_sam_amg.plugin.samples import fluorescence, tissue

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).parent / "images"


def wait(done: Callable[[], bool], seconds: float = 300) -> None:
    """Let the window live until something is done."""
    from qtpy.QtWidgets import QApplication

    until = time.monotonic() + seconds
    while time.monotonic() < until and not done():
        QApplication.processEvents()
        time.sleep(0.01)


def opened(sample: Callable[[], Any]) -> tuple[napari.Viewer, AmgWidget]:
    """Open a sample with the widget, and run it."""
    viewer = napari.Viewer()
    viewer.window.resize(1280, 780)
    ((image, keywords, _),) = sample()
    viewer.add_image(image, **keywords)
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Automatic mask generation", area="right")
    widget.run()
    wait(lambda: widget.labels_layer is not None)
    viewer.reset_view()
    return viewer, widget


def stacked() -> tuple[napari.Viewer, AmgWidget]:
    """Open the stack of the guide, and link its slices."""
    from guide_data import SIZES, stack

    viewer = napari.Viewer()
    viewer.window.resize(1280, 780)
    viewer.add_image(
        stack(6),
        name="nuclei",
        axis_labels=("z", "y", "x"),
        units=("um",) * 3,
        scale=[SIZES[axis] for axis in "ZYX"],
    )
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Automatic mask generation", area="right")
    widget.points_per_side.value = 24
    widget.run_stack()
    wait(lambda: len(viewer.layers) > 1, 900)
    return viewer, widget


def field() -> tuple[napari.Viewer, AmgWidget]:
    """Go through the guide's field of two channels, up to the measured table."""
    from guide_data import SIZES, two_channels

    viewer = napari.Viewer()
    viewer.window.resize(1280, 780)
    viewer.add_image(
        two_channels(),
        channel_axis=0,
        name=["DAPI", "marker"],
        axis_labels=("y", "x"),
        units=("um", "um"),
        scale=[SIZES[axis] for axis in "YX"],
    )
    viewer.layers.selection.active = viewer.layers["DAPI"]
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Automatic mask generation", area="right")
    widget.image_layer.value = viewer.layers["DAPI"]
    widget.object_diameter.value = 50
    widget.run()
    wait(lambda: widget.labels_layer is not None, 900)
    measured(viewer, widget, "intensity_mean-marker")
    return viewer, widget


def large() -> tuple[napari.Viewer, AmgWidget]:
    """Run over a multiscale image into a folder."""
    import tempfile

    import dask.array as da
    from guide_data import SIZES, two_channels

    viewer = napari.Viewer()
    viewer.window.resize(1280, 780)
    finest = da.from_array(two_channels()[0], chunks=512)
    viewer.add_image(
        [finest, finest[::2, ::2], finest[::4, ::4]],
        name="slide",
        contrast_limits=(0, 2500),
        axis_labels=("y", "x"),
        units=("um", "um"),
        scale=[SIZES[axis] for axis in "YX"],
    )
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Automatic mask generation", area="right")
    widget.object_diameter.value = 50
    folder = Path(tempfile.gettempdir()) / "results"
    shutil.rmtree(folder / "slide masks", ignore_errors=True)
    widget.result_folder.value = folder
    widget.run_large_button.changed.emit(True)
    wait(lambda: len(viewer.layers) > 1, 900)
    widget.measure_large.changed.emit(True)
    wait(lambda: widget._panel.status.value != "Measuring ...")
    opened_at(widget, "Very large image")
    viewer.reset_view()
    return viewer, widget


def measured(viewer: napari.Viewer, widget: AmgWidget, feature: str) -> None:
    """Measure, colour the masks by a feature, and show the table."""
    widget.measure.changed.emit(True)
    wait(lambda: widget._panel.status.value != "Measuring ...")
    widget.colour_by.value = feature
    widget.features_table.changed.emit(True)
    opened_at(widget, "Show")
    viewer.reset_view()


def opened_at(widget: AmgWidget, name: str) -> None:
    """Open one group of the form alone, and scroll to the end."""
    from qtpy.QtWidgets import QScrollArea

    for group in widget._panel.groups.values():
        group.collapse(animate=False)
    widget._panel.groups[name].expand(animate=False)
    wait(lambda: False, 1)
    bar = widget.native.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(bar.maximum())


def taken(viewer: napari.Viewer, name: str) -> None:
    """Take a picture of the window."""
    wait(lambda: False, 1)
    viewer.screenshot(IMAGES / name, canvas_only=False)
    viewer.close()


def dialog_taken(viewer: napari.Viewer, name: str) -> None:
    """Take a picture of the screen while napari asks where to save the selected layer."""
    import tempfile

    import napari._qt.qt_viewer as asking
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication, QFileDialog

    def take() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(100, take)
            return
        dialog.setSidebarUrls([])
        dialog.selectNameFilter(next(x for x in dialog.nameFilters() if "COCO JSON" in x))
        dialog.selectFile("nuclei.json")
        wait(lambda: False, 1)
        QApplication.primaryScreen().grabWindow(0).save(str(IMAGES / name))
        dialog.close()

    folder = Path(tempfile.gettempdir()) / "results"  # a name that says nothing of this machine
    folder.mkdir(exist_ok=True)
    asking.get_save_history = lambda: [str(folder)]
    QTimer.singleShot(0, take)
    viewer.window._qt_viewer._save_layers_dialog(selected=True)


def main() -> None:
    """Make all pictures."""
    from qtpy.QtWidgets import QTableView

    viewer, widget = opened(fluorescence)
    viewer.layers.selection.active = widget.labels_layer
    dialog_taken(viewer, "saving.png")
    viewer.layers.selection.active = widget.image_layer.value
    taken(viewer, "widget.png")
    viewer, widget = opened(tissue)
    measured(viewer, widget, "eccentricity")
    taken(viewer, "tissue.png")
    viewer, widget = field()
    for table in viewer.window._qt_window.findChildren(QTableView):
        table.horizontalScrollBar().setValue(table.horizontalScrollBar().maximum())
    taken(viewer, "field.png")
    viewer, widget = stacked()
    opened_at(widget, "Stack (z, t)")
    viewer.dims.set_current_step(0, 3)
    viewer.reset_view()
    taken(viewer, "stack.png")
    viewer, widget = large()
    taken(viewer, "large.png")


if __name__ == "__main__":
    main()
