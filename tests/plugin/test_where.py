"""Looking in the view, in shapes and in labels of a real viewer."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.plugin import segment_layer
from napari_sam_amg.plugin.planes import displayed_plane
from napari_sam_amg.plugin.where import region_of

BOX = np.array([[20, 30], [20, 90], [70, 90], [70, 30]])  # corners of pixels, (row, column)


def _box(shape=(120, 160)):
    mask = np.zeros(shape, bool)
    mask[20:71, 30:91] = True
    return mask


@pytest.mark.parametrize(
    "place",
    [
        {},
        {"scale": (0.5, 2.0)},
        {"translate": (-300, 40)},
        {"scale": (3, 3), "rotate": 30, "translate": (5, 6)},
    ],
)
@pytest.mark.parametrize("own", [{}, {"scale": (0.25, 0.1)}, {"rotate": 60}])
def test_shapes_go_through_the_world(viewer, place, own):
    image = viewer.add_image(np.zeros((120, 160)), **place)
    world = [image.data_to_world(corner) for corner in BOX]
    shapes = viewer.add_shapes(ndim=2, **own)
    shapes.add_polygons([shapes.world_to_data(corner) for corner in world])
    found = region_of(shapes, displayed_plane(image, viewer), viewer)
    differs = found ^ _box()
    inner = np.zeros_like(differs)
    inner[22:69, 32:89] = True
    assert not (differs & inner).any()
    assert not found[:19].any()
    assert not found[:, 92:].any()
    assert abs(int(found.sum()) - int(_box().sum())) <= 2 * (51 + 61)


def test_selected_shapes_count_and_lines_do_not(viewer):
    image = viewer.add_image(np.zeros((120, 160)))
    shapes = viewer.add_shapes([BOX, BOX + np.array([40, 60])], shape_type="rectangle")
    shapes.add_lines([[0, 0], [100, 100]])
    shapes.add_ellipses([[80, 20], [80, 40], [100, 40], [100, 20]])
    plane = displayed_plane(image, viewer)
    everything = region_of(shapes, plane, viewer)
    assert everything[90, 30]
    assert not everything[81, 21]  # the ellipse's box has corners, it has none
    assert not everything[5, 5]
    shapes.selected_data = {1}
    second = region_of(shapes, plane, viewer)
    assert second[100, 140]
    assert not second[30, 40]
    shapes.selected_data = {2}
    with pytest.raises(ParameterError, match="no shape with an area"):
        region_of(shapes, plane, viewer)


def test_shapes_of_another_slice_do_not_count(viewer):
    image = viewer.add_image(np.zeros((5, 120, 160)))
    corners = np.column_stack([np.full(4, 3), BOX])
    shapes = viewer.add_shapes([corners], shape_type="polygon", ndim=3)
    viewer.dims.set_current_step(0, 3)
    assert region_of(shapes, displayed_plane(image, viewer), viewer)[40, 50]
    viewer.dims.set_current_step(0, 2)
    with pytest.raises(ParameterError, match="in this plane"):
        region_of(shapes, displayed_plane(image, viewer), viewer)
    flat = viewer.add_shapes([BOX], shape_type="polygon", ndim=2)
    assert region_of(flat, displayed_plane(image, viewer), viewer)[40, 50]


@pytest.mark.parametrize("factor", [1, 2, 0.5])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2)])
def test_labels_are_looked_up_at_each_pixel(viewer, factor, order):
    rng = np.random.default_rng(2)
    image = viewer.add_image(np.zeros((6, 50, 70)), scale=(1, 2, 2))
    data = rng.integers(-1, 2, (6, int(50 / factor) + 1, int(70 / factor) + 1))
    labels = viewer.add_labels(data, scale=(1, 2 * factor, 2 * factor))
    viewer.dims.order = order
    viewer.dims.set_current_step(order[0], 4)
    plane = displayed_plane(image, viewer)
    found = region_of(labels, plane, viewer)
    expected = np.zeros(plane.shape, bool)
    for row, column in np.ndindex(*plane.shape):
        at = [0 if isinstance(i, slice) else i for i in plane.index]
        at[plane.axes[0]], at[plane.axes[1]] = row, column
        where = np.array([at[0], at[1] / factor, at[2] / factor], dtype=float)
        if (np.abs(where - np.floor(where) - 0.5) < 1e-9).any():
            expected[row, column] = found[row, column]  # halfway between two: either is right
            continue
        index = np.round(where).astype(int)
        if (index >= 0).all() and (index < data.shape).all():
            expected[row, column] = data[tuple(index)] > 0
    np.testing.assert_array_equal(found, expected)


def test_the_view(viewer, qtbot):
    image = viewer.add_image(np.zeros((400, 600)), scale=(2, 2))
    viewer.window._qt_window.show()
    viewer.scene.camera.center = (0, 400, 600)  # world: the middle of the image
    viewer.scene.camera.zoom = 4
    viewer.window._qt_viewer.canvas._scene_canvas.update()
    qtbot.waitUntil(lambda: image.corner_pixels[0][0] > 0, timeout=5000)
    found = region_of("current view", displayed_plane(image, viewer), viewer)
    rows, columns = (np.flatnonzero(found.any(axis=axis)) for axis in (1, 0))
    height, width = viewer.window._qt_viewer.canvas.size
    for ticks, middle, side in ((rows, 200, height), (columns, 300, width)):
        assert abs((ticks[0] + ticks[-1]) / 2 - middle) <= 2
        assert abs(len(ticks) - side / (4 * 2)) <= 4
    assert found[np.ix_(rows, columns)].all()


def test_a_run_in_labels(widget, viewer, wait):
    region = np.zeros((200, 260), int)
    region[40:150, 60:200] = 3
    labels = viewer.add_labels(region, name="tissue", scale=(0.5, 0.5))
    widget.where.value = labels
    widget.run()
    wait(widget)
    assert widget.labels_layer.data.shape == (200, 260)
    column, row = np.floor(widget.proposals.points).astype(int).T
    assert len(row) > 0
    assert (region[row, column] == 3).all()
    assert widget.proposals.provenance["region"]["bbox"] == [60, 40, 140, 110]
    labels.name = "renamed"
    viewer.layers["cells"].name = "also renamed"
    assert widget.where.value is labels
    assert widget.image_layer.value is viewer.layers["also renamed"]
    viewer.layers.remove(labels)
    assert widget.where.value == "whole image"


def test_an_empty_region_cannot_start(widget, viewer):
    widget.where.value = viewer.add_shapes(ndim=2, name="empty")
    with pytest.raises(ParameterError, match="'empty'"):
        widget.run()
    assert widget._worker is None


def test_a_script_takes_shapes_and_masks(viewer, sample_images):
    image = viewer.add_image(sample_images[0][:200, :260], name="cells")
    shapes = viewer.add_shapes([BOX], shape_type="polygon", ndim=2)
    settings = {"points_per_side": 4, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.1}
    plane = displayed_plane(image, viewer)
    mask = region_of(shapes, plane, viewer)
    by_shapes = segment_layer(image, viewer, region=shapes, **settings)
    by_mask = segment_layer(image, viewer, region=mask, **settings)
    np.testing.assert_array_equal(by_shapes.data, by_mask.data)
    assert by_mask.metadata["napari_sam_amg"]["region"]["pixels"] == mask.sum()


def test_only_the_window_of_a_lazy_image_is_computed(viewer, wait, widget):
    read = set()

    def block(block_info=None):
        read.add(block_info[None]["chunk-location"])
        return np.ones((256, 256), np.uint16)

    data = da.map_blocks(
        block, chunks=((256,) * 8, (256,) * 8), dtype=np.uint16, meta=np.empty((0, 0))
    )
    viewer.add_image(data, contrast_limits=(0, 9), name="lazy")
    mask = np.zeros((2048, 2048), int)
    mask[300:400, 300:400] = 1
    widget.where.value = viewer.add_labels(mask)
    widget.image_layer.value = viewer.layers["lazy"]
    read.clear()
    widget.run()
    wait(widget)
    assert read
    assert read <= {(row, column) for row in range(3) for column in range(3)}
    assert widget.labels_layer.data.shape == (2048, 2048)
