"""A set of OME-TIFFs with an image each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tifffile

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

XML = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:{own}">{images}</OME>'
)
IMAGE = (
    '<Image ID="Image:{n}" Name="field {n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYZCT" '
    'Type="uint8" SizeX="17" SizeY="13" SizeZ="1" SizeC="1" SizeT="1" PhysicalSizeX="{size}" '
    'PhysicalSizeY="{size}"><Channel ID="Channel:{n}:0" SamplesPerPixel="1"/><TiffData IFD="0" '
    'PlaneCount="1"><UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData></Pixels></Image>'
)


def write_set(folder: Path, planes: np.ndarray, name: str = "field {n}") -> None:
    """Write three planes (uint8, 3x13x17) as files of an image each; all describe the set."""
    image = IMAGE.replace("field {n}", name)
    files = ["a.ome.tif", "b.ome.tif", "c.ome.tif"]
    images = "".join(image.format(n=n, file=f, size=n + 0.5) for n, f in enumerate(files))
    for number, file in enumerate(files):
        words: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
        description = XML.format(own=file, images=images)
        tifffile.imwrite(folder / file, planes[number], description=description, **words)
