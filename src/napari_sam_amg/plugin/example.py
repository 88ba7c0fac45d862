"""Parameters for objects of a given size, from one example."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.errors import ParameterError

_POINTS_ACROSS = 1.5
"""Points laid across an object: the grid's spacing is then below its side / sqrt(2), so
that no object of that size lies between points."""
_LEAST_SEEN = 12.0
"""Pixels that an object should measure in the model's input."""
_MOST_LAYERS = 2
_MOST_POINTS = 96
_LEAST_POINTS = 4
_AREA_FACTOR = 4.0


@dataclass(frozen=True)
class Proposal:
    """Parameters, and why they are proposed.

    Attributes
    ----------
    parameters : dict
        By name, as `AmgParameters` takes them.
    why : str
        One or two sentences for the user.
    """

    parameters: dict[str, Any]
    why: str


def proposal(length: float, breadth: float, shape: tuple[int, int], image_size: int) -> Proposal:
    """Propose points, crops and area limits for objects of a size.

    Parameters
    ----------
    length, breadth : float
        Longer and shorter side of one typical object, in pixels of the image.
    shape : tuple of int
        Height and width of the image.
    image_size : int
        Side of the model's square input.

    Returns
    -------
    Proposal
        ``points_per_side`` so dense that about 1.5 points lie across the object in the
        smallest crops; ``crop_n_layers`` so that it measures 12 pixels of the model's
        input; area limits of a quarter and four times its ellipse, pi / 4 * length *
        breadth.

    Raises
    ------
    ParameterError
        If the example is smaller than a pixel, or larger than the image.
    """
    side = float(max(shape))
    if not breadth >= 1:
        raise ParameterError(
            f"the example is {length:.1f} x {breadth:.1f} pixels: draw over a whole object"
        )
    if length > side * math.sqrt(2):
        raise ParameterError(
            f"the example is {length:.0f} pixels long, the image only {side:.0f}: draw over one "
            "object"
        )
    seen = breadth * image_size / side
    wanted = max(0, math.ceil(math.log2(_LEAST_SEEN / seen)))
    layers = min(wanted, _MOST_LAYERS)
    needed = math.ceil(_POINTS_ACROSS * side / 2**layers / breadth)
    points = min(max(needed, _LEAST_POINTS), _MOST_POINTS)
    area = math.pi / 4 * length * breadth
    least, most = math.floor(area / _AREA_FACTOR), math.ceil(area * _AREA_FACTOR)
    why = [
        f"An object of {length:.0f} x {breadth:.0f} pixels measures {seen:.0f} in the model's "
        f"{image_size} pixel input."
    ]
    if layers:
        why.append(f"{layers} layer{'s' * (layers > 1)} of crops magnify it {2**layers} times.")
    where = "crop" if layers else "image"
    why.append(f"{points} points a side put {points * breadth * 2**layers / side:.1f} across it.")
    why.append(f"Masks of {least:,} to {most:,} pixels are kept.")
    if needed > _MOST_POINTS or wanted > _MOST_LAYERS:
        why.append(
            f"It is small for this {where}: {needed} points a side would be needed. Look in a "
            "region (Where) to find all."
        )
    parameters = {
        "points_per_side": points,
        "crop_n_layers": layers,
        "crop_n_points_downscale_factor": 1,
        "min_area": least,
        "max_area": most,
    }
    return Proposal(parameters, " ".join(why))
