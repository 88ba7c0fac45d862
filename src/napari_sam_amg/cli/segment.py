"""The planes of one image through the model, all with one configuration and contrast."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Protocol

from napari_sam_amg.cli.found import Found
from napari_sam_amg.cli.plan import named
from napari_sam_amg.errors import SamAmgError
from napari_sam_amg.stack_contrast import source_contrast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.report import Report
    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.sources import Plane

log = logging.getLogger(__name__)


class Segmenters(Protocol):
    """Gives what finds the masks of each image of a run, in its order."""

    def __call__(self, image: Image, report: Report) -> Segmenter:
        """Return it for an image; `report` hears of every step."""


class Segmenter:
    """Finds the masks of one image.

    Parameters
    ----------
    image : Image
    options : Options
    generator : AutomaticMaskGenerator
    report : Report
        Hears of every step.
    """

    def __init__(
        self, image: Image, options: Options, generator: AutomaticMaskGenerator, report: Report
    ) -> None:
        self._image = image
        self._options = options
        self._generator = generator
        self._report = report
        self._fitted: AutomaticMaskGenerator | None = None

    def found(self, part: Part) -> Iterator[Found]:
        """Go through the planes of a part.

        Yields
        ------
        Found

        Raises
        ------
        SamAmgError
            If the image cannot be opened or a plane not read or segmented.
        """
        if self._image.error is not None:
            raise self._image.error
        for number, plane in enumerate(part.planes):
            generator = self._generator_for(plane)
            source = named(self._image.source, plane)
            pixels = plane.read()
            masks: Masks | None = None
            for step in generator.steps(pixels, name=source.name):
                self._report.step(number * step.total + step.done, len(part.planes) * step.total)
                masks = step.result
            if masks is None:
                raise SamAmgError("the run ended without a result; please report this")
            yield self._found(part, plane, masks, pixels)

    def _found(
        self, part: Part, plane: Plane, masks: Masks, pixels: npt.NDArray[Any] | None
    ) -> Found:
        source = named(self._image.source, plane)
        self._note(source, masks.provenance or {})
        if self._image.is_stack or plane.source.length("C") > 1:
            masks.provenance["plane"] = describe(plane)
        return Found(self._image.source, part.result, plane, masks, pixels, self._sides(plane))

    def _note(self, source: Source, provenance: Mapping[str, Any]) -> None:
        """Say what is to be said of how an image was read."""
        for text in provenance.get("input", {}).get("notes", ()):
            self._report.note(f"{source.name}: {text}")

    def _sides(self, plane: Plane) -> tuple[float, float] | None:
        own = self._options.pixel_size
        return plane.source.sides if own is None else (own, own)

    def _generator_for(self, plane: Plane) -> AutomaticMaskGenerator:
        """Return the generator with the contrast of the whole stack, if it is to have one."""
        if not has_stack_contrast(self._image, self._options):
            return self._generator
        if self._fitted is None:
            began = time.perf_counter()
            contrast = self._measured(plane)
            log.debug("contrast of %s in %.1f s", plane.source.path, time.perf_counter() - began)
            if contrast is None:
                # Such values are seen as they are: planes agree already.
                self._fitted = self._generator
            else:
                parameters = self._options.parameters
                self._fitted = self._generator.configured(contrast=contrast, **parameters)
        return self._fitted

    def _measured(self, plane: Plane) -> tuple[float, float] | None:
        """Return the contrast of all planes; None if such values are seen as they are."""
        return source_contrast(plane.source, plane.channel, self._generator.info.profile)


def has_stack_contrast(image: Image, options: Options) -> bool:
    """Return whether the planes of an image are to have one contrast, which has to be found."""
    return options.contrast is None and options.brightness != "plane" and image.is_stack


def describe(plane: Plane) -> dict[str, Any]:
    """Return where a plane lies in its image (JSON)."""
    source = plane.source
    found: dict[str, Any] = {"axes": source.axes, "shape": list(source.shape), **plane.index}
    if isinstance(plane.channel, int) and source.length("C") > 1:
        found |= {"C": plane.channel, "channel": source.channel_names[plane.channel]}
    return found
