"""Planes that do not fit into memory: a run that writes its result into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit, PushButton

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.plugin.jobs import computed_as
from napari_sam_amg.plugin.large_run import LargeJob, folder_name, placed_layer
from napari_sam_amg.plugin.section import Host, Section
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Image, Labels

    from napari_sam_amg.large import LargeResult
    from napari_sam_amg.plugin.jobs import Job


class Large(Section):
    """Runs over the whole of an image that is too large to be looked at in memory."""

    title = "Very large image"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.result_folder = FileEdit(
            name="result_folder",
            label="Results in",
            mode=FileDialogMode.EXISTING_DIRECTORY,
            nullable=True,
            tooltip="<qt>A folder. In it, the result has a folder of its own, called after the "
            "image: labels as OME-Zarr, a table, and the masks.</qt>",
        )
        self.run_large = PushButton(
            name="run_large_button",
            text="Run into folder",
            tooltip="<qt>Find all objects in the image at its full resolution, tile by tile, and "
            "write them as they come: nothing is ever in memory as a whole. What was cancelled "
            "goes on when this is pressed again. The thresholds are those of the moment; they do "
            "not act afterwards.</qt>",
        )
        self.measure_large = PushButton(
            name="measure_large",
            text="Measure",
            tooltip="<qt>Add the shape of each mask, and its intensities in every image layer of "
            "the same pixels, to the layer's features; a few rows are read at a time. For a "
            "result that was opened from its folder: Layers &gt; Measure.</qt>",
            enabled=False,
        )
        self._labels: Labels | None = None
        self.rows = [self.result_folder, (self.run_large, self.measure_large)]
        self.run_large.changed.connect(lambda: host.attempt(host.run_large))
        self.measure_large.changed.connect(lambda: host.attempt(self._measure))

    def job(self, make: Callable[[Image | None], Job]) -> LargeJob:
        """Return what is to be done.

        Parameters
        ----------
        make : callable
            Makes the job of a layer at its full resolution.

        Raises
        ------
        ParameterError
            If no folder is chosen, or what is chosen is not for such images.
        SamAmgError
            If the job cannot be made.
        """
        chosen = self.result_folder.value
        if not chosen or str(chosen) == ".":
            raise ParameterError(
                "no folder is chosen: say in Very large image where the result goes"
            )
        job = make(self._host.image)
        if job.region is not None:
            raise ParameterError(
                "a region is not for very large images: choose the whole image in Where"
            )
        if job.look is not None and len(job.look.channels) > 1:
            raise ParameterError(
                "channels as colours are not for very large images: choose 'as it is' in What the "
                "model sees, or open the image in colour"
            )
        return LargeJob(job, Path(str(chosen)) / folder_name(job.plane))

    def show(self, large: LargeJob, result: LargeResult, seconds: float) -> None:
        """Add the layer of a result."""
        from napari.utils.notifications import show_warning

        data, keywords, _ = placed_layer(result, large.job.plane)
        layer = self._host.viewer.add_labels(data, **keywords)
        self._labels, self.measure_large.enabled = layer, True
        used = computed_as(result.provenance, large.job.precision)
        doubt = result.doubt
        more = doubt and f" Warning: {doubt}."
        self._host.say(
            f"{counted(len(result), 'mask')}, in layer {layer.name} and in {result.path}. "
            f"{seconds:.0f} s.{used}{more}"
        )
        if doubt:
            show_warning(f"{large.job.plane.name}: {doubt}.")

    def _measure(self) -> None:
        from napari_sam_amg.plugin.measuring import measure_shown

        gone = (
            "the layer of the result is no longer there: open its folder with File > Open, choose "
            "the layer and take Layers > Measure"
        )
        measure_shown(self._labels, self._host, self.measure_large, gone)
