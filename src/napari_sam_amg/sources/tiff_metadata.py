"""What TIFF files say of their pixels: OME-XML and ImageJ's description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from napari_sam_amg.sources.units import to_micrometres, to_seconds

if TYPE_CHECKING:
    import tifffile

_RESOLUTIONS = {"X": 282, "Y": 283}


@dataclass(frozen=True)
class Description:
    """Sizes and names, as far as they are known.

    Attributes
    ----------
    pixel_size : dict
        Micrometres for ``"X"``, ``"Y"`` and ``"Z"``.
    time_step : float or None
        Seconds.
    channel_names : tuple of str
        One for each channel, or none.
    """

    pixel_size: dict[str, float] = field(default_factory=dict)
    time_step: float | None = None
    channel_names: tuple[str, ...] = ()


def describe(tiff: tifffile.TiffFile, channels: int, image: int = 0) -> Description:
    """Return what an open file says of an image.

    A resolution in dots per inch is not among it: programs write 72 or 96 whatever the
    image is.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    channels : int
        How many names of channels are wanted.
    image : int
        Which one, where it describes several.
    """
    if tiff.is_ome:
        return _ome(tiff, channels, image)
    if tiff.is_imagej:
        return _imagej(tiff)
    return Description()


def unique(names: list[str]) -> tuple[str, ...]:
    """Return names of channels of which none comes twice."""
    return tuple(
        name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names)
    )


def _ome(tiff: tifffile.TiffFile, channels: int, number: int) -> Description:
    from xml.etree import ElementTree

    from tifffile import xml2dict

    try:
        # Only what is said of this image is made a dictionary: of a set of a thousand images that
        # takes a tenth of the time. tifffile has parsed it so before, to find the images.
        root = ElementTree.fromstring(str(tiff.ome_metadata))  # noqa: S314
        images = [element for element in root if element.tag.rpartition("}")[2] == "Image"]
        series = tiff.series
        if len(images) > len(series) > 0:
            # Images without pixels in reach are no series, so that the numbers do not agree.
            images = [one for one in images if one.get("Name") == series[number].name]
            number = 0 if len(images) == 1 else len(images)
        image = _one(xml2dict(ElementTree.tostring(images[number], "unicode"))["Image"])
        pixels = _one(image["Pixels"])
    except Exception:  # noqa: BLE001 - XML from anywhere: the pixels are readable without it
        return Description()
    sizes = {
        axis: to_micrometres(
            pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um")
        )
        for axis in "XYZ"
    }
    found = pixels.get("Channel", [])
    found = found if isinstance(found, list) else [found]
    names = [
        str(one["Name"]) if isinstance(one, dict) and one.get("Name") is not None else str(number)
        for number, one in enumerate(found)
    ]
    step = to_seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return Description(
        {axis: size for axis, size in sizes.items() if size is not None},
        step,
        unique(names) if len(names) == channels else (),
    )


def _one(value: Any) -> dict[str, Any]:
    one = value[0] if isinstance(value, list) else value
    if not isinstance(one, dict):
        raise ValueError("no element of OME-XML")
    return one


def _imagej(tiff: tifffile.TiffFile) -> Description:
    found: dict[str, Any] = tiff.imagej_metadata or {}
    unit = str(found.get("unit", "")).replace("\\u00B5", "u")
    tags = tiff.pages.first.tags
    sizes = {}
    for axis, code in _RESOLUTIONS.items():
        tag = tags.get(code)
        # Pixels for a unit of length, as a fraction.
        value = getattr(tag, "value", None)
        if isinstance(value, tuple) and len(value) == 2 and value[0]:
            sizes[axis] = to_micrometres(value[1] / value[0], unit)
    sizes["Z"] = to_micrometres(found.get("spacing"), unit)
    return Description(
        {axis: size for axis, size in sizes.items() if size is not None},
        to_seconds(found.get("finterval"), found.get("tunit", "s")),
    )
