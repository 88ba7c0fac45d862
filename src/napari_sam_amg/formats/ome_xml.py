"""OME-XML for label images: sizes, and the record of the run as an annotation."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr, unescape

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATOR = 'Creator="napari-sam-amg"'
"""What tells our files from others, within `HEAD` characters of the beginning."""

HEAD = 600

_NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_KIND = "napari-sam-amg/run"
_RECORD = re.compile(rf'Namespace="{_KIND}"><Value>(.*?)</Value>', re.DOTALL)


def ome_xml(
    record: str,
    *,
    lengths: Mapping[str, int],
    dtype: str,
    name: str,
    pixel_size: Mapping[str, float],
    time_step: float | None = None,
) -> str:
    """Return the description of a file whose pages go over Z, and then over T.

    Parameters
    ----------
    record : str
        JSON in ASCII.
    lengths : mapping
        Of the axes ``"X"``, ``"Y"``, and ``"Z"`` and ``"T"`` if they are there.
    dtype : str
        Name of the type of pixels, as NumPy and OME call it.
    name : str
        Of the image.
    pixel_size : mapping
        Micrometres for ``"X"``, ``"Y"`` and ``"Z"``, as far as they are known.
    time_step : float, optional
        Seconds.

    Returns
    -------
    str
        In ASCII.
    """
    values: dict[str, Any] = {"ID": "Pixels:0", "DimensionOrder": "XYZCT", "Type": dtype}
    values |= {f"Size{axis}": lengths.get(axis, 1) for axis in "XYZCT"}
    for axis, size in pixel_size.items():
        values |= {f"PhysicalSize{axis}": repr(size), f"PhysicalSize{axis}Unit": "\u00b5m"}
    if time_step is not None:
        values |= {"TimeIncrement": repr(time_step), "TimeIncrementUnit": "s"}
    pixels = " ".join(f"{key}={quoteattr(str(value))}" for key, value in values.items())
    pages = lengths.get("Z", 1) * lengths.get("T", 1)
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{_NAMESPACE}" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        f'xsi:schemaLocation="{_NAMESPACE} {_NAMESPACE}/ome.xsd" {CREATOR}>'
        f'<Image ID="Image:0" Name={quoteattr(_printable(name))}><Pixels {pixels}>'
        '<Channel ID="Channel:0:0" Name="labels" SamplesPerPixel="1"/>'
        f'<TiffData IFD="0" PlaneCount="{pages}"/></Pixels>'
        '<AnnotationRef ID="Annotation:0"/></Image><StructuredAnnotations>'
        f'<CommentAnnotation ID="Annotation:0" Namespace="{_KIND}"><Value>{escape(record)}'
        "</Value></CommentAnnotation></StructuredAnnotations></OME>"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def record_of(description: str) -> str | None:
    """Return the JSON that `ome_xml` put into a description; None from any other."""
    if CREATOR not in description[:HEAD]:
        return None
    found = _RECORD.search(description)
    return None if found is None else unescape(found[1])


def _printable(name: str) -> str:
    """Return a name without what XML cannot hold, such as half a character."""
    return "".join(one if one.isprintable() else "?" for one in name)
