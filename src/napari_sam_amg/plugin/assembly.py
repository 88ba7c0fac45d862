"""What the dock widget is made of, put together when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_sam_amg.models.architecture import ARCHITECTURES
from napari_sam_amg.models.registry import model_info
from napari_sam_amg.plugin.areas import Areas, Diameter
from napari_sam_amg.plugin.choice import ImageChoice, image_layers
from napari_sam_amg.plugin.clicks import Clicks
from napari_sam_amg.plugin.closing import Closing
from napari_sam_amg.plugin.large import Large
from napari_sam_amg.plugin.looks import Looks
from napari_sam_amg.plugin.panel import Panel
from napari_sam_amg.plugin.preferences import preferences
from napari_sam_amg.plugin.running import Runner
from napari_sam_amg.plugin.scores import Scores
from napari_sam_amg.plugin.seeing import Seeing
from napari_sam_amg.plugin.settings import Settings
from napari_sam_amg.plugin.sizing import Sizing
from napari_sam_amg.plugin.stacks import Stacks
from napari_sam_amg.plugin.tools import Tools
from napari_sam_amg.plugin.where import Where
from napari_sam_amg.sizes import resolved

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari.viewer
    from qtpy.QtWidgets import QWidget

    from napari_sam_amg.masks import Proposals
    from napari_sam_amg.plugin.jobs import Job
    from napari_sam_amg.plugin.section import Host, Section
    from napari_sam_amg.plugin.session import Session

BEFORE: tuple[type[Section], ...] = (Seeing, Where)
"""Parts of the form above the parameters: what is looked at."""

AFTER: tuple[type[Section], ...] = (
    Diameter,
    Sizing,
    Scores,
    Areas,
    Stacks,
    Large,
    Looks,
    Clicks,
    Tools,
)
"""Parts of the form below the parameters: what is done with a result, and tools."""


@dataclass(frozen=True)
class Parts:
    """All parts of one widget; `named` are its fields and buttons by their names."""

    viewer: napari.viewer.Viewer
    sections: tuple[Section, ...]
    panel: Panel
    named: dict[str, Any]
    runner: Runner
    settings: Settings
    stacks: Stacks
    large: Large

    def watch(self, native: QWidget, taken_out: Callable[[], None]) -> tuple[object, ...]:
        """Follow the viewer's layers and the dock; returns who does it, to be kept."""
        choice = ImageChoice(self.viewer, self.panel.image_layer)
        for section in self.sections:
            section.laid_out()
        return choice, Closing(native, taken_out)


def assemble(
    host: Host,
    session: Session,
    found: Callable[[Job, Proposals], None],
    settings_changed: Callable[[bool], None],
) -> Parts:
    """Put a widget's parts together, with what the user prefers.

    Parameters
    ----------
    host : Host
        The widget.
    session, found
        As for `Runner`.
    settings_changed : callable
        As for `Settings`.
    """
    viewer, preferred = host.viewer, preferences()
    before = [section(host) for section in BEFORE]
    after = [section(host) for section in AFTER]
    info = model_info(preferred["model"])
    recommended = resolved(info, {}, ARCHITECTURES[info.architecture].image_size)
    panel = Panel(lambda _: image_layers(viewer), dict(recommended), before=before, after=after)
    sections = (*before, *after)
    named = {w.name: w for w in panel.head} | panel.fields
    named |= {w.name: w for section in sections for w in section.fields}
    runner = Runner(panel, session, found)
    for name, value in preferred.items():
        named[name].value = value
    settings = Settings(panel, settings_changed)
    stacks = next(section for section in after if isinstance(section, Stacks))
    large = next(section for section in after if isinstance(section, Large))
    return Parts(viewer, sections, panel, named, runner, settings, stacks, large)
