"""What follows from the size of objects, and when sam2's own way is gone."""

from __future__ import annotations

import math

import pytest

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.models import model_info
from napari_sam_amg.models.profiles import InputProfile, ModelInfo
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.sizes import resolved

NANO = model_info("nuclei-nano")
META = model_info("sam2.1_hiera_tiny")
TRAINED = NANO.profile.object_diameter


def _sizes(parameters):
    return {n: getattr(parameters, n) for n in ("scale", "tile_size", "tile_halo")}


WHOLE = {"scale": None, "tile_size": None, "tile_halo": None}


@pytest.mark.parametrize(
    ("info", "given", "expected"),
    [
        # Unset: the tile that the model recommends, and 1.5 trained diameters around its points.
        (NANO, {}, {"scale": None, "tile_size": 340, "tile_halo": 40}),
        (META, {}, WHOLE),
        # sam2's own words mean what they mean there.
        (NANO, {"points_per_side": 32}, WHOLE),
        (NANO, {"crop_n_layers": 0}, WHOLE),
        (NANO, {"point_grids": [[(0.5, 0.5)]]}, WHOLE),
        (META, {"points_per_side": 16}, WHOLE),
        # Wanted sizes.
        (NANO, {"object_diameter": 20.0}, {"scale": 2.0, "tile_size": 256, "tile_halo": 30}),
        (NANO, {"object_diameter": 80.0}, {"scale": 0.5, "tile_size": 1024, "tile_halo": 120}),
        (META, {"object_diameter": 32.0}, {"scale": 2.0, "tile_size": 512, "tile_halo": 48}),
        (NANO, {"scale": 2.0}, {"scale": 2.0, "tile_size": 256, "tile_halo": 30}),
        (META, {"tile_size": 512}, {"scale": None, "tile_size": 512, "tile_halo": 48}),
        (
            NANO,
            {"object_diameter": 20.0, "scale": 1.0},
            {"scale": 1.0, "tile_size": 512, "tile_halo": 30},
        ),
        (
            NANO,
            {"object_diameter": 20.0, "tile_size": 512},
            {"scale": 1.0, "tile_size": 512, "tile_halo": 30},
        ),
        (
            NANO,
            {"object_diameter": 20.0, "tile_halo": 7},
            {"scale": 2.0, "tile_size": 256, "tile_halo": 7},
        ),
        # None is an answer too.
        (NANO, {"tile_size": None}, WHOLE | {"tile_halo": 40}),
    ],
)
def test_what_follows(info, given, expected):
    image_size = 512 if info is NANO else 1024
    assert _sizes(resolved(info, given, image_size)) == expected


@pytest.mark.parametrize("diameter", [1.0, 3.0, 13.1, 40.0, 97.5, 400.0, 20_000.0])
@pytest.mark.parametrize("info", [NANO, META], ids=["nano", "meta"])
def test_a_disc_of_the_diameter_is_hit_seen_at_the_trained_size_and_kept(info, diameter):
    image_size = 512 if info is NANO else 1024
    p = resolved(info, {"object_diameter": diameter}, image_size)
    trained = info.profile.object_diameter or image_size / 16
    if diameter > 1 and p.scale > 0.01:
        assert p.scale * diameter == pytest.approx(trained)
    spacing = p.tile_size / p.points_per_side
    # A disc holds a point of any grid whose cells' half diagonal is smaller than its radius.
    assert spacing / math.sqrt(2) <= diameter / 2
    assert p.tile_size * p.scale <= image_size * 1.01
    assert 2 * p.tile_halo < p.tile_size
    assert p.min_area < math.pi / 4 * diameter**2 < p.max_area


def test_what_is_given_wins():
    given = {
        "object_diameter": 20.0,
        "points_per_side": 9,
        "min_area": None,
        "max_area": 77,
        "tile_halo": 0,
    }
    p = resolved(NANO, given, 512)
    assert {name: getattr(p, name) for name in given} == given


def test_a_result_says_what_repeats_it():
    for given in ({}, {"object_diameter": 17.0}, {"points_per_side": 5}):
        p = resolved(NANO, given, 512)
        assert resolved(NANO, dict(p), 512) == p


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scale": 2.0, "tile_size": 257}, "tile_size=257 does not fit.*shows 256"),
        ({"tile_size": 100, "tile_halo": 50}, "less than half"),
        ({"object_diameter": 0.0}, "object_diameter=0.0"),
        ({"object_diameter": 9.0, "crop_n_layers": 1}, "crop_n_layers=1 looks at the whole image"),
        ({"object_diamter": 3.0}, "did you mean 'object_diameter'"),
    ],
)
def test_what_does_not_fit_is_refused(given, words):
    with pytest.raises(ParameterError, match=words):
        resolved(NANO, given, 512)


def test_a_model_without_a_trained_diameter_keeps_its_recommendation():
    info = ModelInfo("m", "m", "", "unknown", None, profile=InputProfile(), recommended={})
    assert resolved(info, {}, 1024) == AmgParameters()
