"""The dock widget "Automatic mask generation"."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magicgui.widgets import Container
from napari.layers import Image
from napari.qt.threading import create_worker
from psygnal import Signal

from napari_sam_amg.errors import ImageError, ParameterError, RunError, SamAmgError
from napari_sam_amg.models.registry import EMBEDDED, model_info
from napari_sam_amg.parameters import AmgParameters
from napari_sam_amg.plugin.panel import CUSTOM, Panel
from napari_sam_amg.plugin.planes import displayed_plane
from napari_sam_amg.plugin.session import STAGES, Control, Job, Progress, Session
from napari_sam_amg.plugin.settings import LIVE, Settings
from napari_sam_amg.plugin.tuning import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

    import napari.viewer
    from napari.layers import Labels
    from napari.qt.threading import GeneratorWorker

    from napari_sam_amg.masks import Proposals
    from napari_sam_amg.plugin.section import Section


BEFORE: tuple[type[Section], ...] = ()
"""Parts of the form above the parameters: what is looked at."""

AFTER: tuple[type[Section], ...] = ()
"""Parts of the form below the parameters: what is done with a result, and tools."""


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
        self._session = Session()
        self._worker: GeneratorWorker[Any, Any, Any] | None = None
        self._control = Control()
        self._result: Result | None = None
        recommended = AmgParameters(**model_info(EMBEDDED).recommended)
        before = [section(self) for section in BEFORE]
        after = [section(self) for section in AFTER]
        self._panel = Panel(self._image_layers, dict(recommended), before=before, after=after)
        self._named = {w.name: w for w in self._panel.head} | self._panel.fields
        self._named |= {w.name: w for section in (*before, *after) for w in section.fields}
        self.margins = (0, 0, 0, 0)
        # napari leaves room below a widget that does not want it.
        self.native.setSizePolicy(self._panel.native.sizePolicy())
        self.native.layout().addWidget(self._panel.native)
        self._settings = Settings(self._panel, self._settings_changed)
        self._connect()
        self._follow_active()
        self.say("Choose an image and press Run.")

    def __getattr__(self, name: str) -> Any:
        named = self.__dict__.get("_named", {})
        return named[name] if name in named else super().__getattr__(name)

    def _connect(self) -> None:
        layers = self._viewer.layers
        for event in (layers.events.inserted, layers.events.removed, layers.events.renamed):
            event.connect(self._reset_layers)
        layers.selection.events.active.connect(self._follow_active)
        self.image_layer.changed.connect(lambda _: self.image_changed.emit())
        self._panel.run_button.changed.connect(self._run_clicked)
        self._panel.cancel_button.changed.connect(lambda: self.cancel())
        self._panel.keep_button.changed.connect(lambda: self.cancel(keep=True))

    # -- what is shown ----------------------------------------------------------------

    def _image_layers(self, *_: object) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image)]

    def _reset_layers(self, event: object = None) -> None:
        self.image_layer.reset_choices()
        images = self._image_layers()
        if self.image_layer.value is None and images:
            self.image_layer.value = images[-1]

    def _follow_active(self, event: object = None) -> None:
        self._reset_layers()
        active = self._viewer.layers.selection.active
        if isinstance(active, Image):
            self.image_layer.value = active

    def _settings_changed(self, live: bool) -> None:
        if live:
            self._retune()
        elif self._result is not None:
            self.say("Press Run to use the new settings.")

    # -- for sections -----------------------------------------------------------------

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
        return self._result

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Set parameters as the user would, by their names."""
        self._settings.set_by_user(values)

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""
        self._panel.status.value = text

    # -- scripts and the buttons ------------------------------------------------------

    @property
    def labels_layer(self) -> Labels | None:
        """The layer that shows the result; None until one is complete."""
        return self._result.layer if self._result is not None else None

    @property
    def proposals(self) -> Proposals | None:
        """Every candidate of the last complete run."""
        return self._result.proposals if self._result is not None else None

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
        if self._worker is not None:
            raise RunError("a run is on already: cancel it first, or wait for its end")
        job = self._job()
        self._control = control = Control()
        worker = create_worker(
            self._session.run,
            job,
            control,
            _start_thread=False,
            _progress={"total": 0, "desc": f"Masks of {job.plane.name}"},
        )
        self._worker = worker
        worker.yielded.connect(self._progressed)
        worker.returned.connect(lambda found: self._finished(job, found))
        worker.errored.connect(self._failed)
        worker.aborted.connect(lambda: self.say("Cancelled."))
        worker.finished.connect(self._ended)
        self._show_running(running=True)
        worker.start()
        return worker

    def cancel(self, keep: bool = False) -> None:
        """End the run that is on, if any; with `keep`, show what it has found so far."""
        if self._worker is None:
            return
        self._control.cancel(keep=keep)
        self.say("Stopping ...")
        self._panel.cancel_button.enabled = self._panel.keep_button.enabled = False

    def free_memory(self) -> None:
        """Unload the model and forget the encoder's output; results stay."""
        self._session.free_memory()

    def _job(self) -> Job:
        layer = self.image_layer.value
        if layer is None:
            raise ImageError("there is no image layer: open an image first (File > Open)")
        model = self.model.value
        if model == CUSTOM:
            model = self.model_file.value
            if not model or str(model) == ".":
                raise ParameterError("no model file is chosen: give one in the field File")
            model = Path(model)
        contrast = tuple(layer.contrast_limits) if self.layer_contrast.value else None
        return Job(
            plane=displayed_plane(layer, self._viewer),
            model=model,
            device=self.device.value,
            precision=self.precision.value,
            contrast=contrast,
            parameters=dict(self.parameters),
        )

    def _run_clicked(self, _: object = None) -> None:
        from napari.utils.notifications import show_error

        try:
            self.run()
        except SamAmgError as error:
            self.say(str(error))
            show_error(str(error))

    # -- what the worker says ---------------------------------------------------------

    def _show_running(self, *, running: bool) -> None:
        self._panel.run_button.enabled = not running
        self._panel.cancel_button.enabled = self._panel.keep_button.enabled = running
        self._panel.progress.visible = running
        if running:
            self._panel.progress.max, self._panel.progress.value = 0, 0

    def _progressed(self, progress: Progress) -> None:
        bar = getattr(self._worker, "pbar", None)
        if progress.total:
            self._panel.progress.max = progress.total
            self._panel.progress.value = progress.done
            if bar is not None:
                bar.total = progress.total
        left = "" if math.isnan(progress.remaining) else f", {progress.remaining:.0f} s left"
        if not self._control.stopping:
            self.say(f"{STAGES[progress.stage].capitalize()}: {progress.elapsed:.0f} s{left}")

    def _finished(self, job: Job, found: Proposals | None) -> None:
        if found is None:
            self.say("Cancelled.")
            return
        result = Result(self._viewer, job.plane, found)
        if self._result is not None:
            result.adopt(self._result)
        self._result = result
        self._retune()
        if job.plane.layer not in self._viewer.layers:
            self.say(f"{self._panel.status.value} (The image layer is no longer there.)")

    def _failed(self, error: Exception) -> None:
        self.say(str(error))

    def _ended(self) -> None:
        self._worker = None
        self._show_running(running=False)

    def _retune(self) -> None:
        if self._result is None:
            return
        try:
            parameters = self.parameters
            masks = self._result.show(**{name: getattr(parameters, name) for name in LIVE})
        except ParameterError as error:
            self.say(str(error))
            return
        total = len(self._result.proposals)
        self.say(f"{len(masks)} masks shown, of {total} candidates.")
        self.result_changed.emit()
