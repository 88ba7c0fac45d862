"""Parameters for objects of a given size, from one example."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.sizes import derived


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


def proposal(
    length: float,
    breadth: float,
    shape: tuple[int, int],
    trained_diameter: float | None,
    image_size: int,
) -> Proposal:
    """Propose a diameter, and what follows from it, for objects of a size.

    Parameters
    ----------
    length, breadth : float
        Longer and shorter side of one typical object, in pixels of the image.
    shape : tuple of int
        Height and width of the image.
    trained_diameter, image_size
        As for `napari_sam_amg.sizes.derived`.

    Returns
    -------
    Proposal
        ``object_diameter`` is that of a disc as large as the example's ellipse, the rest
        follows from it, without crop layers.

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
    diameter = round(math.sqrt(length * breadth), 1)
    parameters = derived({"object_diameter": diameter}, trained_diameter, image_size)
    scale, size = parameters["scale"], parameters["tile_size"]
    where = f"tiles of {size} pixels" if size < side else "the image as a whole"
    why = (
        f"An object of {length:.0f} x {breadth:.0f} pixels is as large as a disc of {diameter:g}. "
        f"At scale {scale:.3g} it measures {diameter * scale:.0f} pixels in the model's input, "
        f"which shows {where}. {parameters['points_per_side']} points a side put "
        f"{parameters['points_per_side'] * diameter / size:.1f} across it. Masks of "
        f"{parameters['min_area']:,} to {parameters['max_area']:,} pixels are kept."
    )
    chosen = {"object_diameter": diameter, "crop_n_layers": 0, **parameters}
    return Proposal(chosen, why)
