"""Slices and time points: which axes they lie along, and how what is found is linked."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import CheckBox, PushButton

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.linking.parameters import LinkParameters, TrackParameters
from napari_sam_amg.masks.doubt import doubt_of_planes
from napari_sam_amg.plugin.form import make_field
from napari_sam_amg.plugin.jobs import computed_as
from napari_sam_amg.plugin.layout import show_row
from napari_sam_amg.plugin.planes import level_data, shown_axes
from napari_sam_amg.plugin.section import Host, Section
from napari_sam_amg.plugin.stack_axes import NAMES, NONE, axes_of, axis_field
from napari_sam_amg.plugin.stack_layers import show_stack
from napari_sam_amg.plugin.stack_run import StackJob
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from magicgui.widgets.bases import BaseValueWidget
    from napari.layers import Image, Labels

    from napari_sam_amg.parameters import ParameterSet
    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.stack_run import LinkedStack


class Stacks(Section):
    """Runs over all slices and time points of the image, and links what is found."""

    title = "Stack (z, t)"

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.z_axis = axis_field(
            "z_axis",
            "Slices",
            "Masks of the slices along this axis are linked into objects in three dimensions.",
        )
        self.t_axis = axis_field(
            "t_axis", "Time", "Objects are followed along this axis, and become tracks."
        )
        self.link = _fields(LinkParameters, "link_")
        self.track = _fields(TrackParameters, "track_")
        self.same_brightness = CheckBox(
            name="same_brightness",
            text="Same brightness in all planes",
            value=True,
            tooltip="<qt>Where brightness is as in training: by percentiles of the whole stack, "
            "so that slices with little in them stay dark. Otherwise by those of each plane, "
            "such as for a series that fades.</qt>",
        )
        self.run_stack = PushButton(
            name="run_stack_button",
            text="Run stack",
            tooltip="<qt>Find all objects in every slice and time point, and link them. What is "
            "kept is decided by the thresholds as they are now.</qt>",
        )
        self.link_again = PushButton(
            name="link_again",
            text="Link again",
            enabled=False,
            tooltip="<qt>Link the masks of the last stack anew, with other settings; the model "
            "is not asked again.</qt>",
        )
        self.rows = [self.z_axis, *self.link.values(), self.t_axis, *self.track.values()]
        self.measure_stack = PushButton(
            name="measure_stack",
            text="Measure",
            enabled=False,
            tooltip="<qt>Add columns to the features table of the objects, or tracks: intensities "
            "of the pixels that are drawn now, in every image layer that has the same pixels in "
            "the same place.</qt>",
        )
        buttons = (self.run_stack, self.link_again, self.measure_stack)
        self.rows += [self.same_brightness, buttons]
        self._last: LinkedStack | None = None
        self._labels: Labels | None = None
        self.z_axis.changed.connect(self._axes_changed)
        self.t_axis.changed.connect(self._axes_changed)
        self.run_stack.changed.connect(lambda: host.attempt(host.run_stack))
        self.link_again.changed.connect(lambda: host.attempt(host.relink_stack))
        self.measure_stack.changed.connect(lambda: host.attempt(self._measure))
        host.image_changed.connect(self._image_changed)

    # -- fields -----------------------------------------------------------------------

    def laid_out(self) -> None:
        """Offer the axes of the image."""
        self._image_changed()

    def _image_changed(self) -> None:
        layer = self._host.image
        axes = [] if layer is None else axes_of(layer, self._host)
        for field, role in ((self.z_axis, "z"), (self.t_axis, "t")):
            named = [axis for name, axis in axes if name.split(" ")[0].lower() in NAMES[role]]
            before = field.value
            choices: list[tuple[str, Any]] = [("none", NONE), *axes]
            with field.changed.blocked():
                field.choices = choices
                known = [axis for _, axis in axes]
                field.value = named[0] if named else before if before in known else NONE
        self._axes_changed()

    def _axes_changed(self, _: object = None) -> None:
        for field, fields in ((self.z_axis, self.link), (self.t_axis, self.track)):
            for other in fields.values():
                show_row(other, shown=field.value != NONE)

    @property
    def linking(self) -> dict[str, Any]:
        """How to link and to track, as ``link`` and ``track``; ParameterError if it cannot be."""
        return {
            "link": LinkParameters(**_values(self.link)),
            "track": TrackParameters(**_values(self.track)),
        }

    @linking.setter
    def linking(self, values: Mapping[str, ParameterSet]) -> None:
        for fields, given in ((self.link, values["link"]), (self.track, values["track"])):
            for name, value in given:
                fields[name].value = value

    # -- runs -------------------------------------------------------------------------

    def job(self, make: Callable[[Image | None, Mapping[int, int]], Job]) -> StackJob:
        """Return what is to be done for the whole stack.

        Parameters
        ----------
        make : callable
            Makes the job of one plane, from a layer and the plane's places along its axes.

        Raises
        ------
        ParameterError
            If no axis is chosen, or one twice.
        SamAmgError
            If a plane's job cannot be made.
        """
        layer = self._host.image
        z, t = (None if f.value == NONE else int(f.value) for f in (self.z_axis, self.t_axis))
        if z is None and t is None:
            raise ParameterError(
                "no axis is chosen: say in Stack (z, t) along which axis slices or time points lie"
            )
        if z == t:
            raise ParameterError("slices and time points cannot lie along the same axis")
        if layer is None or (set(self._shown(layer)) & {z, t}):
            raise ParameterError(
                "the viewer shows the chosen axis: turn its axes so that a slice is displayed"
            )
        shape = level_data(layer).shape
        lengths = [1 if axis is None else shape[axis] for axis in (t, z)]
        jobs = []
        for places in itertools.product(*map(range, lengths)):
            at = {axis: n for axis, n in zip((t, z), places, strict=True) if axis is not None}
            job = make(layer, at)
            if self.same_brightness.value and job.look and job.look.brightness == "plane":
                job = replace(job, look=replace(job.look, brightness="stack"))
            jobs.append(job)
        return StackJob(
            tuple(jobs),
            z=z,
            t=t,
            slices=lengths[1],
            **self.linking,
        )

    def again(self) -> LinkedStack:
        """Return the last stack with the linking as it is set now; ParameterError if none."""
        if self._last is None:
            raise ParameterError("no stack was run yet: press Run stack")
        job = replace(
            self._last.job,
            **self.linking,
        )
        return replace(self._last, job=job)

    def show(self, found: LinkedStack) -> None:
        """Show what was found, and keep its masks for linking again."""
        from napari.utils.notifications import show_warning

        again = self._last is not None and self._last.masks is found.masks
        self._last = found
        self.link_again.enabled = True
        labels, tracks = show_stack(found, self._host.viewer)
        self._labels, self.measure_stack.enabled = labels, True
        what = counted(len(found.linked), "object" if found.job.t is None else "track")
        words = f"{what} in {counted(len(found.masks), 'plane')}"
        words += f" of {len(found.job.jobs)}" if found.partial else ""
        if found.job.t is not None and tracks is None and len(found.linked):
            words += "; no Tracks layer: napari shows one for axes in the order t, (z,) y, x"
        # The first planes are often empty: what is not there yet is no news.
        doubts = [m.doubt if len(m) or not found.partial else "" for m in found.masks]
        doubt = doubt_of_planes(doubts)
        more = doubt and f" Warning: {doubt}."
        used = computed_as(found.masks[0].provenance, found.job.first.precision)
        self._host.say(f"{words}, in layer {labels.name}.{used}{more}")
        if doubt and not again:
            show_warning(f"{found.job.first.plane.name}: {doubt}.")

    def _measure(self) -> None:
        from napari_sam_amg.plugin.measuring import measure_shown

        gone = "the objects' layer is no longer there: press Link again"
        measure_shown(self._labels, self._host, self.measure_stack, gone)

    def _shown(self, layer: Image) -> list[int]:
        return shown_axes(layer, self._host.viewer)


def _fields(model: type[ParameterSet], prefix: str) -> dict[str, BaseValueWidget[Any]]:
    """Make a field for each parameter, by its name."""
    return {name: make_field(name, value, model=model, prefix=prefix) for name, value in model()}


def _values(fields: Mapping[str, BaseValueWidget[Any]]) -> dict[str, Any]:
    return {name: field.value for name, field in fields.items()}
