"""What the user set in napari's Preferences for this plugin."""

from __future__ import annotations

import logging
from typing import Any

from napari_sam_amg.models.registry import EMBEDDED

_DEFAULTS = {"model": EMBEDDED, "device": "auto", "precision": "exact"}


def preferences() -> dict[str, Any]:
    """Return the preferred model, device and precision, by name.

    Usual ones where napari has no such settings (before 0.9), or cannot read them.
    """
    try:
        from napari.settings import get_plugin_settings

        chosen = get_plugin_settings("napari-sam-amg").defaults
        return {name: getattr(chosen, name, usual) for name, usual in _DEFAULTS.items()}
    except (ImportError, KeyError, AttributeError, OSError, ValueError) as error:
        logging.getLogger(__name__).info("no preferences of the plugin: %s", error)
        return dict(_DEFAULTS)
