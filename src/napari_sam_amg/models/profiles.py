"""What is known about a model besides its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from napari_sam_amg.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

Resize = Literal["stretch", "pad"]


@dataclass(frozen=True)
class InputProfile:
    """How a model wants to see images: as it saw them in training.

    Attributes
    ----------
    resize : {"stretch", "pad"}
        How an image becomes the model's square: stretched, as sam2 does, or with its
        aspect kept and the rest padded.
    percentiles : tuple of float
        Percentiles (0 to 100) of the finite values that are mapped to 0 and 255.
    map_uint8 : bool
        True if uint8 images are mapped by `percentiles` too, instead of going to the
        model unchanged.
    object_diameter : float or None
        Typical diameter of the objects in training, in pixels of the model's square.

    Raises
    ------
    ModelError
        If a value is not allowed.
    """

    resize: Resize = "stretch"
    percentiles: tuple[float, float] = (0.1, 99.9)
    map_uint8: bool = False
    object_diameter: float | None = None

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            raise ModelError(
                f"input profile: resize={self.resize!r} is unknown; use 'stretch' or 'pad'"
            )
        low, high = self.percentiles
        if not 0 <= low < high <= 100:
            raise ModelError(
                f"input profile: percentiles={self.percentiles} are not two rising numbers "
                "between 0 and 100"
            )
        if self.object_diameter is not None and not self.object_diameter > 0:
            raise ModelError(
                f"input profile: object_diameter={self.object_diameter} is not positive; "
                "use None if it is unknown"
            )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> InputProfile:
        """Read a profile from a card, where the percentiles are a list."""
        low, high = values["percentiles"]
        return cls(**{**values, "percentiles": (float(low), float(high))})

    def to_json(self) -> dict[str, Any]:
        """Return the profile as `from_json` reads it."""
        return {**asdict(self), "percentiles": list(self.percentiles)}


@dataclass(frozen=True)
class ModelInfo:
    """One model: what it is, where it comes from and how to use it.

    Attributes
    ----------
    name : str
        Name in the registry, or the stem of a checkpoint's file name.
    title, description : str
        For people: a short name, and what the model is for.
    architecture : str
        Key of `napari_sam_amg.models.architecture.ARCHITECTURES`.
    sha256 : str or None
        Hash of the file, 64 hexadecimal digits; None for a model that came without one.
    url : str or None
        Where the file is fetched from; None for the embedded model and for checkpoints.
    size_bytes : int or None
        Size of the file; None if it is not known before the download.
    profile : InputProfile
        How the model wants to see images.
    recommended : Mapping
        Parameters of automatic mask generation to use where the user chose none; what it
        does not name keeps sam2's default.
    notes : str
        What a user should know before trusting a result.
    object_head : bool
        Whether it can say where objects are, for ``prompts="objects"``.
    doubt : Mapping or None
        Which results deserve doubt, as `napari_sam_amg.masks.doubt` reads it; None if that is
        not known.
    """

    name: str
    title: str
    description: str
    architecture: str
    sha256: str | None
    url: str | None = None
    size_bytes: int | None = None
    profile: InputProfile = field(default_factory=InputProfile)
    recommended: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""
    object_head: bool = False
    doubt: Mapping[str, float] | None = None
