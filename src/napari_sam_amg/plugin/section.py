"""Parts of the form that bring their own fields, and what they may ask of the widget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from qtpy.QtWidgets import QWidget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import napari.viewer
    from magicgui.widgets.bases import BaseValueWidget
    from napari.layers import Image
    from psygnal import SignalInstance

    from napari_sam_amg.models.profiles import InputProfile
    from napari_sam_amg.parameters import AmgParameters
    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.tuning import Result


class Host(Protocol):
    """What a section may ask of the widget."""

    @property
    def viewer(self) -> napari.viewer.Viewer:
        """The viewer that the widget belongs to."""

    @property
    def image(self) -> Image | None:
        """The image layer that is chosen."""

    @property
    def result(self) -> Result | None:
        """Of the last complete run."""

    @property
    def parameters(self) -> AmgParameters:
        """What the form says; reading it can raise ParameterError."""

    @property
    def profile(self) -> InputProfile:
        """How the chosen model wants to see images."""

    @property
    def image_changed(self) -> SignalInstance:
        """Emitted without arguments after another layer was chosen."""

    @property
    def result_changed(self) -> SignalInstance:
        """Emitted without arguments after what is shown of a result has changed."""

    @property
    def input_size(self) -> int:
        """Side of the chosen model's square input, in pixels."""

    def save_settings(self, path: str) -> None:
        """Write what the form says; SamAmgError if that cannot be done."""

    def load_settings(self, path: str) -> None:
        """Set the form from a file; SamAmgError if that cannot be done."""

    def free_memory(self) -> None:
        """Unload the model and forget the encoder's output; results stay."""

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Set parameters as the user would, by their names."""

    def parameter_field(self, name: str) -> BaseValueWidget[Any]:
        """Return the field of a parameter."""

    def say(self, text: str) -> None:
        """Show a sentence in the status line."""

    def attempt(self, run: Callable[[], object]) -> None:
        """Do what was clicked; what goes wrong is said and shown."""

    def run_stack(self) -> object:
        """Start a run over all slices and time points; SamAmgError if it cannot start."""

    def run_large(self) -> object:
        """Start a run into a folder; SamAmgError if it cannot start."""

    def relink_stack(self) -> object:
        """Link the masks of the last stack anew; SamAmgError if there are none."""


class Section:
    """Some fields below a title that can be folded.

    Parameters
    ----------
    host : Host
        The widget that it is part of.

    Attributes
    ----------
    title : str
    rows : list
        Fields, buttons and pictures, from top to bottom; several in a tuple stand side by
        side. By their `name` fields and buttons are attributes of the widget.
    """

    title: ClassVar[str]

    def __init__(self, host: Host) -> None:
        self._host = host
        self.rows: list[BaseValueWidget[Any] | tuple[BaseValueWidget[Any], ...] | QWidget] = []

    def laid_out(self) -> None:
        """Do what needs the fields to stand in the form."""

    def prepare(self, job: Job) -> Job:
        """Change what a run is to do; SamAmgError if it cannot start."""
        return job

    def close(self) -> None:
        """Let go of the viewer: the widget is taken out of the window; it may come back."""

    @property
    def fields(self) -> Sequence[BaseValueWidget[Any]]:
        """All fields and buttons."""
        each = [w for row in self.rows for w in (row if isinstance(row, tuple) else (row,))]
        return [w for w in each if not isinstance(w, QWidget)]
