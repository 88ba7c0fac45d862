"""Turn a training checkpoint into the embedded model: float16 weights and a JSON card.

    python training/export.py RUN/checkpoint.pt --recommended '{"pred_iou_thresh": 0.5}'

Matrices are stored as float16, small tensors as float32; both are read back as float32, so
a loaded model is exactly what this script wrote.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from napari_sam_amg.masks.doubt import RULE, is_rule
from napari_sam_amg.models.architecture import ARCHITECTURES, build, has_object_head
from napari_sam_amg.models.profiles import InputProfile
from napari_sam_amg.parameters import AmgParameters

log = logging.getLogger("export")
NAME = "nuclei-nano"
MAX_BYTES = 10_000_000
SMALL = 4096
"""Tensors of at most this many numbers keep float32: they cost nothing and matter most."""

PROFILE = {
    "resize": "stretch",
    "percentiles": [0.1, 99.9],
    "map_uint8": True,
    "object_diameter": 40.0,
}
CARD = {
    "name": NAME,
    "title": "nuclei-nano (embedded)",
    "description": "A small SAM 2 for cell nuclei in fluorescence and stained tissue, which comes "
    "with the package and needs no download.",
    "notes": "For nuclei only. Not Meta's weights, and no measure of them.",
    "license": "BSD-3-Clause; trained on CC0 data",
}


def warn_of_steepness(steepness: float) -> None:
    """Say if sam2 would take another mask than in training where it is asked for a single one."""
    delta = ARCHITECTURES[NAME].stability_delta
    if abs(0.05 * steepness - delta) > 1e-9:
        log.warning(
            "logits were multiplied by %g: with multimask_output off masks differ from those in "
            "training, unless stability_delta of the architecture is %g (it is %g)",
            steepness,
            0.05 * steepness,
            delta,
        )


def read_weights(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], int | None, float]:
    """Read a checkpoint's weights, the step of the training if it says so, and the steepness.

    `kind` is "average" for the running mean over steps, better once training has slowed
    down, or "last" for the weights of the last step, better while it learns fast.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    step = None if state.get("step") is None else int(state["step"])
    steepness = float(state.get("steepness", 1))
    if kind == "average":
        return state["average"], step, steepness
    prefix = "model."
    trained = state["trainee"].items()  # the auxiliary heads of training stay behind
    weights = {k.removeprefix(prefix): v for k, v in trained if k.startswith(prefix)}
    return weights, step, steepness


def compress(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Store matrices as float16; refuse what does not survive it."""
    out = {}
    for name, tensor in weights.items():
        dtype = torch.float32 if tensor.numel() <= SMALL or tensor.ndim < 2 else torch.float16
        stored = tensor.detach().to(dtype).contiguous()
        if not bool(torch.isfinite(stored).all()):
            raise SystemExit(f"{name} has values that are not finite in {dtype}")
        out[name] = stored
    return out


def export(
    weights: dict[str, torch.Tensor],
    folder: Path,
    *,
    recommended: dict[str, Any],
    profile: dict[str, Any],
    doubt: dict[str, float] | None,
    figures: dict[str, Any],
    training: dict[str, Any],
) -> dict[str, Any]:
    """Write ``nuclei-nano.safetensors`` and ``nuclei-nano.json`` into `folder`.

    Parameters
    ----------
    weights : dict
        State dict of the model that ``ARCHITECTURES["nuclei-nano"]`` builds.
    folder : Path
        Made if it is missing.
    recommended : dict
        Parameters of automatic mask generation; checked.
    profile : dict
        Fields of `InputProfile`; checked.
    doubt : dict or None
        Which results deserve doubt, as `napari_sam_amg.masks.doubt` reads it.
    figures, training : dict
        What was measured, and how the model was made.

    Returns
    -------
    dict
        The card.
    """
    build(ARCHITECTURES[NAME], object_head=has_object_head(weights)).load_state_dict(weights)
    offset = AmgParameters(**recommended).stability_score_offset
    InputProfile.from_json(profile)
    if doubt is not None and not is_rule(doubt):
        raise SystemExit(f"doubt={doubt!r}: give a number for each of {', '.join(RULE)}")
    if doubt is not None and doubt["stability_score_offset"] != offset:
        raise SystemExit(
            f"doubt is for stability_score_offset {doubt['stability_score_offset']}, and {offset} "
            "is recommended: no result would ever be doubted"
        )
    data = safetensors.torch.save(compress(weights), metadata={"architecture": NAME})
    if len(data) > MAX_BYTES:
        raise SystemExit(f"{len(data)} bytes are more than the {MAX_BYTES} that fit the wheel")
    card = {
        **CARD,
        "architecture": NAME,
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "object_head": has_object_head(weights),
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "profile": profile,
        "recommended": recommended,
        "doubt": doubt,
        "figures": figures,
        "training": training,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.safetensors").write_bytes(data)
    text = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
    (folder / f"{NAME}.json").write_text(text, encoding="utf-8")
    return card


def _json(text: str) -> dict[str, Any]:
    """Read an argument that is a JSON object, or the path of a file that holds one."""
    value = json.loads(text if text.lstrip().startswith("{") else Path(text).read_text("utf-8"))
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("not a JSON object")
    return value


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt of train.py")
    parser.add_argument("--weights", choices=("average", "last"), default="average")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).parents[1] / "src" / "napari_sam_amg" / "models" / "data",
    )
    for name, default, text in (
        ("recommended", {}, "AMG parameters"),
        ("profile", PROFILE, "input profile"),
        ("doubt", None, "which results deserve doubt"),
        ("figures", {}, "measured figures"),
        ("training", {}, "how it was trained"),
    ):
        parser.add_argument(
            f"--{name}", type=_json, default=default, metavar="JSON", help=f"{text}, or a file"
        )
    return parser.parse_args()


def main() -> None:
    """Export, and say what was written."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = parse_arguments()
    weights, step, steepness = read_weights(arguments.checkpoint, arguments.weights)
    warn_of_steepness(steepness)
    card = export(
        weights,
        arguments.output,
        recommended=arguments.recommended,
        profile=arguments.profile,
        doubt=arguments.doubt,
        figures=arguments.figures,
        training={"steps": step, "steepness": steepness, **arguments.training},
    )
    log.info("wrote %s: %d bytes, sha256 %s", NAME, card["size_bytes"], card["sha256"])


if __name__ == "__main__":
    main()
