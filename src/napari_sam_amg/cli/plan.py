"""What is to be done: the planes of all images, and what their results are called."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_sam_amg.cli.outputs import is_together
from napari_sam_amg.formats.limits import MAX_PIXELS, MAX_PIXELS_IN_PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import tifffile

    from napari_sam_amg.cli.options import Options
    from napari_sam_amg.cli.source import Source
    from napari_sam_amg.sources import ImageSource, Plane

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Planes that have one result.

    Attributes
    ----------
    result : Source
        What it is called.
    planes : tuple of Plane
        None if the image cannot be opened.
    """

    result: Source
    planes: tuple[Plane, ...] = ()


@dataclass(frozen=True)
class Image:
    """One image, opened as far as its description goes.

    Attributes
    ----------
    source : Source
    parts : tuple of Part
        One, or one for each plane.
    opened : ImageSource or None
    error : Exception or None
        Why it could not be opened.
    files : tuple of Path
        That it is known to lie in, the one that was given first.
    """

    source: Source
    parts: tuple[Part, ...]
    opened: ImageSource | None = None
    error: Exception | None = None
    files: tuple[Path, ...] = ()

    @property
    def results(self) -> tuple[Source, ...]:
        """What the results are called."""
        return tuple(part.result for part in self.parts)

    @property
    def is_stack(self) -> bool:
        """Whether the file has several planes, whether or not all are taken."""
        return self.opened is not None and self.opened.length("T") * self.opened.length("Z") > 1


def plan_images(
    sources: Iterable[Source], options: Options, *, passed_over: Callable[[Path, Path], None]
) -> list[Image]:
    """Open all images and name their results.

    An image that cannot be opened is among them: it fails when its turn comes.

    Parameters
    ----------
    sources : iterable of Source
    options : Options
    passed_over : callable
        Told of each file that belongs to the image of another one, and of that one.
    """
    images: list[Image] = []
    owners: dict[str, Path] = {}
    for source in sources:
        owner = owners.get(os.path.abspath(source.path))
        if owner is not None:
            passed_over(source.path, owner)
            continue
        for image in _planned(source, options):
            images.append(image)
            for path in image.files[1:]:
                owners.setdefault(os.path.abspath(path), source.path)
    return images


def _planned(source: Source, options: Options) -> Iterator[Image]:
    """Yield the image of a file, or all of an OME-TIFF that holds several."""
    from napari_sam_amg.formats.tiff import open_tiff
    from napari_sam_amg.sources.tiff_series import images_in

    first = _opened(source, options, 0)
    if first.opened is None:
        count, files = images_in(source.path)
        first = replace(first, files=files)
    else:
        count = first.opened.images
    if count == 1:
        yield first
        return
    with open_tiff(source.path) as tiff:
        for number in range(count):
            image = _opened(source.plane(f"_s{number}", {"image": number}), options, number, tiff)
            yield image if number else replace(image, files=first.files)


def _opened(
    source: Source, options: Options, number: int, tiff: tifffile.TiffFile | None = None
) -> Image:
    from napari_sam_amg.sources import open_source
    from napari_sam_amg.sources.axes import check_axes
    from napari_sam_amg.sources.tiff_source import image_of

    limit = MAX_PIXELS if options.max_pixels is None else options.max_pixels
    if options.output_format == "large" and options.max_pixels is None:
        limit = MAX_PIXELS_IN_PARTS
    try:
        if tiff is None:
            opened = open_source(source.path, axes=options.axes, max_pixels=limit, image=number)
        else:
            axes = None if options.axes is None else check_axes(options.axes)
            opened = image_of(source.path, tiff, axes=axes, max_pixels=limit, image=number)
        planes = tuple(opened.planes(channel=options.channel, z=options.z, t=options.t))
    except Exception as error:
        # The others are done all the same.
        log.debug("%s cannot be opened", source.path, exc_info=True)
        return Image(source, (Part(source),), error=error)
    # Of thousands of images, none stays open until its turn comes.
    opened.close()
    if is_together(options.output_format):
        return Image(source, (Part(source, planes),), opened, files=opened.files)
    return Image(source, tuple(_parts(source, planes)), opened, files=opened.files)


def _parts(source: Source, planes: Iterable[Plane]) -> Iterator[Part]:
    for plane in planes:
        yield Part(named(source, plane), (plane,))


def named(source: Source, plane: Plane) -> Source:
    """Return what a plane of an image is called; the image's own name if it is the only one."""
    return source.plane(plane.suffix, plane.index) if plane.suffix else source


def remaining(images: Iterable[Image], is_done: Callable[[Image, Part], bool]) -> list[Image]:
    """Return the images with the parts that are still to be done; those without are left out."""
    found = []
    for image in images:
        parts = tuple(part for part in image.parts if not is_done(image, part))
        if parts:
            found.append(replace(image, parts=parts))
    return found
