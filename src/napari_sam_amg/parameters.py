"""Every parameter of automatic mask generation, once.

The command line's flags, the widget's form, validation, provenance and the documentation
are derived from `AmgParameters`.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from napari_sam_amg.errors import ParameterError

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]
OverlapRule = Literal["smallest_on_top", "best_score_on_top", "largest_on_top", "discard_overlaps"]
Group = Literal[
    "objects", "points", "crops", "quality", "overlap", "size", "advanced", "slices", "tracks"
]
Prompts = Literal["grid", "objects"]
PointGrid = tuple[tuple[float, float], ...]


def plain(value: object) -> object:
    """Turn NumPy scalars and arrays into Python objects; leave the rest alone."""
    tolist = getattr(value, "tolist", None)
    return tolist() if callable(tolist) else value


def _plain_grids(value: object) -> object:
    if value is None or isinstance(value, str | bytes | Mapping):
        return value
    try:
        grids = [plain(grid) for grid in value]  # type: ignore[attr-defined]
        return tuple(tuple(tuple(plain(p)) for p in grid) for grid in grids)  # type: ignore[attr-defined, arg-type]
    except TypeError:
        return value


_Int = Annotated[int, BeforeValidator(plain)]
_Float = Annotated[float, BeforeValidator(plain)]
_Bool = Annotated[bool, BeforeValidator(plain)]


def parameter(default: Any, group: Group, title: str, help_text: str, **limits: Any) -> Any:
    """Return the field of a parameter: default, group, title, help, and pydantic's limits."""
    return Field(
        default,
        title=title,
        description=help_text,
        json_schema_extra={"group": group},
        **limits,
    )


class ParameterSet(BaseModel):
    """Frozen, strictly typed parameters, whose refusals are in the user's words.

    Raises
    ------
    ParameterError
        If a name is unknown (the nearest one is suggested) or a value is not allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        unknown = sorted(set(values) - set(type(self).model_fields))
        if unknown:
            raise ParameterError("; ".join(_unknown(name, type(self)) for name in unknown))
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ParameterError(_explain(error, type(self))) from None


class AmgParameters(ParameterSet):
    """What to find, and what to keep of it.

    The first sixteen have the names, defaults and meaning of sam2 1.1.0's
    ``SAM2AutomaticMaskGenerator``; the next four act on finished masks, the next four say
    at which size the model sees the image, and the last two where it is asked. Sizes are None
    here, which is sam2's way: the image is stretched to the model's input as a whole.
    `napari_sam_amg.sizes.resolved` fills them in.

    Raises
    ------
    ParameterError
        If a name is unknown (the nearest one is suggested) or a value is not allowed.
    """

    points_per_side: _Int | None = parameter(
        32,
        "points",
        "Points per side",
        "Points along each side of the grid that is laid over the image, or over each tile of "
        "tile_size; the model is asked "
        "at each of them. More points find smaller objects and take longer: time grows with "
        "the square. An object that no point hits is not found. None if point_grids is given.",
        ge=1,
        le=1024,
    )
    points_per_batch: _Int = parameter(
        64,
        "points",
        "Points per batch",
        "How many points go through the model at once. Changes memory use and how often "
        "progress is shown, not the result.",
        ge=1,
        le=65536,
    )
    pred_iou_thresh: _Float = parameter(
        0.8,
        "quality",
        "Predicted IoU threshold",
        "Keep masks whose quality, as the model itself predicts it, is higher than this "
        "(1 is perfect, 0 keeps all). Lower it when objects are missing, raise it when "
        "there are wrong ones.",
        ge=0.0,
        le=2.0,
    )
    stability_score_thresh: _Float = parameter(
        0.95,
        "quality",
        "Stability score threshold",
        "The model gives every pixel a score, and the mask is all pixels above a cutoff "
        "(mask_threshold). A mask is stable when moving that cutoff up and down by "
        "stability_score_offset hardly changes it: the stability score is the area at the "
        "higher cutoff divided by the area at the lower one. Keep masks with at least this "
        "score. Lower it when faint, blurred or very small objects are missing: their edges "
        "are soft, so their score is low even when the mask is right.",
        ge=0.0,
        le=1.0,
    )
    stability_score_offset: _Float = parameter(
        1.0,
        "quality",
        "Stability score offset",
        "How far the cutoff is moved up and down to measure stability, in the model's score "
        "units (logits). A larger offset is a harder test.",
        ge=0.0,
        le=1000.0,
    )
    mask_threshold: _Float = parameter(
        0.0,
        "advanced",
        "Mask threshold",
        "The cutoff above which a pixel belongs to the mask, in the model's score units "
        "(logits; 0 means as likely inside as outside). Raise it for tighter masks.",
        ge=-1000.0,
        le=1000.0,
    )
    box_nms_thresh: _Float = parameter(
        0.7,
        "overlap",
        "Duplicate threshold",
        "Two masks whose bounding boxes overlap by more than this (intersection over union) "
        "count as the same object: the one with the higher predicted IoU stays. Lower it "
        "when objects come out twice, raise it when crowded objects are dropped.",
        ge=0.0,
        le=1.0,
    )
    crop_n_layers: _Int = parameter(
        0,
        "crops",
        "Crop layers",
        "Look again at enlarged parts of the image: layer n cuts it into 2^n by 2^n crops. "
        "Finds objects that are small in a large image; one layer costs about five times, "
        "two about twenty times as much.",
        ge=0,
        le=6,
    )
    crop_nms_thresh: _Float = parameter(
        0.7,
        "crops",
        "Duplicate threshold between crops",
        "As the duplicate threshold, between masks from different crops: the one from the "
        "smaller crop stays.",
        ge=0.0,
        le=1.0,
    )
    crop_overlap_ratio: _Float = parameter(
        512 / 1500,
        "crops",
        "Crop overlap",
        "How much neighbouring crops overlap in the first layer, as a share of the image's "
        "shorter side; deeper layers overlap less in proportion. Objects wider than the "
        "overlap can be lost at crop edges.",
        ge=0.0,
        lt=1.0,
    )
    crop_n_points_downscale_factor: _Int = parameter(
        1,
        "crops",
        "Fewer points in crops",
        "In crop layer n, points per side are divided by this to the power n.",
        ge=1,
        le=1024,
    )
    point_grids: Annotated[tuple[PointGrid, ...] | None, BeforeValidator(_plain_grids)] = (
        parameter(
            None,
            "advanced",
            "Point grids",
            "Own points instead of the regular grid: for the image and each crop layer a list "
            "of (x, y) between 0 and 1, as shares of width and height.",
        )
    )
    min_mask_region_area: _Int = parameter(
        0,
        "size",
        "Smallest region",
        "Fill holes and remove islands smaller than this within each mask, in pixels of the "
        "image; duplicates that appear by this are removed. 0 leaves masks as they are.",
        ge=0,
    )
    output_mode: OutputMode = parameter(
        "binary_mask",
        "advanced",
        "Form of the records",
        "How generate() returns masks: as images, as run lengths, or as COCO's compressed "
        "run lengths.",
    )
    use_m2m: _Bool = parameter(
        False,
        "advanced",
        "Refine masks",
        "Feed every mask back to the model once as a hint (mask to mask). Slower; can make "
        "outlines better.",
    )
    multimask_output: _Bool = parameter(
        True,
        "advanced",
        "Three masks per point",
        "Ask for three masks at each point (often whole, part and sub-part) instead of one.",
    )
    min_area: _Int | None = parameter(
        None, "size", "Minimum area", "Keep masks of at least this many pixels.", ge=0
    )
    max_area: _Int | None = parameter(
        None,
        "size",
        "Maximum area",
        "Keep masks of at most this many pixels; drops the background when it is found as "
        "an object.",
        ge=0,
    )
    exclude_border: _Bool = parameter(
        False,
        "size",
        "Exclude border",
        "Drop masks that touch the border of the image, whose size would be wrong.",
    )
    overlap: OverlapRule = parameter(
        "smallest_on_top",
        "overlap",
        "Where masks overlap",
        "Which mask a pixel is shown as in a label image when several cover it. Files that "
        "hold masks one by one are not affected: they keep every pixel.",
    )
    object_diameter: _Float | None = parameter(
        None,
        "objects",
        "Object diameter",
        "Diameter of a typical object in pixels of the image. From it follow, where they are "
        "not given: the scale at which the model sees objects as large as those it was trained "
        "on, tiles, their halo, 3.5 points to a diameter, and area limits of a third to three "
        "times the diameter. None: objects have the size that the model was trained for.",
        ge=1.0,
        le=20_000.0,
    )
    scale: _Float | None = parameter(
        None,
        "objects",
        "Scale",
        "Pixels of the model's input for each pixel of the image: 2 magnifies. None: a tile "
        "fills the model's input, and so does, stretched as sam2 does it, an image that is no "
        "larger than a tile.",
        ge=0.01,
        le=64.0,
    )
    tile_size: _Int | None = parameter(
        None,
        "objects",
        "Tile size",
        "Images larger than this, in pixels, are worked through in square tiles of it, each "
        "of which the model sees at the same scale. Points per side are then those of a tile. "
        "None: what fills the model's input at the scale; without a scale, and always with crop "
        "layers, the whole image at once, as sam2 does.",
        ge=16,
        le=65536,
    )
    tile_halo: _Int | None = parameter(
        None,
        "objects",
        "Tile halo",
        "How far, in pixels of the image, a tile sees beyond the part that its points lie in. "
        "Objects that reach further out than this from a point are cut off by the tile's edge, "
        "and are dropped. None: an eighth of tile_size.",
        ge=0,
        le=16384,
    )
    prompts: Prompts = parameter(
        "grid",
        "points",
        "Ask the model",
        "Where the model is asked for masks: at a regular grid of points, as sam2 does it, or "
        "where the model itself sees objects. That takes far fewer points, and small objects are "
        "not missed between them; only models that have learned to say where objects are can "
        "do it.",
    )
    object_score_thresh: _Float = parameter(
        0.25,
        "points",
        "Object threshold",
        "Where the model is asked at the objects it sees: how sure it must be of an object's "
        "centre. Lower it when objects are missed; a point too many costs little.",
        ge=0.0,
        le=1.0,
    )

    def __init__(self, **values: Any) -> None:
        if values.get("point_grids") is not None and "points_per_side" not in values:
            values["points_per_side"] = None
        super().__init__(**values)

    @model_validator(mode="after")
    def _check_together(self) -> AmgParameters:
        if (self.points_per_side is None) == (self.point_grids is None):
            raise ValueError(
                "give either points_per_side or point_grids, not both or neither; "
                "with point_grids, set points_per_side to None or leave it out"
            )
        if self.points_per_side is not None:
            last = self.crop_n_points_downscale_factor**self.crop_n_layers
            if self.points_per_side < last:
                raise ValueError(
                    f"points_per_side={self.points_per_side} leaves no point in crop layer "
                    f"{self.crop_n_layers}: it is divided by {last} there; raise it or lower "
                    "crop_n_points_downscale_factor or crop_n_layers"
                )
        if self.point_grids is not None:
            _check_grids(self.point_grids, self.crop_n_layers)
            if self.prompts == "objects":
                raise ValueError(
                    "point_grids and prompts='objects' both say where to ask: give one of them"
                )
        if None not in (self.min_area, self.max_area) and self.min_area > self.max_area:  # type: ignore[operator]
            raise ValueError(
                f"min_area={self.min_area} is larger than max_area={self.max_area}: "
                "no mask could be kept"
            )
        if None not in (self.tile_size, self.tile_halo) and self.tile_size <= 2 * self.tile_halo:  # type: ignore[operator]
            raise ValueError(
                f"tile_halo={self.tile_halo} on both sides leaves nothing of tile_size="
                f"{self.tile_size}: use less than half of it"
            )
        return self


SAM2_PARAMETERS = tuple(AmgParameters.model_fields)[:16]
"""Names of sam2's own arguments, in sam2's order."""

SELECT_PARAMETERS = (
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "crop_nms_thresh",
    "min_mask_region_area",
    "min_area",
    "max_area",
    "exclude_border",
)
"""What `Proposals.select` takes: it acts on candidates, without the model."""


def _check_grids(grids: tuple[PointGrid, ...], crop_n_layers: int) -> None:
    if len(grids) < crop_n_layers + 1:
        raise ValueError(
            f"point_grids has {len(grids)} grids, but the image and {crop_n_layers} crop "
            f"layers need {crop_n_layers + 1}"
        )
    for layer, grid in enumerate(grids):
        if not grid:
            raise ValueError(f"point_grids[{layer}] is empty: give at least one point")
        for x, y in grid:
            if not (0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
                raise ValueError(
                    f"point_grids[{layer}] has the point ({x}, {y}): points are shares of "
                    "width and height, between 0 and 1; divide pixel positions by the image size"
                )


def _unknown(name: str, model: type[ParameterSet]) -> str:
    near = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(model.model_fields)
    return f"unknown parameter {name!r}: {advice}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _explain(error: ValidationError, model: type[ParameterSet]) -> str:
    parts = []
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        location = problem["loc"]
        if not location:
            parts.append(message)
            continue
        name = str(location[0])
        where = name + "".join(f"[{i}]" for i in location[1:] if isinstance(i, int))
        parts.append(f"{where}={_shorten(problem['input'])}: {message}{_allowed(name, model)}")
    return "; ".join(dict.fromkeys(parts))


def _allowed(name: str, model: type[ParameterSet]) -> str:
    low, high, strict = limits(name, model)
    if low is None and high is None:
        return ""
    if high is None or math.isinf(high):
        return f" (allowed: {low} or more)"
    return f" (allowed: {low} to {'below ' if strict else ''}{high})"


def limits(
    name: str, model: type[ParameterSet] = AmgParameters
) -> tuple[float | None, float | None, bool]:
    """Return the range of a parameter.

    Parameters
    ----------
    name : str
        Name of a parameter.
    model : type of ParameterSet
        What it is a parameter of.

    Returns
    -------
    low, high : float or None
        Smallest and largest allowed value; None if there is no such limit.
    exclusive : bool
        True if `high` itself is not allowed.
    """
    low: float | None = None
    high: float | None = None
    exclusive = False
    for item in model.model_fields[name].metadata:
        low = getattr(item, "ge", low)
        high = getattr(item, "le", high)
        if hasattr(item, "lt"):
            high, exclusive = item.lt, True
    return low, high, exclusive


def group_of(name: str, model: type[ParameterSet] = AmgParameters) -> Group:
    """Return the group that a parameter is shown in."""
    extra = model.model_fields[name].json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"parameter {name} has no group")
    return extra["group"]  # type: ignore[return-value]
