"""The file of settings that napari's widget saves and the command line takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.reading import read_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

FIELDS = ("device", "precision", "brightness")
"""What a file holds besides the model and its parameters."""

_KIND, _VERSION = "napari-sam-amg settings", 1
_MOST_BYTES = 1 << 20
_KEYS = {"kind", "version", "model", "parameters", "linking", *FIELDS}
_LINKING = {"link", "track"}


def write_settings(values: Mapping[str, Any], path: str | Path) -> None:
    """Write settings.

    Parameters
    ----------
    values : mapping
        ``model`` (a name or a path), ``parameters`` (by name), ``linking`` (those of
        `LinkParameters` as ``link`` and of `TrackParameters` as ``track``) and `FIELDS`; JSON.
    path : path

    Raises
    ------
    WriteError
        If the file cannot be written; an earlier one stays as it was.
    """
    content = {"kind": _KIND, "version": _VERSION, **values}
    with write_file(path) as file:
        file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_settings(path: str | Path, *, strict: bool = False) -> dict[str, Any]:
    """Read settings.

    Parameters
    ----------
    path : path
    strict : bool
        Refuse what is not known, which may have been written by a later version or be a
        misspelt name.

    Returns
    -------
    dict
        ``model``, a text; ``parameters``, a dict; if they are there, ``linking`` with dicts
        ``link`` and ``track``, and those of `FIELDS`. Values in dicts are not checked.

    Raises
    ------
    ReadError
        If the file cannot be read or is no such file.
    """
    try:
        values = json.loads(read_bytes(Path(path), max_bytes=_MOST_BYTES))
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
    linking = values.get("linking", {})
    known = isinstance(linking, dict) and set(linking) <= _LINKING
    if not known or not all(isinstance(part, dict) for part in linking.values()):
        raise ReadError(f"{path}: 'linking' holds objects 'link' and 'track' and nothing else")
    unknown = sorted(set(values) - _KEYS)
    if strict and unknown:
        raise ReadError(
            f"{path} holds {', '.join(unknown)}, which means nothing here; known are "
            f"{', '.join(sorted(_KEYS))}, and parameters by name within 'parameters'"
        )
    return values
