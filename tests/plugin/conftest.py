"""Fixtures of the window's tests."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from napari_sam_amg.plugin.widget import AmgWidget

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 120_000
FEW = {
    "prompts": "grid",
    "points_per_side": 14,
    "pred_iou_thresh": 0.06,
    "stability_score_thresh": 0.2,
}


@pytest.fixture(scope="session")
def _libraries_set_aside() -> None:
    """Let collections pass over what lives as long as the process, which takes them long."""
    import sam2.build_sam  # noqa: F401 - and with it torch

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_old_windows(request, _libraries_set_aside) -> None:
    """Take down what is left of earlier tests' windows here, in the window's own thread.

    Python collects garbage in whichever thread happens to ask for memory. That is mostly a
    run's worker, where hundreds of Qt objects of closed windows were taken down, icons among
    them: not theirs to be in, and perhaps why a run of all tests once ended in Qt's crash.
    """
    if "make_napari_viewer" in request.fixturenames:
        gc.collect()


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.fixture
def widget(viewer, sample_images) -> AmgWidget:
    """A docked widget, an image of a few nuclei, and parameters for a quick run."""
    viewer.add_image(sample_images[0][:200, :260], name="cells", scale=(0.5, 0.5), units="um")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    for name, value in FEW.items():
        getattr(widget, name).value = value
    return widget


@pytest.fixture
def wait(qtbot) -> Callable[[AmgWidget], None]:
    """Wait for the end of a run; not for a signal: a run can be over before."""
    return lambda widget: qtbot.waitUntil(lambda: widget._worker is None, timeout=TIMEOUT)
