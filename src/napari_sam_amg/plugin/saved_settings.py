"""Settings of the form as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ParameterError, ReadError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.reading import read_bytes
from napari_sam_amg.models.registry import list_models
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.plugin.panel import CUSTOM

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam_amg.plugin.widget import AmgWidget

_KIND, _VERSION = "napari-sam-amg settings", 1
_MOST_BYTES = 1 << 20
_FIELDS = ("device", "precision", "brightness")


def save_settings(widget: AmgWidget, path: str | Path) -> None:
    """Write what a form says.

    Raises
    ------
    ParameterError
        If the form cannot be used as it is.
    WriteError
        If the file cannot be written; an earlier one stays as it was.
    """
    model = widget.model.value
    values = {
        "kind": _KIND,
        "version": _VERSION,
        "model": str(widget.model_file.value) if model == CUSTOM else model,
        **{name: getattr(widget, name).value for name in _FIELDS},
        "parameters": json.loads(widget.parameters.model_dump_json()),
    }
    with write_file(path) as file:
        file.write((json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def load_settings(widget: AmgWidget, path: str | Path) -> None:
    """Set a form to what `save_settings` wrote.

    Raises
    ------
    ReadError
        If the file is none of ours; the form stays as it is.
    ParameterError
        If a value cannot be used; the form stays as it is.
    """
    values = _read(Path(path))
    parameters = values["parameters"]
    # What an earlier version did not know is as it was then.
    parameters = dict(AmgParameters(**parameters))
    model = values["model"]
    names = [info.name for info in list_models()]
    if model not in names and not Path(model).is_file():
        raise ParameterError(
            f"{path}: the model {model!r} is none of {', '.join(names)}, and no file of that name "
            "is here"
        )
    for name in _FIELDS:
        choices = list(getattr(widget, name).choices)
        if values.get(name, choices[0]) not in choices:
            raise ParameterError(
                f"{path}: {name}={values[name]!r} is not known; choose from {', '.join(choices)}"
            )
    widget.model.value = model if model in names else CUSTOM
    if model not in names:
        widget.model_file.value = model
    for name in _FIELDS:
        if name in values:
            getattr(widget, name).value = values[name]
    widget.set_parameters(parameters)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(read_bytes(path, max_bytes=_MOST_BYTES))
    except (ValueError, RecursionError) as error:
        raise ReadError(f"{path} is no JSON: {error}") from error
    if not isinstance(values, dict) or values.get("kind") != _KIND:
        raise ReadError(f"{path} holds no settings of this widget: save some with Save settings")
    if values.get("version") != _VERSION:
        raise ReadError(
            f"{path} has version {values.get('version')!r} of the settings, this program reads "
            f"{_VERSION}: save them anew"
        )
    if not isinstance(values.get("model"), str) or not isinstance(values.get("parameters"), dict):
        raise ReadError(f"{path}: 'model' (a name) and 'parameters' (an object) are needed")
    return values
