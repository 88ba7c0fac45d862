"""Settings of the form as a JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.linking.parameters import LinkParameters, TrackParameters
from napari_sam_amg.models.registry import list_models
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.plugin.panel import CUSTOM
from napari_sam_amg.settings_file import FIELDS, read_settings, write_settings

if TYPE_CHECKING:
    from napari_sam_amg.plugin.widget import AmgWidget


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
        "model": str(widget.model_file.value) if model == CUSTOM else model,
        **{name: getattr(widget, name).value for name in FIELDS},
        "parameters": json.loads(widget.parameters.model_dump_json()),
        "linking": {name: part.model_dump() for name, part in widget.linking.items()},
    }
    write_settings(values, path)


def load_settings(widget: AmgWidget, path: str | Path) -> None:
    """Set a form to what `save_settings` wrote.

    Raises
    ------
    ReadError
        If the file is none of ours; the form stays as it is.
    ParameterError
        If a value cannot be used; the form stays as it is.
    """
    values = read_settings(path)
    parameters = values["parameters"]
    # What an earlier version did not know is as it was then.
    parameters = dict(AmgParameters(**parameters))
    parts = values.get("linking", {})
    linking = {
        "link": LinkParameters(**parts.get("link", {})),
        "track": TrackParameters(**parts.get("track", {})),
    }
    model = values["model"]
    names = [info.name for info in list_models()]
    if model not in names and not Path(model).is_file():
        raise ParameterError(
            f"{path}: the model {model!r} is none of {', '.join(names)}, and no file of that name "
            "is here"
        )
    for name in FIELDS:
        choices = list(getattr(widget, name).choices)
        if values.get(name, choices[0]) not in choices:
            raise ParameterError(
                f"{path}: {name}={values[name]!r} is not known; choose from {', '.join(choices)}"
            )
    widget.model.value = model if model in names else CUSTOM
    if model not in names:
        widget.model_file.value = model
    for name in FIELDS:
        if name in values:
            getattr(widget, name).value = values[name]
    widget.set_parameters(parameters)
    widget.linking = linking
