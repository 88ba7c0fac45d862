"""Comparing mask sets with sam2's own generator, by the protocol of docs/parity.md."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from napari_sam_amg.models.architecture import ARCHITECTURES, build
from napari_sam_amg.parameters import SAM2_PARAMETERS, AmgParameters

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

Record = dict[str, Any]


def random_hiera_tiny(seed: int, image_size: int = 256, spread: float = 40.0) -> SAM2Base:
    """Build Hiera-T with random weights whose masks and scores spread like real ones.

    The last layers of the hypernetworks and of the IoU head are scaled so that logits
    have a spread of several units (`spread` times that of untouched weights) and predicted
    IoU covers most of 0 to 1; untouched random weights give logits near zero and the same
    IoU for every mask.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(replace(ARCHITECTURES["sam2.1_hiera_tiny"], image_size=image_size))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(0.1 * torch.randn_like(parameter))
            decoder = model.sam_mask_decoder
            for head in decoder.output_hypernetworks_mlps:
                head.layers[-1].weight.mul_(spread)
            decoder.iou_prediction_head.layers[-1].weight.mul_(30)
    return model


def random_parameters(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a set of sam2's parameters that exercises every branch of the generator."""
    layers = int(rng.choice([0, 0, 0, 1, 1, 2]))
    chosen: dict[str, Any] = {
        "points_per_batch": int(rng.choice([7, 16, 64])),
        "pred_iou_thresh": float(rng.choice([0.0, 0.3, 0.5, 0.7])),
        "stability_score_thresh": float(rng.choice([0.0, 0.3, 0.6, 0.9])),
        "stability_score_offset": float(rng.choice([0.0, 0.5, 1.0])),
        "mask_threshold": float(rng.choice([0.0, 0.0, -0.5, 1.0])),
        "box_nms_thresh": float(rng.choice([0.3, 0.7, 0.95, 1.0])),
        "crop_n_layers": layers,
        "crop_nms_thresh": float(rng.choice([0.3, 0.7, 1.0])),
        "crop_overlap_ratio": float(rng.choice([0.1, 512 / 1500])),
        "use_m2m": bool(rng.random() < 0.3),
        "multimask_output": bool(rng.random() < 0.7),
        "output_mode": str(rng.choice(["binary_mask", "uncompressed_rle", "coco_rle"])),
    }
    side = int(rng.integers(3, 9 - 2 * layers))
    if rng.random() < 0.3:
        chosen["points_per_side"] = None
        chosen["point_grids"] = [rng.random((side * side, 2)) for _ in range(layers + 1)]
    else:
        chosen["points_per_side"] = side
        chosen["crop_n_points_downscale_factor"] = int(rng.choice([1, 2])) if layers == 1 else 1
    return chosen


def reference(model: SAM2Base, image: np.ndarray, parameters: dict[str, Any]) -> list[Record]:
    """Run sam2's own generator; masks of area 0 are dropped, as ours never returns them.

    sam2's predictor assumes the feature sizes of a 1024 pixel model: they are set to the
    model's own. An empty result of a run with crops crashes sam2: that is an empty list.
    """
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    full = AmgParameters(**parameters)
    arguments = {name: getattr(full, name) for name in SAM2_PARAMETERS}
    if full.point_grids is not None:
        arguments["point_grids"] = [np.asarray(grid) for grid in full.point_grids]
    generator = SAM2AutomaticMaskGenerator(model, **arguments)
    size = model.image_size
    generator.predictor._bb_feat_sizes = [(size // n, size // n) for n in (4, 8, 16)]
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    try:
        records = generator.generate(image)
    except IndexError:
        if full.crop_n_layers == 0:
            raise
        return []
    return [record for record in records if record["area"] > 0]


def binary(record: Record) -> np.ndarray:
    """Return the mask of a record of any output mode, bool HxW."""
    from pycocotools import mask as coco
    from sam2.utils.amg import rle_to_mask

    segmentation = record["segmentation"]
    if isinstance(segmentation, np.ndarray):
        return segmentation
    if isinstance(segmentation["counts"], str):
        return coco.decode(segmentation).astype(bool)
    return rle_to_mask(segmentation)


@dataclass(frozen=True)
class Comparison:
    """How two mask sets of one image agree.

    Attributes
    ----------
    counts : tuple of int
        Masks in the reference and in ours.
    ious : ndarray
        IoU of matched pairs; unmatched masks are not in it.
    score_difference : float
        Largest difference of predicted IoU or stability over pairs of IoU above 0.99. Stability
        is a quotient of two numbers of pixels, and the last digit of a logit decides on a pixel:
        what one pixel explains does not count.
    same_order : bool
        Whether mask i of one has an IoU above 0.99 with mask i of the other, for all i.
    unexplained : int
        Masks without a partner of IoU above 0.99 and without a decision within `eps` of
        its threshold.
    """

    counts: tuple[int, int]
    ious: np.ndarray
    score_difference: float
    same_order: bool
    unexplained: int

    def f1(self, threshold: float) -> float:
        """F1 of one-to-one matches above an IoU; 1 if both sets are empty."""
        total = sum(self.counts)
        return 2 * int((self.ious > threshold).sum()) / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """Mean IoU with 0 for every unmatched mask."""
        largest = max(self.counts)
        return float(self.ious.sum()) / largest if largest else 1.0


def compare(
    expected: list[Record], found: list[Record], parameters: dict[str, Any], eps: float = 1e-3
) -> Comparison:
    """Match two lists of records one to one by mask IoU."""
    a = np.array([binary(r).ravel() for r in expected], dtype=np.bool_)
    b = np.array([binary(r).ravel() for r in found], dtype=np.bool_)
    if not len(a) or not len(b):
        left_over = expected + found
        return Comparison(
            (len(a), len(b)),
            np.zeros(0),
            0.0,
            not left_over,
            sum(
                not _marginal(r, [o for o in left_over if o is not r], parameters, eps)
                for r in left_over
            ),
        )
    shared = np.zeros((len(a), len(b)))
    for start in range(0, a.shape[1], 1 << 18):  # masks of large images as floats fill memory
        part = slice(start, start + (1 << 18))
        shared += a[:, part].astype(np.float32) @ b[:, part].astype(np.float32).T
    iou = shared / (a.sum(1)[:, None] + b.sum(1)[None] - shared)
    rows, columns = linear_sum_assignment(iou, maximize=True)
    matched = iou[rows, columns]
    close = matched > 0.99
    pairs = [(expected[i], found[j]) for i, j in zip(rows[close], columns[close], strict=True)]
    differences = [abs(one["predicted_iou"] - other["predicted_iou"]) for one, other in pairs]
    differences += [
        # The larger of the two areas that stability compares is at least the mask's own.
        max(0.0, abs(one["stability_score"] - other["stability_score"]) - 1 / one["area"])
        for one, other in pairs
    ]
    difference = max(differences, default=0.0)
    # A mask is no duplicate of itself, nor of itself as the other side found it.
    partner = {id(expected[i]): found[j] for i, j in zip(rows, columns, strict=True)}
    partner |= {id(found[j]): expected[i] for i, j in zip(rows, columns, strict=True)}
    everything = expected + found
    lonely = [r for i, r in enumerate(expected) if i not in rows[close]]
    lonely += [r for j, r in enumerate(found) if j not in columns[close]]
    others = [
        [o for o in everything if o is not r and o is not partner.get(id(r))] for r in lonely
    ]
    return Comparison(
        (len(a), len(b)),
        matched,
        float(difference),
        len(a) == len(b) and bool((np.diag(iou) > 0.99).all()),
        sum(not _marginal(r, o, parameters, eps) for r, o in zip(lonely, others, strict=True)),
    )


def _marginal(
    record: Record, others: list[Record], parameters: dict[str, Any], eps: float
) -> bool:
    """Whether some decision on a mask was within `eps` of going the other way."""
    full = AmgParameters(**parameters)
    near = [
        abs(record["predicted_iou"] - full.pred_iou_thresh) < eps,
        abs(record["stability_score"] - full.stability_score_thresh) < eps,
    ]
    x, y, w, h = record["bbox"]
    for other in others:
        ox, oy, ow, oh = other["bbox"]
        width = max(0.0, min(x + w, ox + ow) - max(x, ox))
        height = max(0.0, min(y + h, oy + oh) - max(y, oy))
        union = w * h + ow * oh - width * height
        box_iou = width * height / union if union else 0.0
        near += [
            abs(box_iou - full.box_nms_thresh) < eps,
            full.crop_n_layers > 0 and abs(box_iou - full.crop_nms_thresh) < eps,
            box_iou > full.box_nms_thresh
            and abs(other["predicted_iou"] - record["predicted_iou"]) < eps,
        ]
    return any(near)
