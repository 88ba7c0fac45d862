"""From an 8-bit RGB crop to the features that prompts are decoded from."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from napari_sam_amg.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sam2.modeling.sam2_base import SAM2Base

# The statistics that sam2 normalises with.
_MEAN = [0.485, 0.456, 0.406]
_STD = [0.229, 0.224, 0.225]


@dataclass(frozen=True)
class Features:
    """Encoder output of one crop.

    Attributes
    ----------
    embedding : Tensor, 1xCxhxw
        Features at stride 16, with the "no memory" embedding added as sam2 does.
    high_res : list of Tensor
        Projected features at strides 4 and 8; empty for models without them.
    frame : tuple of int
        Height and width in crop pixels that the encoder's square stands for: the crop's
        own, or the padded square's.
    objects : Tensor, 2xhxw, or None
        What the model's object head says (`ObjectHead`); None for models without one.
    """

    embedding: torch.Tensor
    high_res: list[torch.Tensor]
    frame: tuple[int, int]
    objects: torch.Tensor | None = None

    @property
    def nbytes(self) -> int:
        """Memory of the tensors in bytes."""
        tensors = [self.embedding, *self.high_res]
        if self.objects is not None:
            tensors.append(self.objects)
        return sum(t.numel() * t.element_size() for t in tensors)


def model_input(
    rgb: npt.NDArray[np.uint8],
    image_size: int,
    resizing: Literal["stretch", "pad"],
    frame: tuple[int, int] | None = None,
) -> tuple[torch.Tensor, tuple[int, int]]:
    """Bring a crop to the model's square, bit by bit as sam2's transforms do.

    They are torchvision's ``ToTensor``, ``Resize`` and ``Normalize``: two calls of torch,
    while importing torchvision takes seconds.

    Parameters
    ----------
    rgb : ndarray, uint8, HxWx3
    image_size : int
        Side of the square.
    resizing : {"stretch", "pad"}
        Stretch both sides to the square, or first pad with zeros (black) on the right and
        at the bottom to a square, so that the aspect stays.
    frame : tuple of int, optional
        Height and width, at least the crop's, that are stretched to the square instead; the
        crop is mirrored on the right and at the bottom to fill it, so that what the model
        sees beyond its edge looks like the rest.

    Returns
    -------
    Tensor, float32, 1x3xSxS
        Normalised input.
    tuple of int
        Height and width in crop pixels that the square stands for.
    """
    if frame is not None:
        missing = ((0, frame[0] - rgb.shape[0]), (0, frame[1] - rgb.shape[1]), (0, 0))
        rgb = np.pad(rgb, missing, mode="symmetric")
    elif resizing == "pad":
        side = max(rgb.shape[:2])
        rgb = np.pad(rgb, ((0, side - rgb.shape[0]), (0, side - rgb.shape[1]), (0, 0)))
    frame = (rgb.shape[0], rgb.shape[1])
    pixels = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
    tensor = pixels[None].to(torch.float32).div(255)
    if frame != (image_size, image_size):
        size = (image_size, image_size)
        tensor = F.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)
    mean, std = (torch.tensor(v, dtype=torch.float32).view(3, 1, 1) for v in (_MEAN, _STD))
    return (tensor - mean) / std, frame


def encode(
    model: SAM2Base,
    rgb: npt.NDArray[np.uint8],
    resizing: Literal["stretch", "pad"],
    frame: tuple[int, int] | None = None,
) -> Features:
    """Run the image encoder on one crop (uint8, HxWx3); `frame` as for `model_input`."""
    return encode_together(model, [(rgb, frame)], resizing)[0]


def encode_together(
    model: SAM2Base,
    crops: Sequence[tuple[npt.NDArray[np.uint8], tuple[int, int] | None]],
    resizing: Literal["stretch", "pad"],
) -> list[Features]:
    """Run the image encoder on several crops at once, each with its frame; as `encode`."""
    inputs = [model_input(rgb, model.image_size, resizing, frame) for rgb, frame in crops]
    weight = next(model.parameters())
    seen: list[torch.Tensor] = []
    tensor = torch.cat([tensor for tensor, _ in inputs])
    with _finest_level(model, seen):
        levels = model.forward_image(tensor.to(weight.device, weight.dtype))["backbone_fpn"]
    levels = levels[-model.num_feature_levels :]
    embedding = levels[-1]
    if model.directly_add_no_mem_embed:
        embedding = embedding + model.no_mem_embed.reshape(1, -1, 1, 1)
    objects = model.object_head(seen[0]).float() if seen else None

    def own(values: torch.Tensor, index: int) -> torch.Tensor:
        # Not a view: one crop that is kept would keep the memory of all.
        return values if len(inputs) == 1 else values[index : index + 1].clone()

    return [
        Features(
            own(embedding, index),
            [own(level, index) for level in levels[:-1]],
            frame,
            None if objects is None else own(objects, index)[0],
        )
        for index, (_, frame) in enumerate(inputs)
    ]


@contextlib.contextmanager
def _finest_level(model: SAM2Base, seen: list[torch.Tensor]) -> Iterator[None]:
    """Catch what the object head reads, if there is one: `forward_image` projects it away."""
    if not hasattr(model, "object_head"):
        yield
        return

    owner = threading.get_ident()

    def catch(_: object, __: object, output: dict[str, list[torch.Tensor]]) -> None:
        if threading.get_ident() == owner:
            seen.append(output["backbone_fpn"][0])

    hook = model.image_encoder.register_forward_hook(catch)
    try:
        yield
    finally:
        hook.remove()


@contextlib.contextmanager
def stoppable(model: SAM2Base, should_stop: Callable[[], bool] | None) -> Iterator[None]:
    """Ask `should_stop` before each block of the encoder's trunk; raise `Cancelled` if so.

    Hooks of a module are called in every thread that uses it: other threads are let be.
    """
    if should_stop is None:
        yield
        return

    owner = threading.get_ident()

    def ask(*_: object) -> None:
        if threading.get_ident() == owner and should_stop():
            raise Cancelled("the run was cancelled while the image was being encoded")

    with contextlib.ExitStack() as hooks:
        for block in model.image_encoder.trunk.blocks:
            hooks.callback(block.register_forward_pre_hook(ask).remove)
        yield
