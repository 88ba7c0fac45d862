"""``--config``: the settings that napari's widget saved, beneath the flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_sam_amg.cli.link_arguments import LINKING
from napari_sam_amg.errors import ParameterError
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.settings_file import read_settings

_CHOICES = {
    "device": None,
    "precision": ("exact", "fast"),
    "brightness": ("plane", "stack", "layer"),
}
_NO_FLAG = ("output_mode",)


def apply_config(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what a file of settings says, where no flag says otherwise.

    Parameters
    ----------
    values : dict
        Of the parsed flags, None where they were not given; ``model_type``, ``checkpoint``,
        ``device``, ``precision`` and ``brightness`` are filled in.

    Returns
    -------
    dict
        All parameters of the file, by name; what it leaves out has its default, as where the
        widget loads it. Empty without a file.

    Raises
    ------
    ReadError
        If it cannot be read, or holds what is not known.
    ParameterError
        If a value cannot be used.
    """
    path = values["config"]
    if path is None:
        return {}
    found = read_settings(path, strict=True)
    for name, choices in _CHOICES.items():
        value = found.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or (choices and value not in choices):
            raise ParameterError(
                f"--config {path}: {name}={value!r} is not known"
                + (f"; choose from {', '.join(choices)}" if choices else "")
            )
        if values[name] is None:
            values[name] = value
    if values["brightness"] == "layer" and not values["contrast"]:
        raise ParameterError(
            f"--config {path} takes the brightness as the layer in napari shows it, which no file "
            "of settings holds: give --contrast LO HI, or --brightness stack or plane"
        )
    if values["model_type"] is None and values["checkpoint"] is None:
        values["checkpoint" if _is_file(found["model"]) else "model_type"] = found["model"]
    try:
        parameters = dict(AmgParameters(**found["parameters"]))
        for kind, model in LINKING.items():
            part = model(**found.get("linking", {}).get(kind, {}))
            if values["link"]:
                for name, value in part:
                    values.setdefault(f"{kind}_{name}", value)
    except ParameterError as error:
        raise ParameterError(f"--config {path}: {error}") from None
    return {name: value for name, value in parameters.items() if name not in _NO_FLAG}


def _is_file(model: str) -> bool:
    from napari_sam_amg.models import list_models

    return model not in {info.name for info in list_models()} and Path(model).is_file()
