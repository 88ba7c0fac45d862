"""The dock widget "Automatic mask generation"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container
from psygnal import Signal

from napari_sam_amg.errors import ImageError, ParameterError, SamAmgError
from napari_sam_amg.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import napari.viewer
    from magicgui.widgets.bases import BaseValueWidget
    from napari.layers import Image, Labels
    from napari.qt.threading import GeneratorWorker

    from napari_sam_amg.masks import Masks, Proposals
    from napari_sam_amg.models.profiles import InputProfile
    from napari_sam_amg.parameters import AmgParameters
    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.tuning import Result


class AmgWidget(Container[Any]):
    """Find every object in an image layer, and tune what is kept of them.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where images are taken from and results are shown.

    Attributes
    ----------
    image_layer, model, device, precision, preset : magicgui widgets
        What is looked at, and with what. Every parameter of `AmgParameters` is an
        attribute too, by its name: ``widget.points_per_side.value = 16``.
    """

    image_changed = Signal()
    result_changed = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(labels=False)
        self._viewer = viewer
        # What it is made of is imported when it is opened: napari's start waits for nothing.
        from napari_sam_amg.plugin.assembly import assemble
        from napari_sam_amg.plugin.results import Results
        from napari_sam_amg.plugin.session import Session

        self._session, self._results = Session(), Results(viewer)
        parts = assemble(self, self._session, self._found, self._settings_changed)
        self._sections, self._panel = parts.sections, parts.panel
        self._runner, self._settings = parts.runner, parts.settings
        self._named, self._stacks, self._large = parts.named, parts.stacks, parts.large
        self.margins = (0, 0, 0, 0)
        # napari leaves room below a widget that does not want it.
        self.native.setSizePolicy(self._panel.native.sizePolicy())
        self.native.layout().addWidget(self._panel.native)
        self._connect()
        self._watching = parts.watch(self.native, self._taken_out)
        self.say("Choose an image and press Run.")

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("_named", {})
        return named[name] if name in named else super().__getattr__(name)

    def _connect(self) -> None:
        self.image_layer.changed.connect(self._image_chosen)
        self._panel.run_button.changed.connect(lambda: self.attempt(self.run))
        self._panel.all_button.changed.connect(lambda: self.attempt(self.apply_to_all))
        self._panel.cancel_button.changed.connect(lambda: self.cancel())
        self._panel.keep_button.changed.connect(lambda: self.cancel(keep=True))

    def _settings_changed(self, live: bool) -> None:
        if live:
            self._retune()
        elif self.result is not None:
            self.say("Press Run to use the new settings.")

    @property
    def viewer(self) -> napari.viewer.Viewer:
        """The viewer that the widget belongs to."""
        return self._viewer

    @property
    def image(self) -> Image | None:
        """The image layer that is chosen."""
        layer: Image | None = self.image_layer.value
        return layer

    @property
    def result(self) -> Result | None:
        """Of the last complete run."""
        return self._results.current

    @property
    def profile(self) -> InputProfile:
        """How the chosen model wants to see images; the usual one for a file of one's own."""
        return self._settings.profile

    @property
    def input_size(self) -> int:
        """Side of the chosen model's square input, in pixels; sam2's for a file of one's own."""
        return self._settings.input_size

    def save_settings(self, path: str | Path) -> None:
        """Write what the form says to a JSON file; see `load_settings`."""
        from napari_sam_amg.plugin.saved_settings import save_settings

        save_settings(self, path)

    def load_settings(self, path: str | Path) -> None:
        """Set the form to what `save_settings` wrote; SamAmgError if it cannot be used."""
        from napari_sam_amg.plugin.saved_settings import load_settings

        load_settings(self, path)

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Set parameters as the user would, by their names."""
        self._settings.set_by_user(values)

    @property
    def linking(self) -> dict[str, Any]:
        """How a stack is linked: `LinkParameters` as ``link``, `TrackParameters` as ``track``."""
        return self._stacks.linking

    @linking.setter
    def linking(self, values: Mapping[str, Any]) -> None:
        self._stacks.linking = values

    def parameter_field(self, name: str) -> BaseValueWidget[Any]:
        """Return the field of a parameter, by its name."""
        return self._panel.fields[name]

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        self._panel.say(text)

    @property
    def labels_layer(self) -> Labels | None:
        """The layer that shows the result; None until one is complete."""
        return self.result.layer if self.result is not None else None

    @property
    def proposals(self) -> Proposals | None:
        """Every candidate of the last complete run."""
        return self.result.proposals if self.result is not None else None

    @property
    def _worker(self) -> GeneratorWorker[Any, Any, Any] | None:
        return self._runner.worker

    @property
    def parameters(self) -> AmgParameters:
        """What the form says; ParameterError if it cannot be used."""
        return self._settings.parameters

    def run(self) -> GeneratorWorker[Any, Any, Any]:
        """Start finding masks.

        Returns
        -------
        GeneratorWorker
            Already started.

        Raises
        ------
        SamAmgError
            If it cannot start: no image, wrong parameters, or a run is on already.
        """
        return self._runner.start([self._job(self.image)])

    def apply_to_all(self) -> GeneratorWorker[Any, Any, Any]:
        """Start finding masks in every image layer, with the same settings.

        Each gets a layer of its own. A fault in one does not end the others.

        Returns
        -------
        GeneratorWorker
            Already started.

        Raises
        ------
        SamAmgError
            As `run`.
        """
        from napari_sam_amg.plugin.choice import image_layers
        from napari_sam_amg.plugin.layers import PREVIEW

        jobs: list[Job] = []
        faults: list[SamAmgError] = []
        for layer in image_layers(self._viewer) or [None]:
            if layer is not None and PREVIEW in layer.metadata:
                continue
            try:
                jobs.append(self._job(layer))
            except SamAmgError as error:
                faults.append(error)
        if not jobs:
            raise faults[0]
        return self._runner.start(jobs, [str(error) for error in faults])

    def run_stack(self) -> GeneratorWorker[Any, Any, Any]:
        """Start finding masks in all slices and time points of the image, and link them.

        Which axes these lie along, and how they are linked, says the group Stack.

        Returns
        -------
        GeneratorWorker
            Already started.

        Raises
        ------
        SamAmgError
            As `run`, or if no axis is chosen.
        """
        return self._runner.start_stack(self._stacks.job(self._job), self._stacks.show)

    def run_large(self) -> GeneratorWorker[Any, Any, Any]:
        """Start finding masks in the image at its full resolution, tile by tile, into a folder.

        Which folder, says the group Very large image. A run that was ended goes on.

        Returns
        -------
        GeneratorWorker
            Already started; returns a `LargeResult`, or None if it was cancelled.

        Raises
        ------
        SamAmgError
            As `run`, or if no folder is chosen.
        """
        large = self._large.job(lambda layer: self._job(layer, finest=True))
        return self._runner.start_large(large, self._large.show)

    def relink_stack(self) -> GeneratorWorker[Any, Any, Any]:
        """Start linking the masks of the last stack anew, with the settings as they are."""
        return self._runner.start_linking(self._stacks.again(), self._stacks.show)

    def cancel(self, keep: bool = False) -> None:
        """End the run that is on, if any; with `keep`, show what it has found so far."""
        self._runner.cancel(keep=keep)

    def free_memory(self) -> None:
        """Unload the model and forget the encoder's output; results stay."""
        self._session.free_memory()

    def _job(
        self, layer: Image | None, at: Mapping[int, int] | None = None, *, finest: bool = False
    ) -> Job:
        from napari_sam_amg.plugin.jobs import Job, check_size
        from napari_sam_amg.plugin.planes import displayed_plane
        from napari_sam_amg.plugin.preferences import preferred_model_folder

        if layer is None:
            raise ImageError("there is no image layer: open an image first (File > Open)")
        try:
            plane = displayed_plane(layer, self._viewer, at=at)
        except SamAmgError:
            raise
        except Exception as error:  # layers may compute anything
            raise ImageError(
                f"layer {layer.name!r} cannot be read: {type(error).__name__}: {error}; check "
                "that its data is still there"
            ) from error
        job = Job(
            plane=plane,
            model=self._panel.chosen_model(),
            device=self.device.value,
            precision=self.precision.value,
            parameters=dict(self.parameters),
            model_folder=preferred_model_folder(),
            at=dict(at or {}),
            finest=finest,
        )
        for section in self._sections:
            job = section.prepare(job)
        return check_size(job)

    def _taken_out(self) -> None:
        self.cancel(keep=True)
        for section in self._sections:
            section.close()

    def attempt(self, run: Callable[[], object]) -> None:
        """Do what was clicked; what goes wrong is said and shown."""
        from napari.utils.notifications import show_error

        try:
            run()
        except Exception as error:  # noqa: BLE001 - layers may compute anything
            known = isinstance(error, SamAmgError)
            text = str(error) if known else f"{type(error).__name__}: {error}"
            self.say(text)
            show_error(text)

    def _found(self, job: Job, found: Proposals) -> None:
        from napari.utils.notifications import show_warning

        from napari_sam_amg.plugin.jobs import computed_as

        result = self._results.add(job.plane, found)
        # The form may say by now what another image's result is shown with.
        own = job.plane.layer is self.image
        thresholds = self._settings.thresholds if own else job.parameters
        masks = result.show(**{name: thresholds[name] for name in self._settings.live})
        self.result_changed.emit()  # such as for labels that are to be kept
        # The sliders tune the chosen image's own result, whatever else was run.
        if not self._results.choose(self.image):
            self._results.current = result
        more = f" {self._runner.seconds:.0f} s."
        self._shown(masks, result, more + computed_as(found.provenance, job.precision))
        if result.doubt:
            show_warning(f"{job.plane.name}: {result.doubt}.")
        if job.plane.layer not in self._viewer.layers:
            self.say(f"{self._panel.status.value} (The image layer is no longer there.)")

    def _image_chosen(self, layer: Image | None) -> None:
        if self._results.choose(layer):
            if self.result is not None:
                self._settings.show(self.result.thresholds)
            self.result_changed.emit()
        self.image_changed.emit()

    def _retune(self) -> None:
        if self.result is None:
            return
        try:
            masks = self.result.show(**self._settings.thresholds)
        except ParameterError as error:
            self.say(str(error))
            return
        self._shown(masks, self.result)

    def _shown(self, masks: Masks, result: Result, more: str = "") -> None:
        doubt = result.doubt and f" Warning: {result.doubt}."
        shown, known = counted(len(masks), "mask"), counted(len(result.proposals), "candidate")
        self.say(f"{shown} shown, of {known}.{more}{doubt}")
        self.result_changed.emit()
