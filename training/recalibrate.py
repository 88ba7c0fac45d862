"""Make a model's own scores mean what they say, without training: its masks stay as they are.

    python training/recalibrate.py DATA/train --fold 7 --steepness 8 --output CALIBRATED.pt
    python training/export.py CALIBRATED.pt --recommended ...

Three layers are changed. The last layer of the head that predicts IoU is scaled and shifted, the
same for all masks, so that on the held-out fold the mean true IoU of candidates is what it says
(Platt's scaling: the order of candidates stays). The last layers of the
hypernetworks are multiplied, and with them all mask logits: their sign, and so the masks, stay,
while stability, which asks how many pixels change sides when the threshold moves by 1, rises.
The first layer that sees logits as a prompt (``use_m2m``) is divided by as much. With
``multimask_output=False`` sam2 chooses by a stability of its own, whose
`Architecture.stability_delta` has to be multiplied too.

Candidates are those of the grid and of the prompts where the model sees objects, each weighing
as much; true is the IoU with the object under the prompt, 0 on the background.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from candidates import Candidates
from held_out import add_arguments, make_generator, names_of, refuse_validation, scenes, start
from napari_sam_amg.models.registry import EMBEDDED, embedded_card
from reliability import Reliability

if TYPE_CHECKING:
    import numpy.typing as npt

    from napari_sam_amg import AutomaticMaskGenerator

    Column = npt.NDArray[np.float64]

log = logging.getLogger("recalibrate")

IOU_HEAD = "sam_mask_decoder.iou_prediction_head.layers.2."
HYPERNETWORKS = "sam_mask_decoder.output_hypernetworks_mlps."
HINTS = "sam_prompt_encoder.mask_downscaling.0.weight"
_EDGE = 1e-6


def logit(probability: Column) -> Column:
    """Return the value whose sigmoid is `probability`, which is kept from 0 and 1."""
    from scipy.special import logit as exact

    found: Column = exact(np.clip(probability, _EDGE, 1 - _EDGE))
    return found


def fit(predicted: Column, true: Column, weights: Column) -> tuple[float, float]:
    """Return scale and shift of the predicted values' logits that fit the true values best.

    By cross-entropy, whose minimum over all functions of the predicted value is the mean true
    value at it. The scale is positive.

    Parameters
    ----------
    predicted, true, weights : ndarray, float64, N
        Both values 0 to 1.

    References
    ----------
    J. Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    from scipy.optimize import minimize

    x = logit(predicted)
    weights = weights / weights.sum()

    def loss(values: Column) -> float:
        z = np.exp(values[0]) * x + values[1]
        return float((weights * (np.logaddexp(0, z) - true * z)).sum())

    found = minimize(loss, np.zeros(2), method="Nelder-Mead").x
    return float(np.exp(found[0])), float(found[1])


def changed(
    weights: dict[str, torch.Tensor], scale: float, shift: float, steepness: float
) -> dict[str, torch.Tensor]:
    """Return the weights of a model with other scores and the same masks.

    But for sam2's bounds of -32 and 32 on logits that are a prompt: they are now met earlier.

    Parameters
    ----------
    weights : dict
        State dict of a SAM 2 whose predicted IoU goes through a sigmoid.
    scale, shift : float
        Of the predicted IoU's logit.
    steepness : float
        What mask logits are multiplied by.
    """
    out = {name: tensor.clone() for name, tensor in weights.items()}
    for part in ("weight", "bias"):
        out[IOU_HEAD + part] *= scale
    out[IOU_HEAD + "bias"] += shift
    for name in out:
        if name.startswith(HYPERNETWORKS) and ".layers.2." in name:
            out[name] *= steepness
    out[HINTS] /= steepness
    return out


def collect(
    generator: AutomaticMaskGenerator, data: Path, names: list[str]
) -> tuple[Column, Column, Column]:
    """Return predicted and true IoU and weight of every candidate of the images."""
    ways = ["grid"] + ["objects"] * generator.info.object_head
    columns = []
    for way in ways:
        asked = generator.configured(**generator.parameters.model_dump() | {"prompts": way})
        parts = []
        for scene in scenes(data, names):
            proposals = asked.propose(scene.image, name=scene.name)
            found = Candidates.of(proposals, scene.labels)
            parts.append((found.predicted, found.own))
        predicted, true = (np.concatenate(part) for part in zip(*parts, strict=True))
        columns.append((predicted, true, np.full(len(true), 1 / len(true))))
    first, second, third = (np.concatenate(part) for part in zip(*columns, strict=True))
    return first, second, third


def main() -> None:
    """Fit on the fold, say what changes, and write the new weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--steepness", type=float, default=1.0, help="factor of mask logits")
    parser.add_argument("--output", type=Path, required=True, help="checkpoint for export.py")
    arguments = parser.parse_args()
    start(arguments)
    refuse_validation(arguments.data)
    generator = make_generator(arguments)
    names = names_of(arguments.data, arguments.fold, arguments.every)
    predicted, true, weights = collect(generator, arguments.data, names)
    scale, shift = fit(predicted, true, weights)
    after = 1 / (1 + np.exp(-(scale * logit(predicted) + shift)))
    for name, values in (("before", predicted), ("after", after)):
        log.info("calibration error %s: %.3f", name, Reliability.of(values, true).error)
    log.info("the logit of predicted IoU times %.3f, plus %.3f", scale, shift)
    model = {k: v.float() for k, v in generator.model.state_dict().items()}
    made = changed(model, scale, shift, arguments.steepness)
    # Of a model that was calibrated before, logits are steeper already.
    steepness = arguments.steepness
    if generator.info.name == EMBEDDED:
        steepness *= embedded_card()["training"].get("steepness", 1.0)
    torch.save({"average": made, "step": None, "steepness": steepness}, arguments.output)
    log.info("wrote %s", arguments.output)


if __name__ == "__main__":
    main()
