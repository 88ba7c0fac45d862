"""``--link``: objects over slices and tracks over time, of the masks of an image's planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from napari_sam_amg.cli.found import Found, Planar
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
    measure : bool
        Whether the tables have intensities; for them each plane is read once more.
    """

    def __init__(self, linking: Linking, *, measure: bool) -> None:
        self._linking = linking
        self._measure = measure
        self._planes: list[Planar] = []

    def add(self, found: Found) -> None:
        """Take the masks of a plane: over T, and within it over Z."""
        self._planes.append(found.without_pixels())

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
            If the planes cannot be linked or read.
        """
        lengths = dict(zip(stack.axes, stack.shape, strict=True))
        slices = lengths.get("Z", 1)
        linked = self._linked(stack, lengths.get("T", 1), slices)
        labels: npt.NDArray[Any] = linked.to_labels().reshape(-1, *stack.shape[-2:])
        told = {name: value for name, value in linked.provenance.items() if name != "slices"}
        for one, plane in zip(self._planes, labels, strict=True):
            stack.add(one.masks, one.plane.index, linked=plane, linking=told)
        if lengths.get("T", 1) == 1:
            return self._tables_of_volume(linked)  # type: ignore[arg-type]
        return self._tables_of_tracks(linked, slices)  # type: ignore[arg-type]

    def _linked(self, stack: LabelStack, points: int, slices: int) -> Volume | Tracks:
        from napari_sam_amg.linking.steps import finished
        from napari_sam_amg.linking.together import planes_steps

        axes = "YX" if points > 1 and slices == 1 else "ZYX"
        sizes = tuple(stack.pixel_size.get(axis) for axis in axes)
        linked: Volume | Tracks = finished(
            planes_steps(
                [one.masks for one in self._planes],
                points=points,
                link=self._linking.link,
                track=self._linking.track,
                pixel_size=None if None in sizes else sizes,
            )
        )
        return linked

    def _tables_of_volume(self, volume: Volume) -> list[pd.DataFrame]:
        from napari_sam_amg.linking.intensities import object_intensities

        objects, places = volume.features, volume.slice_features
        if not self._measure:
            return [objects, places]
        found = volume.measure_slices(_Pixels(self._planes), channel_names=self._planes[0].names)
        whole = object_intensities(found, places["area"], len(volume))
        return [
            objects.join(whole.drop(columns="label")),
            places.join(found.drop(columns=["label", "slice"])),
        ]

    def _tables_of_tracks(self, tracks: Tracks, slices: int) -> list[pd.DataFrame]:
        import pandas as pd

        from napari_sam_amg.measurements import measure_intensities

        places = tracks.frame_features
        if not self._measure:
            return [tracks.features, places]
        names = self._planes[0].names
        parts = []
        for number, item in enumerate(tracks.frames.items):
            here = self._planes[number * slices : (number + 1) * slices]
            if hasattr(item, "measure_slices"):
                table = item.measure(_Pixels(here), channel_names=names)
            else:
                table = measure_intensities(
                    item.store, here[0].read_channels(), channel_names=names
                )
            parts.append(table.assign(frame=number))
        measured = pd.concat(parts, ignore_index=True)
        return [tracks.features, places.merge(measured, "left", on=["frame", "label"])]


class _Pixels(Sequence[Any]):
    """The pixels of planes, each read when it is asked for."""

    def __init__(self, planes: Sequence[Planar]) -> None:
        self._planes = planes

    def __len__(self) -> int:
        return len(self._planes)

    def __getitem__(self, index: Any) -> Any:
        return self._planes[index].read_channels()
