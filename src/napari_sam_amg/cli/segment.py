"""The planes of one image through the model, all with one configuration and contrast."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.cli.found import Found
from napari_sam_amg.cli.plan import named
from napari_sam_amg.errors import SamAmgError
from napari_sam_amg.stack_contrast import stack_contrast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.plan import Image, Part
    from napari_sam_amg.cli.report import Report
    from napari_sam_amg.engine import AutomaticMaskGenerator
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.sources import ImageSource, Plane

log = logging.getLogger(__name__)


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
            generator = self._generator_for(plane.source)
            source = named(self._image.source, plane)
            pixels = plane.read()
            masks: Masks | None = None
            for step in generator.steps(pixels, name=source.name):
                self._report.step(number * step.total + step.done, len(part.planes) * step.total)
                masks = step.result
            if masks is None:
                raise SamAmgError("the run ended without a result; please report this")
            for text in (masks.provenance or {}).get("input", {}).get("notes", ()):
                self._report.note(f"{source.name}: {text}")
            if self._image.is_stack or plane.source.length("C") > 1:
                masks.provenance["plane"] = _describe(plane)
            yield Found(self._image.source, part.result, plane, masks, pixels, self._sides(plane))

    def _sides(self, plane: Plane) -> tuple[float, float] | None:
        own = self._options.pixel_size
        return plane.source.sides if own is None else (own, own)

    def _generator_for(self, source: ImageSource) -> AutomaticMaskGenerator:
        """Return the generator with the contrast of the whole stack, if it is to have one."""
        if (
            self._options.contrast is not None
            or self._options.brightness == "plane"
            or not self._image.is_stack
        ):
            return self._generator
        if self._fitted is None:
            profile = self._generator.info.profile
            kind = np.dtype(source.dtype)
            if kind.kind == "b" or (kind == np.uint8 and not profile.map_uint8):
                # These are seen as they are: planes agree already.
                self._fitted = self._generator
                return self._fitted
            began = time.perf_counter()
            stack = source.stack(self._options.channel)
            low, high = stack_contrast(stack, profile.percentiles, plane_axes=stack.plane_axes)
            log.debug("contrast of %s in %.1f s", source.path, time.perf_counter() - began)
            self._fitted = self._generator.configured(
                contrast=(low, high if low < high else low + 1.0), **self._options.parameters
            )
        return self._fitted


def _describe(plane: Plane) -> dict[str, Any]:
    """Return where a plane lies in its image (JSON)."""
    source = plane.source
    found: dict[str, Any] = {"axes": source.axes, "shape": list(source.shape), **plane.index}
    if isinstance(plane.channel, int) and source.length("C") > 1:
        found |= {"C": plane.channel, "channel": source.channel_names[plane.channel]}
    return found
