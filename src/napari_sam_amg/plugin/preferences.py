"""What the user set in napari's Preferences for this plugin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from napari_sam_amg.models.registry import EMBEDDED

_DEFAULTS = {"model": EMBEDDED, "device": "auto", "precision": "exact"}
"""What a new widget begins with."""

_FOLDER = "model_folder"


def preferences() -> dict[str, Any]:
    """Return the preferred model, device and precision, by name.

    Usual ones where napari has no such settings (before 0.9), or cannot read them.
    """
    return {name: _preferred(name, usual) for name, usual in _DEFAULTS.items()}


def preferred_model_folder() -> Path | None:
    """Return the folder for fetched models that the user chose; None for the usual one."""
    chosen = str(_preferred(_FOLDER, "")).strip()
    return Path(chosen).expanduser() if chosen else None


def _preferred(name: str, usual: str) -> Any:
    try:
        from napari.settings import get_plugin_settings

        return getattr(get_plugin_settings("napari-sam-amg").defaults, name, usual)
    except (ImportError, KeyError, AttributeError, OSError, ValueError) as error:
        logging.getLogger(__name__).info("no preferences of the plugin: %s", error)
        return usual
