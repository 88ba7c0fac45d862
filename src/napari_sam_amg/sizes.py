"""From the size of objects to the scale they are seen at, tiles, points and area limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters, limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam_amg.models.profiles import ModelInfo

POINTS_ACROSS = 3.5
"""Points to a diameter. Objects of one image differ in size: of the nuclei of BBBC038 a grid of
1.5 points to an image's median diameter hits 90 %, 2 points 94.8 %, 3 points 97.9 %, 3.5 points
98.5 % (``benchmarks/tiles.py hits DATA/train``)."""

HALO = 1.5
"""Diameters that a tile sees beyond its points, but no more than a quarter of a tile: a disc of
nearly three diameters is seen whole from its centre, and one of nearly 1.5 from any point."""

DIAMETERS_KEPT = 3.0
"""Area limits are those of discs this many times smaller and larger than the given diameter."""

_UNTRAINED = 16
"""Where a model's trained diameter is not known, objects are shown to it at this part of its
input: twice the spacing of sam2's default grid."""

_GEOMETRY = ("points_per_side", "point_grids", "crop_n_layers")
"""Parameters of sam2's that say where to look in the image as a whole, at a grid of points."""


def resolved(info: ModelInfo, given: Mapping[str, Any], image_size: int) -> AmgParameters:
    """Fill in what was not given: by the objects' diameter, then by the model's recommendation.

    Without a diameter, a scale or a tile size, a model whose trained diameter is known cuts
    images into tiles of the size that it recommends, or else of its input (scale 1). That is not
    so where the call says in sam2's words where to look (points, point grids or crop layers):
    then they mean what they mean there.

    Parameters
    ----------
    info : ModelInfo
        Its recommendation, and the diameter that it was trained for.
    given : mapping
        Parameters by name; None counts as given.
    image_size : int
        Side of the model's square input in pixels.

    Raises
    ------
    ParameterError
        If a value is wrong, a tile does not fit into the model's input, or the model is to say
        where objects are and cannot.
    """
    AmgParameters(**given)
    recommended = dict(info.recommended)
    tile = {"tile_size": recommended.pop("tile_size", None)}
    sized = any(given.get(n) is not None for n in ("object_diameter", "scale", "tile_size"))
    as_sam2 = any(n in given for n in _GEOMETRY)
    if sized or (info.profile.object_diameter and not as_sam2):
        leading = given if sized else tile
        recommended |= derived(leading, info.profile.object_diameter, image_size)
    if as_sam2:
        recommended.pop("prompts", None)
    if given.get("point_grids") is not None:
        recommended.pop("points_per_side", None)
    parameters = AmgParameters(**{**recommended, **given})
    if parameters.prompts == "objects" and not info.object_head:
        raise ParameterError(
            f"prompts='objects': the model {info.name} has not learned to say where objects are; "
            "use prompts='grid', or a model that has, such as nuclei-nano"
        )
    if parameters.crop_n_layers and (parameters.object_diameter or parameters.scale):
        raise ParameterError(
            f"crop_n_layers={parameters.crop_n_layers} looks at the whole image, as sam2 does, "
            "which does not go with object_diameter or scale: set it to 0, or leave those out"
        )
    scale, tile_size = parameters.scale, parameters.tile_size
    if scale is not None and tile_size is not None and tile_size > frame_side(scale, image_size):
        raise ParameterError(
            f"tile_size={tile_size} does not fit: at scale={scale:.4g} the model's input of "
            f"{image_size} pixels shows {frame_side(scale, image_size)} pixels of the image; use "
            "at most that, or a smaller scale"
        )
    return parameters


def derived(
    given: Mapping[str, Any], trained_diameter: float | None, image_size: int
) -> dict[str, Any]:
    """Return the parameters that follow from a diameter, a scale or a tile size.

    Parameters
    ----------
    given : mapping
        Of ``object_diameter``, ``scale`` and ``tile_size`` those that are wanted; what is
        None or missing follows from the others.
    trained_diameter : float or None
        Of the model's objects, in pixels of its input; a sixteenth of the input if not known.
    image_size : int
        Side of the model's square input in pixels.

    Returns
    -------
    dict
        ``tile_size`` and ``tile_halo``; ``scale`` if it is wanted or follows from a diameter;
        with a diameter also ``points_per_side``, ``min_area`` and ``max_area``.
    """
    trained = trained_diameter or image_size / _UNTRAINED
    diameter, scale = given.get("object_diameter"), given.get("scale")
    size = given.get("tile_size")
    if scale is None and diameter is not None:
        # No more than a tile of the wanted or the smallest size allows.
        scale = min(trained / diameter, image_size / (size or _least("tile_size")))
        scale = max(scale, limits("scale")[0] or 0.0)
    if size is None:
        size = image_size if scale is None else frame_side(scale, image_size)
        size = min(max(size, _least("tile_size")), int(limits("tile_size")[1] or size))
    usual = diameter or trained * size / image_size
    halo = min(math.ceil(HALO * usual), (size - 1) // 4, int(limits("tile_halo")[1] or size))
    found: dict[str, Any] = {"tile_size": size, "tile_halo": halo}
    if scale is not None:
        found["scale"] = scale
    if diameter is not None:
        points = math.ceil(POINTS_ACROSS * size / diameter)
        found["points_per_side"] = min(points, int(limits("points_per_side")[1] or points))
        found["min_area"] = math.floor(math.pi / 4 * (diameter / DIAMETERS_KEPT) ** 2)
        found["max_area"] = math.ceil(math.pi / 4 * (diameter * DIAMETERS_KEPT) ** 2)
    return found


def _least(name: str) -> int:
    return int(limits(name)[0] or 1)


def frame_side(scale: float, image_size: int) -> int:
    """Return how many pixels of the image a side of the model's input shows at a scale."""
    return max(1, round(image_size / scale))
