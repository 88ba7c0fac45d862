"""Random masks and candidates for tests, and sam2's own generator fed with them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from sam2.utils.amg import build_all_layer_point_grids, generate_crop_boxes

from napari_sam_amg.masks import MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import SAM2_PARAMETERS, AmgParameters


def random_mask(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """One mask with at least one pixel: a box, a blob of noise, one pixel, or everything."""
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    kind = rng.choice(["box", "box", "box", "noise", "noise", "pixel", "all"])
    y, x = rng.integers(height), rng.integers(width)
    if kind == "all":
        mask[:] = True
    elif kind != "pixel":
        y1, x1 = rng.integers(y, height) + 1, rng.integers(x, width) + 1
        part = mask[y:y1, x:x1]
        part[:] = True if kind == "box" else rng.random(part.shape) < rng.choice([0.3, 0.7, 0.95])
    mask[y, x] = True
    return mask


def random_stack(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> np.ndarray:
    """Random masks, bool (count, H, W), some of them equal or nested."""
    stack = np.zeros((count, *shape), dtype=bool)
    for i in range(count):
        stack[i] = random_mask(rng, shape)
        if i and rng.random() < 0.3:  # a variant of an earlier one, larger or smaller
            other = stack[rng.integers(i)]
            noise = rng.random(shape) < rng.choice([0, 0.03, 0.06, 0.2])
            variant = other & ~noise if rng.random() < 0.5 else other | noise
            stack[i] = variant if variant.any() else other
    return stack


RULES = {
    "smallest_on_top": lambda area, iou: (area,),
    "largest_on_top": lambda area, iou: (-area,),
    "best_score_on_top": lambda area, iou: (True, 0) if np.isnan(iou) else (False, -iou),
}


def brute_force(stack: np.ndarray, scores: np.ndarray, rule: str) -> np.ndarray:
    """Paint masks into a label image, deciding each pixel on its own."""
    areas = stack.sum((1, 2)).tolist()
    labels = np.zeros(stack.shape[1:], dtype=int)
    for y, x in np.ndindex(*labels.shape):
        covering = np.flatnonzero(stack[:, y, x]).tolist()
        if rule == "discard_overlaps":
            labels[y, x] = covering[0] + 1 if len(covering) == 1 else 0
        elif covering:
            labels[y, x] = 1 + min(covering, key=lambda i: (RULES[rule](areas[i], scores[i]), i))
    return labels


class Scene:
    """A made-up model's answers for every crop and point of one image.

    Scores lie on a coarse grid, so that ties and values equal to a threshold are common.
    """

    def __init__(
        self, rng: np.random.Generator, shape: tuple[int, int], parameters: AmgParameters
    ) -> None:
        self.shape = shape
        self.parameters = parameters
        boxes, layers = generate_crop_boxes(
            shape, parameters.crop_n_layers, parameters.crop_overlap_ratio
        )
        self.boxes = boxes
        self.answers = []
        kinds = [random_stack(rng, 6, shape) for _ in range(2)]
        pool = np.concatenate(kinds)
        self.layers = layers
        self.grids = build_all_layer_point_grids(
            parameters.points_per_side,
            parameters.crop_n_layers,
            parameters.crop_n_points_downscale_factor,
        )
        for (x0, y0, x1, y1), layer in zip(boxes, layers, strict=True):
            count = len(self.grids[layer]) * 3
            logits = np.empty((count, y1 - y0, x1 - x0), dtype=np.float32)
            for i in range(count):
                logits[i] = self._logits(rng, pool, (y0, y1, x0, x1))
            iou = (rng.integers(10, 21, count) / 20).astype(np.float32)
            self.answers.append((logits, iou))

    def _logits(self, rng, pool, place):
        y0, y1, x0, x1 = place
        mask = pool[rng.integers(len(pool))][y0:y1, x0:x1]
        if not mask.any() or rng.random() < 0.4:
            mask = random_mask(rng, mask.shape)
        if rng.random() < 0.3:
            return np.where(mask, np.float32(2), np.float32(-2))
        sure = rng.random() * 0.1
        blur = rng.random(mask.shape) < sure
        values = np.where(mask, np.float32(2), np.float32(-2))
        values[blur] *= 0.25
        return values

    def proposals(self, floor: float = 0.0) -> Proposals:
        """All candidates as ours, found by plain thresholding of the logits."""
        p = self.parameters
        items, rows = [], []
        for crop, ((x0, y0, x1, y1), (logits, iou)) in enumerate(
            zip(self.boxes, self.answers, strict=True)
        ):
            points = self._points(crop)
            for i, values in enumerate(logits):
                mask = values > p.mask_threshold
                if not mask.any() or (floor > 0 and not iou[i] > np.float32(floor)):
                    continue
                items.append((x0, y0, mask))
                high = (values > p.mask_threshold + p.stability_score_offset).sum()
                low = (values > p.mask_threshold - p.stability_score_offset).sum()
                box = (x0, y0, x1 - x0, y1 - y0)
                point = points[i // 3] + np.float32([x0, y0])
                rows.append((iou[i], point, box, high, low, crop))
        columns = list(zip(*rows, strict=True)) if rows else [()] * 6
        table = MaskTable(
            predicted_iou=columns[0],
            stability_score=np.zeros(len(rows)),
            points=columns[1],
            crop_boxes=columns[2],
        )
        return Proposals(
            MaskStore.from_windows(self.shape, items),
            table,
            area_high=columns[3],
            area_low=columns[4],
            crop_index=columns[5],
            crop_boxes_all=[(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in self.boxes],
            parameters=p,
            floor=floor,
            provenance={"parameters": {}, "source": "made up"},
        )

    def _points(self, crop: int) -> np.ndarray:
        x0, y0, x1, y1 = self.boxes[crop]
        return (self.grids[self.layers[crop]] * [x1 - x0, y1 - y0]).astype(np.float32)

    def oracle_records(self, parameters: AmgParameters) -> list[dict]:
        """Records of sam2's own generator, then its own clean-up, then size and border."""
        generator = Oracle(self, parameters)
        try:
            records = generator.generate(np.zeros((*self.shape, 3), dtype=np.uint8))
        except IndexError:  # sam2 fails with crops if nothing is found
            return []
        return [record for record in records if _wanted(record, parameters)]


def _wanted(record: dict, p: AmgParameters) -> bool:
    x, y, w, h = record["bbox"]
    height, width = record["size"]
    border = x == 0 or y == 0 or x + w == width - 1 or y + h == height - 1
    del record["size"]
    return (
        (p.min_area is None or record["area"] >= p.min_area)
        and (p.max_area is None or record["area"] <= p.max_area)
        and not (p.exclude_border and border)
    )


class Oracle(SAM2AutomaticMaskGenerator):
    """sam2's generator with a scene for a model."""

    def __init__(self, scene: Scene, parameters: AmgParameters) -> None:
        for name in SAM2_PARAMETERS:
            setattr(self, name, getattr(parameters, name))
        self.size = scene.shape
        self.predictor = _ScenePredictor(scene)
        self.point_grids = scene.grids

    def _generate_masks(self, image):
        data = super()._generate_masks(image)
        if self.min_mask_region_area > 0:
            threshold = max(self.box_nms_thresh, self.crop_nms_thresh)
            data = self.postprocess_small_regions(data, self.min_mask_region_area, threshold)
        return data

    def generate(self, image):
        records = super().generate(image)
        for record in records:
            record["size"] = self.size
        return records


class _ScenePredictor:
    device = "cpu"

    def __init__(self, scene: Scene) -> None:
        self._answers = iter(scene.answers)
        self._transforms = SimpleNamespace(transform_coords=lambda points, **_: points)

    def set_image(self, image) -> None:
        self._logits, self._iou = next(self._answers)
        self._done = 0

    def reset_predictor(self) -> None:
        assert self._done * 3 == len(self._logits)

    def _predict(self, points, labels, **_):
        part = slice(3 * self._done, 3 * (self._done + len(points)))
        self._done += len(points)
        logits, iou = torch.from_numpy(self._logits[part]), torch.from_numpy(self._iou[part])
        low = torch.zeros(len(points), 3, 4, 4)
        return logits.unflatten(0, (-1, 3)), iou.unflatten(0, (-1, 3)), low


def box_iou(one, other):
    """Intersection over union of two boxes as sam2 takes it, in float32; 0 without an area."""
    one, other = np.float32(one), np.float32(other)
    w = max(np.float32(0), min(one[2], other[2]) - max(one[0], other[0]))
    h = max(np.float32(0), min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    union = areas[0] + areas[1] - w * h
    return float(w * h / union) if union else 0.0


def without_near_duplicates(boxes, areas, predicted_iou, stability):
    """Rows that stay, one after the other: what `near_duplicates` has to come to at 0.8."""
    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: (-predicted_iou[i], -stability[i], i)):
        removed = any(
            stability[k] >= stability[i]
            and box_iou(boxes[k], boxes[i]) > 0.8
            and min(areas[k], areas[i]) >= 0.8 * max(areas[k], areas[i])
            for k in kept
        )
        if not removed:
            kept.append(i)
    return sorted(kept)
