"""The models that are known by name."""

from __future__ import annotations

import difflib
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ModelError
from napari_sam_amg.models.profiles import InputProfile, ModelInfo

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


EMBEDDED = "nuclei-nano"
"""Name of the model that comes with the package, and the default."""

BASE_URL = "https://dl.fbaipublicfiles.com/segment_anything_2/092824/"
SAM1_NAMES = ("default", "vit_h", "vit_l", "vit_b")

_NOT_RUN = (
    "Meta's weights (Apache-2.0), trained on photographs and video. This package has not yet "
    "been run with the real weights."
)
# name, what sets it apart, size in bytes, SHA-256
_META = (
    (
        "sam2.1_hiera_tiny",
        "SAM 2.1 Hiera-T",
        "the smallest and fastest of Meta's four",
        156_008_466,
        "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    ),
    (
        "sam2.1_hiera_small",
        "SAM 2.1 Hiera-S",
        "a little larger than the smallest of Meta's four",
        None,
        "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    ),
    (
        "sam2.1_hiera_base_plus",
        "SAM 2.1 Hiera-B+",
        "between the small and the large of Meta's four",
        None,
        "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    ),
    (
        "sam2.1_hiera_large",
        "SAM 2.1 Hiera-L",
        "the largest and slowest of Meta's four; wants a GPU",
        898_083_611,
        "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    ),
)


def embedded_file(suffix: str) -> Traversable:
    """Return the embedded model's file: ``.safetensors`` (weights) or ``.json`` (card)."""
    return files("napari_sam_amg.models") / "data" / f"{EMBEDDED}{suffix}"


def embedded_card() -> dict[str, Any]:
    """Return the embedded model's card, as ``training/export.py`` wrote it."""
    try:
        card: dict[str, Any] = json.loads(embedded_file(".json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"the card of the embedded model {EMBEDDED} cannot be read ({error}): the "
            "installation is damaged; install napari-sam-amg again"
        ) from error
    return card


def _embedded() -> ModelInfo:
    card = embedded_card()
    return ModelInfo(
        name=card["name"],
        title=card["title"],
        description=card["description"],
        architecture=card["architecture"],
        sha256=card["sha256"],
        size_bytes=card["size_bytes"],
        profile=InputProfile.from_json(card["profile"]),
        recommended=card["recommended"],
        notes=card["notes"],
        object_head=card["object_head"],
        doubt=card["doubt"],
    )


def list_models() -> list[ModelInfo]:
    """Return every model that is known by name, the embedded one first.

    Loads no torch and opens no connection.
    """
    return [_embedded()] + [
        ModelInfo(
            name=name,
            title=title,
            description=f"Meta's general-purpose model, {what}.",
            architecture=name,
            sha256=sha256,
            url=f"{BASE_URL}{name}.pt",
            size_bytes=size,
            notes=_NOT_RUN,
        )
        for name, title, what, size, sha256 in _META
    ]


def model_info(name: str) -> ModelInfo:
    """Return what is known about a model of the registry.

    Parameters
    ----------
    name : str
        A name from `list_models`.

    Returns
    -------
    ModelInfo

    Raises
    ------
    ModelError
        If there is no such model; the message says which there are, and what to use
        instead of a model of SAM 1.
    """
    models = {info.name: info for info in list_models()}
    if name in models:
        return models[name]
    if name in SAM1_NAMES or name.startswith(("sam_vit_", "sam1")):
        raise ModelError(
            f"model {name!r} is a name of SAM 1 (segment-anything), whose weights do not fit "
            "SAM 2. Use sam2.1_hiera_large instead of vit_h, sam2.1_hiera_base_plus instead of "
            "vit_l or vit_b, or nuclei-nano, which needs no download"
        )
    near = difflib.get_close_matches(name, models, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]!r}? " if near else ""
    raise ModelError(
        f"there is no model {name!r}: {advice}known are {', '.join(models)}; or give the path "
        "of a SAM 2 checkpoint (.pt or .safetensors)"
    )
