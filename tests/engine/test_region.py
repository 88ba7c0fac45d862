"""Looking for objects in a part of an image."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.engine.region import Region
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters

QUICK = {"points_per_side": 6, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def _disc(shape, centre, radius):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def _ring(shape):
    return _disc(shape, (200, 300), 150) & ~_disc(shape, (200, 300), 100)


MASKS = {
    "disc": _disc((400, 600), (150, 200), 90),
    "ring": _ring((400, 600)),
    "corner": _disc((400, 600), (0, 0), 50),
    "strip": np.pad(np.ones((10, 500), bool), ((300, 90), (60, 40))),
    "two": _disc((400, 600), (60, 60), 40) | _disc((400, 600), (340, 540), 40),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("side", [8, 32])
def test_points_lie_inside_and_are_as_many_as_in_a_whole_image(name, layers, side):
    mask = MASKS[name]
    region = Region.of(mask, least=128)
    parameters = AmgParameters(points_per_side=side, crop_n_layers=layers)
    crops, points, _ = region.prompts(parameters)
    for crop, chosen in zip(crops, points, strict=True):
        x0, y0, x1, y1 = crop.box
        assert 0 <= x0 < x1 <= 600
        assert 0 <= y0 < y1 <= 400
        assert ((chosen >= 0) & (chosen < [x1 - x0, y1 - y0])).all()
        column, row = np.floor(chosen + np.array([x0, y0])).astype(int).T
        assert mask[row, column].all()
    first = sum(len(p) for crop, p in zip(crops, points, strict=True) if crop.layer == 0)
    assert 0.6 * side**2 <= first <= 1.5 * side**2


@pytest.mark.parametrize("name", MASKS)
def test_the_window_has_surroundings(name):
    mask = MASKS[name]
    region = Region.of(mask, least=256)
    rows, columns = region.slices
    inside = np.zeros_like(mask)
    inside[rows, columns] = True
    assert not (mask & ~inside).any()
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert height >= 256
    assert width >= 256
    box = region.box
    assert rows.start == 0 or rows.start <= box[1] - 32
    assert columns.stop == 600 or columns.stop >= box[2] + 32


def test_a_tiny_region_gets_its_innermost_point():
    mask = np.zeros((80, 90), bool)
    mask[40, 50:53] = True
    parameters = AmgParameters(points_per_side=None, point_grids=[np.array([[0.0, 0.99]])])
    mask[40, 50] = False
    mask[41, 52] = True
    crops, points, _ = Region.of(mask).prompts(parameters)
    assert len(crops) == 1
    ((x, y),) = points[0] + crops[0].box[:2]
    assert mask[int(y), int(x)]


@pytest.fixture(scope="module")
def image():
    """Fluorescence in 16 bits, so that contrast is measured."""
    rng = np.random.default_rng(0)
    noise = rng.normal(300, 20, (300, 400))
    for centre in ((60, 70), (150, 200), (230, 330)):
        noise[_disc((300, 400), centre, 18)] += 4000
    return np.clip(noise, 0, 65535).astype(np.uint16)


def test_objects_are_found_where_one_looks(nano, image):
    generator = AutomaticMaskGenerator(nano, **QUICK)
    region = _disc((300, 400), (150, 200), 40)
    found = generator.propose(image, region=region)
    assert found.shape == (300, 400)
    assert len(found) > 0
    column, row = np.floor(found.points).astype(int).T
    assert region[row, column].all()
    assert found.provenance["region"]["pixels"] == region.sum()
    boxes = found.store.windows
    assert (boxes[:, 0] + boxes[:, 2] <= 400).all()
    # Some candidate is the object in the middle: it agrees with the disc that was drawn.
    disc = _disc((300, 400), (150, 200), 18)
    overlaps = [
        (disc & m).sum() / (disc | m).sum() for m in map(found.store.full, range(len(found)))
    ]
    assert max(overlaps) > 0.7


def test_contrast_is_that_of_the_whole_image(small, image):
    generator = AutomaticMaskGenerator(small, **QUICK)
    region = np.zeros((300, 400), bool)
    region[:60, 300:] = True  # nothing but noise
    whole, part = (generator.propose(image, region=r) for r in (None, region))
    assert part.provenance["input"]["contrast"] == whole.provenance["input"]["contrast"]


def test_a_window_alone_gives_the_same(small, image):
    generator = AutomaticMaskGenerator(small, contrast=(0, 5000), **QUICK)
    region = generator.region(_disc((300, 400), (150, 200), 40))
    whole = generator.propose(image, region=region)
    alone = generator.propose(image[region.slices], region=region)
    assert alone.shape == whole.shape
    np.testing.assert_array_equal(alone.store.windows, whole.store.windows)
    np.testing.assert_array_equal(alone.predicted_iou, whole.predicted_iou)


def test_everywhere_is_no_region(small, image):
    generator = AutomaticMaskGenerator(small, crop_n_layers=1, **QUICK)
    plain = generator.propose(image)
    region = generator.propose(image, region=np.ones(image.shape, bool))
    np.testing.assert_array_equal(region.points, plain.points)
    np.testing.assert_array_equal(region.store.windows, plain.store.windows)


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.zeros((300, 400), bool), "no pixel"),
        (np.ones((300, 400)), "float64"),
        (np.ones((300, 400, 3), bool), "shape"),
        (np.eye(20, dtype=bool), "20 x 20"),
    ],
)
def test_a_wrong_region_is_refused(small, image, region, words):
    with pytest.raises(ParameterError, match=words):
        AutomaticMaskGenerator(small, **QUICK).segment(image, region=region)
