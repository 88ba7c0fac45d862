"""Which architecture a table of tensors belongs to, and whether it fits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

from napari_sam_amg.errors import ModelError
from napari_sam_amg.models.architecture import ARCHITECTURES, Architecture

if TYPE_CHECKING:
    import torch


Shapes = Mapping[str, tuple[int, ...]]

MAX_TENSORS = 10_000
_CONTAINERS = ("model", "state_dict", "model_state_dict", "model_state")
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam2.", "sam.")
_TRUNK = "image_encoder.trunk."
_BLOCK = re.compile(r"image_encoder\.trunk\.blocks\.(\d+)\.")


def find_weights(content: object, name: str) -> dict[str, torch.Tensor]:
    """Find the state dict in what a checkpoint holds.

    Parameters
    ----------
    content : object
        A state dict, or a dict that holds one under ``model`` (as Meta writes it),
        ``state_dict``, ``model_state_dict`` or ``model_state`` beside other plain values.
    name : str
        What messages call the file.

    Returns
    -------
    dict of str to torch.Tensor
        Without the prefixes that wrappers such as ``DataParallel`` add.

    Raises
    ------
    ModelError
        If there is no table of tensors.
    """
    if not isinstance(content, dict):
        raise ModelError(
            f"{name}: holds a {type(content).__name__}, not a table of tensors; save "
            '{"model": model.state_dict()}'
        )
    for table in (*(content.get(key) for key in _CONTAINERS), content):
        if _is_table(table):
            return _without_prefix(table)
    keys = ", ".join(str(key)[:40] for key in list(content)[:8]) or "nothing"
    raise ModelError(
        f'{name}: no table of tensors in it, only {keys}; save {{"model": model.state_dict()}}'
    )


def _is_table(table: object) -> TypeGuard[dict[str, torch.Tensor]]:
    import torch

    return (
        isinstance(table, dict)
        and 0 < len(table) <= MAX_TENSORS
        and all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in table.items())
    )


def _without_prefix(table: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in table):
            return _without_prefix({key.removeprefix(prefix): v for key, v in table.items()})
    return table


def recognise(shapes: Shapes, name: str = "checkpoint") -> Architecture:
    """Tell the architecture from the names and shapes of tensors.

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Of a state dict.
    name : str
        What messages call the file.

    Returns
    -------
    Architecture
        The one whose trunk, width and version fit. The remaining tensors are not compared:
        `check_fit` does.

    Raises
    ------
    ModelError
        If none fits; models of other families that people try are named.
    """
    found = _signature(shapes)
    if found is None:
        raise ModelError(f"{name}: {_other_family(shapes)}")
    for architecture in ARCHITECTURES.values():
        if _signature_of(architecture) == found:
            return architecture
    width, blocks, position, window, neck, sam21 = found
    raise ModelError(
        f"{name}: a SAM 2 of no known size: trunk of width {width} with {blocks} blocks, position "
        f"embedding {position}, window {window}, neck {neck}, "
        f"{'as in SAM 2.1' if sam21 else 'as in SAM 2'}. Known are {', '.join(ARCHITECTURES)}"
    )


_Signature = tuple[int, int, tuple[int, ...], tuple[int, ...], int, bool]


def _signature(shapes: Shapes) -> _Signature | None:
    blocks = [int(match[1]) for match in map(_BLOCK.match, shapes) if match]
    tables = [shapes.get(_TRUNK + key, ()) for key in ("pos_embed", "pos_embed_window")]
    neck = shapes.get("no_mem_embed", ())
    if not blocks or any(len(shape) != 4 for shape in tables) or len(neck) != 3:
        return None
    return (
        tables[0][1],
        max(blocks) + 1,
        tuple(tables[0][2:]),
        tuple(tables[1][2:]),
        neck[2],
        "no_obj_embed_spatial" in shapes,
    )


def _signature_of(a: Architecture) -> _Signature:
    return (
        a.embed_dim,
        sum(a.stages),
        (a.pos_embed_size, a.pos_embed_size),
        (a.window_spec[0], a.window_spec[0]),
        a.d_model,
        a.sam21,
    )


def _other_family(shapes: Shapes) -> str:
    if "image_encoder.patch_embed.proj.weight" in shapes:
        return (
            "a model of SAM 1 (segment-anything) or of one of its descendants, which does not fit "
            "SAM 2; use a SAM 2 or 2.1 checkpoint, such as sam2.1_hiera_large"
        )
    if any(key.startswith("vision_encoder.") for key in shapes):
        return (
            "a model in the naming of Hugging Face transformers; use the checkpoint in Meta's own "
            "naming, such as sam2.1_hiera_large.pt"
        )
    first = ", ".join(key[:60] for key in list(shapes)[:3])
    return f"not a SAM 2 model: it has {len(shapes)} tensors, such as {first}"


def check_fit(shapes: Shapes, expected: Shapes, architecture: str, name: str) -> None:
    """Refuse a state dict that is not exactly the architecture's.

    Parameters
    ----------
    shapes, expected : mapping of str to tuple of int
        What there is, and what the model has.
    architecture, name : str
        What messages call them.

    Raises
    ------
    ModelError
        If tensors are missing, too many or of other shapes. An extra tensor, such as an
        adapter's, is refused too: without it the model would give other masks.
    """
    problems = []
    for what, keys in (
        ("lacks", [k for k in expected if k not in shapes]),
        ("has the unknown", [k for k in shapes if k not in expected]),
    ):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            problems.append(f"{what} {', '.join(k[:80] for k in keys[:3])}{more}")
    problems += [
        f"{key} is {tuple(shapes[key])} instead of {tuple(expected[key])}"
        for key in expected
        if key in shapes and tuple(shapes[key]) != tuple(expected[key])
    ][:3]
    if problems:
        raise ModelError(
            f"{name}: does not fit {architecture}: it {'; it '.join(problems)}. Was it trained "
            "from another model, with adapters, or saved in part? Save the whole state dict of "
            "the merged model"
        )
