"""The plane that goes to the model, and where its result lies in the world."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam_amg.plugin.planes import displayed_plane

RNG = np.random.default_rng(3)


def _transforms(ndim: int) -> dict[str, dict]:
    affine = np.eye(ndim + 1)
    affine[:ndim, :ndim] += 0.1 * RNG.standard_normal((ndim, ndim))
    affine[:ndim, -1] = RNG.standard_normal(ndim)
    return {
        "plain": {},
        "scale": {"scale": [0.5 + i for i in range(ndim)]},
        "translate": {"translate": [10.0 * i - 3 for i in range(ndim)]},
        "rotate": {"rotate": 30 if ndim == 2 else _rotation(ndim)},
        "shear": {"shear": [0.3] * (ndim * (ndim - 1) // 2)},
        "affine": {"affine": affine},
        "all": {
            "scale": [2.0, 0.3, 0.7, 1.1][:ndim],
            "translate": [5.0, -2.0, 1.0, 9.0][:ndim],
            "shear": [0.2] * (ndim * (ndim - 1) // 2),
            "affine": affine,
            "units": ["um"] * ndim,
            "axis_labels": list("tzyx")[-ndim:],
        },
    }


def _rotation(ndim: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(1).standard_normal((ndim, ndim)))[0]


CASES = [
    (ndim, rgb, levels, name)
    for ndim in (2, 3, 4)
    for rgb in (False, True)
    for levels in (1, 2)
    for name in _transforms(2)
]


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize(("ndim", "rgb", "levels", "name"), CASES)
def test_image_and_labels_agree_in_the_world(ndim, rgb, levels, name):
    shape = (4, 6, 16, 20)[-ndim:]
    data = RNG.integers(0, 255, shape + ((3,) if rgb else ()), dtype=np.uint8)
    pyramid = [
        data,
        data[(..., slice(None, None, 2), slice(None, None, 2)) + ((slice(None),) if rgb else ())],
    ]
    layer = Image(
        pyramid if levels == 2 else data,
        rgb=rgb,
        multiscale=levels == 2,
        **_transforms(ndim)[name],
    )
    viewer = ViewerModel()
    viewer.add_layer(layer)
    for axis in range(ndim - 2):
        viewer.dims.set_current_step(axis, viewer.dims.nsteps[axis] // 2)
    for level in range(levels):
        plane = displayed_plane(layer, viewer, level)
        source = pyramid[level] if levels == 2 else data
        np.testing.assert_array_equal(plane.computed(), source[plane.index])
        values = RNG.integers(1, 9, plane.computed().shape[:2])
        labels = Labels(plane.placed(values), **plane.keywords)
        np.testing.assert_array_equal(plane.flat(labels.data), values)
        factors = (
            np.broadcast_to(np.asarray(layer.downsample_factors)[level], (ndim,))
            if levels == 2
            else np.ones(ndim)
        )
        for position in np.ndindex(3, 3):
            inside = list(position)
            in_image = [inside.pop(0) if isinstance(i, slice) else i for i in plane.index]
            in_labels = [
                p if isinstance(i, slice) else 0
                for p, i in zip(in_image, plane.index, strict=True)
            ]
            np.testing.assert_allclose(
                labels.data_to_world(in_labels),
                layer.data_to_world(np.asarray(in_image) * factors),
                atol=1e-9,
            )
        assert labels.units == layer.units
        assert labels.axis_labels == layer.axis_labels


def test_the_plane_follows_the_order_of_axes():
    data = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    viewer = ViewerModel()
    layer = viewer.add_image(data)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 3)
    plane = displayed_plane(layer, viewer)
    np.testing.assert_array_equal(plane.computed(), data[:, 3, :])
    assert plane.placed(plane.computed()).shape == (4, 1, 6)


def test_only_the_plane_of_a_lazy_stack_is_computed():
    import dask.array as da

    computed = []

    def block(block_info=None):
        computed.append(block_info[None]["chunk-location"])
        return np.zeros((1, 8, 9), np.uint8)

    stack = da.map_blocks(block, chunks=((1,) * 5, (8,), (9,)), dtype=np.uint8)
    viewer = ViewerModel()
    layer = viewer.add_image(stack, contrast_limits=(0, 255))
    viewer.dims.set_current_step(0, 2)
    computed.clear()
    plane = displayed_plane(layer, viewer)
    assert computed == []
    assert plane.computed().shape == (8, 9)
    assert set(computed) == {(2, 0, 0)}
