"""Row 11, through napari's own save dialog: every form of a name, typed and accepted."""

from __future__ import annotations

import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog, QLineEdit

from _path_forms import STEMS, assert_same, three_masks
from napari_sam_amg import read_coco, read_png_folder
from napari_sam_amg.plugin.layers import layer_tuple

COCO, FOLDER = "Masks as COCO JSON", "Masks as PNG folder"


def _save(viewer, typed: str, kind: str) -> None:
    """Type a name into the dialog, choose a kind of file, press Save."""

    def fill() -> None:
        dialog = QApplication.activeModalWidget()
        if not isinstance(dialog, QFileDialog):
            QTimer.singleShot(20, fill)
            return
        (wanted,) = [name for name in dialog.nameFilters() if kind in name]
        dialog.selectNameFilter(wanted)
        dialog.findChild(QLineEdit, "fileNameEdit").setText(typed)
        dialog.findChild(QDialogButtonBox).button(QDialogButtonBox.StandardButton.Save).click()
        if dialog.isVisible():  # it wants another name
            dialog.close()

    QTimer.singleShot(0, fill)
    viewer.window._qt_viewer._save_layers_dialog(selected=True)


@pytest.mark.parametrize("kind", [COCO, FOLDER])
def test_every_form_of_a_name(make_napari_viewer, tmp_path, monkeypatch, kind):
    masks = three_masks()
    viewer = make_napari_viewer()
    data, meta, _ = layer_tuple(masks, name="cells")
    viewer.add_labels(data, **meta)
    for number, stem in enumerate(STEMS):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.setattr(
            "napari._qt.qt_viewer.get_save_history", lambda folder=folder: [str(folder)]
        )
        _save(viewer, f"{stem}.json" if kind == COCO else stem, kind)
        # Qt makes of quotes and blanks what it likes: what counts is that it is there, whole.
        if kind == COCO:
            (file,) = folder.rglob("*.json")
            (found,) = read_coco(file).values()
        else:
            (table,) = folder.rglob("metadata.csv")
            found = read_png_folder(table.parent)
        assert_same(found, masks)


def test_a_name_without_its_ending_and_one_that_exists(make_napari_viewer, tmp_path, monkeypatch):
    viewer = make_napari_viewer()
    data, meta, _ = layer_tuple(three_masks(), name="cells")
    viewer.add_labels(data, **meta)
    monkeypatch.setattr("napari._qt.qt_viewer.get_save_history", lambda: [str(tmp_path)])
    _save(viewer, "cells", COCO)
    (file,) = tmp_path.iterdir()
    (found,) = read_coco(file).values()
    assert_same(found, three_masks())
