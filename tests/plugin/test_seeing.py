"""What the model is given: brightness, channels and level, as chosen in the window."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam_amg.errors import ImageError, ParameterError
from napari_sam_amg.image import prepare_image
from napari_sam_amg.models.profiles import InputProfile
from napari_sam_amg.models.registry import model_info
from napari_sam_amg.plugin.picture import LAYERS, looked_at
from napari_sam_amg.plugin.widget import AmgWidget

TRAINED = InputProfile(percentiles=(1.0, 99.0))


@pytest.fixture
def stack():
    """Four planes (uint16), each three times as bright as the one before."""
    rng = np.random.default_rng(3)
    return (rng.integers(0, 700, (4, 40, 60)) * 3 ** np.arange(4)[:, None, None]).astype(np.uint16)


def _as_shown(layer, pixels) -> np.ndarray:
    """What napari's colormap gets, by its formula, in fp64."""
    low, high = layer.contrast_limits
    share = np.clip((pixels.astype(np.float64) - low) / (high - low), 0, 1) ** layer.gamma
    return share * 255


def _by_ranks(values, pixels, low=1.0, high=99.0) -> np.ndarray:
    last, values = values.size - 1, np.sort(values, axis=None).astype(np.float64)
    black, white = values[int(np.floor(low / 100 * last))], values[int(np.ceil(high / 100 * last))]
    return np.clip((pixels.astype(np.float64) - black) / (white - black), 0, 1) * 255


def _seen(layer, viewer, **choices) -> np.ndarray:
    plane, look = looked_at(layer, viewer, **choices)
    image, contrast, gamma = look.prepared(plane.computed(), TRAINED)
    return prepare_image(
        image, contrast=contrast, gamma=gamma, percentiles=TRAINED.percentiles
    ).rgb


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("brightness", ["plane", "stack", "layer"])
def test_brightness(viewer, stack, at, lazy, brightness):
    data = da.from_array(stack, chunks=(2, 20, 60)) if lazy else stack
    layer = viewer.add_image(data, contrast_limits=(100, 9000), gamma=0.6)
    viewer.dims.set_current_step(0, at)
    found = _seen(layer, viewer, brightness=brightness)
    expected = {
        "plane": lambda: _by_ranks(stack[at], stack[at]),
        "stack": lambda: _by_ranks(stack, stack[at]),
        "layer": lambda: _as_shown(layer, stack[at]),
    }[brightness]()
    assert found.shape == (40, 60, 3)
    for channel in range(3):
        assert np.abs(found[..., channel] - expected).max() <= 0.51


def test_slices_agree_by_the_whole_stack_only(viewer):
    same = np.arange(600, dtype=np.uint16).reshape(20, 30)
    data = np.stack([same, same * 40])
    data[1, :10] = same[:10]
    layer = viewer.add_image(data)
    seen = {}
    for brightness in ("plane", "stack"):
        for at in (0, 1):
            viewer.dims.set_current_step(0, at)
            seen[brightness, at] = _seen(layer, viewer, brightness=brightness)[:10]
    np.testing.assert_array_equal(seen["stack", 0], seen["stack", 1])
    assert (seen["plane", 0] != seen["plane", 1]).any()


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("brightness", ["plane", "layer"])
def test_an_axis_as_colours(viewer, count, brightness):
    rng = np.random.default_rng(count)
    data = rng.integers(0, 2000, (5, count, 30, 50)).astype(np.uint16)
    data[:, 1] *= 9
    layer = viewer.add_image(data, contrast_limits=(50, 5000))
    viewer.dims.set_current_step(0, 2)
    found = _seen(layer, viewer, brightness=brightness, channels=1)
    for channel in range(3):
        if channel >= count:
            assert not found[..., channel].any()
            continue
        pixels = data[2, channel]
        shown = brightness == "layer"
        expected = _as_shown(layer, pixels) if shown else _by_ranks(pixels, pixels)
        assert np.abs(found[..., channel] - expected).max() <= 0.51


def test_layers_as_colours(viewer):
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, top, (30, 40)).astype(np.uint16) for top in (200, 60000))
    one, two = viewer.add_image(a, name="one"), viewer.add_image(b, name="two")
    found = _seen(one, viewer, channels=LAYERS, colours=[two, None, one])
    assert np.abs(found[..., 0] - _by_ranks(b, b)).max() <= 0.51
    assert not found[..., 1].any()
    assert np.abs(found[..., 2] - _by_ranks(a, a)).max() <= 0.51


@pytest.mark.parametrize(
    ("choices", "error", "words"),
    [
        ({"channels": 1}, ParameterError, "displayed"),
        ({"channels": 7}, ParameterError, "axis 7"),
        ({"channels": LAYERS}, ParameterError, "no layer is chosen"),
        ({"level": 1}, ParameterError, "no such level"),
        ({"channels": LAYERS, "colours": ["small"]}, ImageError, "10 x 12"),
        ({"channels": LAYERS, "colours": ["moved"]}, ImageError, "same place"),
        ({"channels": LAYERS, "colours": ["rgb"]}, ImageError, "colours already"),
    ],
)
def test_what_makes_no_sense_is_refused(viewer, choices, error, words):
    layer = viewer.add_image(np.zeros((3, 20, 30)), name="layer")
    viewer.add_image(np.zeros((10, 12)), name="small")
    viewer.add_image(np.zeros((20, 30)), name="moved", translate=(1, 0))
    viewer.add_image(np.zeros((20, 30, 3)), name="rgb", rgb=True)
    if "colours" in choices:
        choices = choices | {"colours": [viewer.layers[name] for name in choices["colours"]]}
    with pytest.raises(error, match=words):
        looked_at(layer, viewer, **choices)


def test_only_what_is_needed_is_computed(viewer):
    read = []

    def block(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return np.ones((1, 1, 16, 16), np.uint16)

    data = da.map_blocks(
        block, chunks=((1,) * 6, (1,) * 3, 16, 16), dtype=np.uint16, meta=np.empty((0,) * 4)
    )
    layer = viewer.add_image(data, contrast_limits=(0, 9))
    viewer.dims.set_current_step(0, 4)
    read.clear()
    plane, look = looked_at(layer, viewer, channels=1, brightness="layer")
    assert read == []
    look.prepared(plane.computed(), TRAINED)
    assert sorted(read) == [(4, channel, 0, 0) for channel in range(3)]


def test_nothing_of_a_disk_array_is_read_to_begin_with(viewer, monkeypatch):
    data = zarr.array(np.ones((6, 3, 32, 32), np.uint16), chunks=(1, 1, 16, 16))
    layer = viewer.add_image(data, contrast_limits=(0, 9))
    real, read = zarr.Array.__getitem__, []

    def counted(array, place):
        pixels = real(array, place)
        read.append(np.size(pixels))
        return pixels

    monkeypatch.setattr(zarr.Array, "__getitem__", counted)
    plane, look = looked_at(layer, viewer, channels=1, brightness="stack")
    assert sum(read) == 0
    image, _, _ = look.prepared(plane.computed(), TRAINED)
    assert sum(read) > 0
    assert image.shape == (32, 32, 3)


def test_the_run_gets_it_and_the_result_says_so(widget, viewer, wait):
    layer = viewer.layers["cells"]
    layer.contrast_limits, layer.gamma = (5, 90), 1.5
    widget.brightness.value = "layer"
    widget.run()
    wait(widget)
    said = widget.proposals.provenance
    assert said["brightness"] == "layer"
    assert "5" in str(said) and "1.5" in str(said)  # noqa: PT018 - one record
    widget.preview_layer.changed.emit(True)
    shown = viewer.layers["cells as the model sees it"]
    assert shown.rgb
    assert np.abs(shown.data[..., 0] - _as_shown(layer, layer.data)).max() <= 0.51
    np.testing.assert_allclose(shown.scale, layer.scale)
    assert widget.image_layer.value is layer


def test_levels(viewer, wait):
    full = np.random.default_rng(1).integers(0, 255, (64, 96)).astype(np.uint8)
    viewer.add_image([full, full[::2, ::2], full[::4, ::4]], multiscale=True, name="levels")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    assert list(widget.level.choices) == ["automatic", 0, 1, 2]
    widget.points_per_side.value = 2
    widget.level.value = 1
    widget.run()
    wait(widget)
    assert widget.labels_layer.data.shape == (32, 48)
    np.testing.assert_allclose(widget.labels_layer.scale, (2, 2))


def test_choices_follow_the_image(widget, viewer):
    assert set(widget.channels.choices) == {"as it is", "layers"}
    viewer.add_image(np.zeros((2, 3, 20, 30)), name="many")
    assert set(widget.channels.choices) == {"as it is", 0, 1, "layers"}
    widget.channels.value = 1
    widget.image_layer.value = viewer.layers["cells"]
    assert widget.channels.value == "as it is"
    assert not widget.red_layer.native.isVisibleTo(widget.native)
    widget._panel.groups["What the model sees"].expand(animate=False)
    widget.channels.value = "layers"
    assert widget.red_layer.native.isVisibleTo(widget.native)
    widget.red_layer.value = viewer.layers["cells"]
    viewer.layers.remove("cells")
    assert "cells" not in [layer.name for layer in widget.red_layer.choices if layer]


def test_the_thumbnail_shows_exact_pixels(widget, viewer, qtbot):
    section = next(s for s in widget._sections if s.title == "What the model sees")
    viewer.window._qt_window.show()
    widget._panel.groups[section.title].expand(animate=False)

    def shown():
        pixmap = section.thumbnail.pixmap()
        return None if pixmap is None or pixmap.isNull() else pixmap.toImage()

    qtbot.waitUntil(lambda: shown() is not None, timeout=10_000)
    layer = viewer.layers["cells"]
    step = -(-260 // 160)
    reduced = layer.data[::step, ::step]
    picture = shown()
    assert (picture.height(), picture.width()) == reduced.shape
    low, high = model_info("nuclei-nano").profile.percentiles
    exact = _by_ranks(layer.data, reduced, low, high)
    for y, x in ((0, 0), (50, 70), (99, 129)):
        assert abs(picture.pixelColor(x, y).red() - exact[y, x]) <= 0.51
    before = picture
    widget.brightness.value = "layer"
    layer.contrast_limits = (0, 20)
    qtbot.waitUntil(lambda: shown() is not None and shown() != before, timeout=10_000)
    expected = _as_shown(layer, reduced)
    qtbot.waitUntil(
        lambda: abs(shown().pixelColor(70, 50).red() - expected[50, 70]) <= 0.51, timeout=10_000
    )
    qtbot.waitUntil(lambda: section._worker is None, timeout=10_000)
