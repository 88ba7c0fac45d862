"""``--link``: objects over slices and tracks over time, of the masks of an image's planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.cli.found import Found
    from napari_sam_amg.cli.link_arguments import Linking
    from napari_sam_amg.formats import LabelStack
    from napari_sam_amg.linking import Tracks, Volume


class Linker:
    """Collects the masks of an image's planes, and links them once all are there.

    Along Z masks become objects, along T objects become tracks. The one plane of an image that
    has neither is a stack of one slice, whose objects are its masks.

    Parameters
    ----------
    linking : Linking
    """

    def __init__(self, linking: Linking) -> None:
        self._linking = linking
        self._found: list[Found] = []

    def add(self, found: Found) -> None:
        """Take the masks of a plane: over T, and within it over Z."""
        self._found.append(found)

    def into(self, stack: LabelStack) -> list[pd.DataFrame]:
        """Link, and add the label images of objects or tracks to a stack.

        Parameters
        ----------
        stack : LabelStack
            Empty; of as many planes as were added.

        Returns
        -------
        list of DataFrame
            A row for each object or track; and one for each of them in each plane, or time point.

        Raises
        ------
        SamAmgError
            If the planes cannot be linked.
        """
        linked = self._linked(stack)
        labels: npt.NDArray[Any] = linked.to_labels().reshape(-1, *stack.shape[-2:])
        for found, plane in zip(self._found, labels, strict=True):
            stack.add(
                found.masks, found.plane.index, linked=plane, linking=_told(linked.provenance)
            )
        places = getattr(linked, "frame_features", None)
        if places is None:
            places = linked.slice_features  # type: ignore[union-attr]
        return [linked.features, places]

    def _linked(self, stack: LabelStack) -> Volume | Tracks:
        from napari_sam_amg.linking import link_and_track, link_slices, track_objects

        lengths = dict(zip(stack.axes, stack.shape, strict=True))
        slices = lengths.get("Z", 1)
        planes = [found.masks for found in self._found]
        sizes = [stack.pixel_size.get(axis) for axis in "ZYX"]
        known: Any = tuple(sizes) if None not in sizes else None
        link, track = self._linking.link, self._linking.track
        if lengths.get("T", 1) == 1:
            return link_slices(planes, pixel_size=known, **link.model_dump())
        if slices == 1:
            flat: Any = tuple(sizes[1:]) if None not in sizes[1:] else None
            return track_objects(planes, pixel_size=flat, **track.model_dump())
        points = [planes[i : i + slices] for i in range(0, len(planes), slices)]
        return link_and_track(points, link=link, track=track, pixel_size=known)


def _told(provenance: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the planes' own records say."""
    return {name: value for name, value in provenance.items() if name != "slices"}
