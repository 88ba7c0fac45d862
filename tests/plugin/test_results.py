"""Several images: all in one run, and each tuned with its own result."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_sam_amg.errors import ImageError, RunError
from napari_sam_amg.plugin.jobs import Found
from napari_sam_amg.plugin.widget import AmgWidget


@pytest.fixture
def three(widget, viewer, sample_images):
    viewer.add_image(sample_images[0][100:260, 100:300], name="second", translate=(7, 9))
    viewer.add_image(sample_images[1][:150, :150], name="tissue", rgb=True)
    return widget


def _masks(viewer):
    return {layer.name: layer for layer in viewer.layers if layer.name.endswith(" masks")}


def test_apply_to_all_gives_each_image_what_a_run_gives(three, viewer, wait):
    three.apply_to_all()
    wait(three)
    together = {name: layer.data.copy() for name, layer in _masks(viewer).items()}
    assert list(together) == ["cells masks", "second masks", "tissue masks"]
    np.testing.assert_allclose(viewer.layers["second masks"].translate, (7, 9))
    for name in together:
        viewer.layers.remove(name)
    for name in ("cells", "second", "tissue"):
        three.image_layer.value = viewer.layers[name]
        three.run()
        wait(three)
        np.testing.assert_array_equal(three.labels_layer.data, together[f"{name} masks"])


def test_going_back_to_an_image_tunes_its_own_result(three, viewer, wait):
    three.apply_to_all()
    wait(three)
    layers = _masks(viewer)
    before = {name: layer.data.copy() for name, layer in layers.items()}
    three.image_layer.value = viewer.layers["second"]
    assert three.labels_layer is layers["second masks"]
    three.min_area.value = 10**6
    assert not layers["second masks"].data.any()
    for name in ("cells masks", "tissue masks"):
        np.testing.assert_array_equal(layers[name].data, before[name])
    three.image_layer.value = viewer.layers["cells"]
    three.min_area.value = None
    assert three.labels_layer is layers["cells masks"]
    np.testing.assert_array_equal(layers["cells masks"].data, before["cells masks"])


class Broken:
    """Pixels that cannot be read."""

    shape, dtype, ndim = (30, 40), np.dtype("f8"), 2

    def __array__(self, dtype=None, copy=None):
        raise OSError("the disk is gone")


def test_a_fault_in_one_image_leaves_the_others(three, viewer, wait, qtbot, monkeypatch):
    bad = viewer.add_image(np.zeros((30, 40)), name="bad")
    viewer.layers.move(3, 1)
    job_of = AmgWidget._job

    def job(widget, layer):
        made = job_of(widget, layer)
        if layer is bad:
            return replace(made, plane=replace(made.plane, pixels=Broken()))
        return made

    monkeypatch.setattr(AmgWidget, "_job", job)
    with qtbot.captureExceptions() as said:
        three.apply_to_all()
        wait(three)
    assert [kind for kind, _, _ in said] == [RunError]
    for word in ("1 of 4 images failed", "bad", "the disk is gone"):
        assert word in str(said[0][1])
    assert sorted(_masks(viewer)) == ["cells masks", "second masks", "tissue masks"]


def test_cancelling_ends_the_whole_job(three, viewer, wait):
    worker = three.apply_to_all()
    done = []

    def stop(news):
        if isinstance(news, Found):
            done.append(news.job.plane.name)
            three.cancel()

    worker.yielded.connect(stop)
    wait(three)
    assert done == ["cells"]
    assert list(_masks(viewer)) == ["cells masks"]
    assert three._panel.run_button.enabled


def test_nothing_to_apply_to(make_napari_viewer):
    with pytest.raises(ImageError, match="no image layer"):
        AmgWidget(make_napari_viewer()).apply_to_all()


def test_what_is_gone_from_the_viewer_is_forgotten(widget, viewer, wait):
    widget.run()
    wait(widget)
    image, labels = viewer.layers["cells"], widget.labels_layer
    viewer.layers.remove(image)
    assert widget.labels_layer is labels
    viewer.layers.remove(labels)
    assert not widget._results._of
