"""Masks of slices linked into objects in three dimensions, and time points into tracks.

Names are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam_amg._lazy import attach

if TYPE_CHECKING:
    from napari_sam_amg.linking.parameters import LinkParameters, TrackParameters
    from napari_sam_amg.linking.slices import link_slices, link_steps
    from napari_sam_amg.linking.steps import LinkStep
    from napari_sam_amg.linking.together import link_and_track, link_and_track_steps
    from napari_sam_amg.linking.tracking import track_objects, track_steps
    from napari_sam_amg.linking.tracks import Tracks
    from napari_sam_amg.linking.volume import Volume

_HOMES = {
    "LinkParameters": "parameters",
    "LinkStep": "steps",
    "TrackParameters": "parameters",
    "Tracks": "tracks",
    "Volume": "volume",
    "link_and_track": "together",
    "link_and_track_steps": "together",
    "link_slices": "slices",
    "link_steps": "slices",
    "track_objects": "tracking",
    "track_steps": "tracking",
}

__all__ = [
    "LinkParameters",
    "LinkStep",
    "TrackParameters",
    "Tracks",
    "Volume",
    "link_and_track",
    "link_and_track_steps",
    "link_slices",
    "link_steps",
    "track_objects",
    "track_steps",
]

__getattr__ = attach(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
