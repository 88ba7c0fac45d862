"""Torch's threads on a worker, and the same numbers from one thread as from several."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sam2.modeling.sam2_base import SAM2Base


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use as many threads as the worker has; Dask starts workers with one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, count))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_as_several(model: SAM2Base) -> None:
    """Have the image encoder of a model give with one thread the numbers that it gives with more.

    For a convolution of 1x1 with a batch of one, torch takes another routine if it has a single
    thread (``use_mkldnn`` in ATen's Convolution.cpp), whose sums differ in the last digits; all
    others it chooses alike. These few are computed with two threads.
    """
    import torch

    def before(_: Any, __: Any) -> None:
        if torch.get_num_threads() == 1:
            alone.append(True)
            torch.set_num_threads(2)

    def after(_: Any, __: Any, ___: Any) -> None:
        if alone:
            alone.clear()
            torch.set_num_threads(1)

    alone: list[bool] = []
    decoder: Any = model.sam_mask_decoder
    # These two of the decoder's are applied to the image, once.
    parts = [
        model.image_encoder,
        getattr(model, "object_head", None),
        *(getattr(decoder, name, None) for name in ("conv_s0", "conv_s1")),
    ]
    for part in filter(None, parts):
        for module in part.modules():
            if isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1):
                module.register_forward_pre_hook(before)
                module.register_forward_hook(after, always_call=True)
