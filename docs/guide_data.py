"""Make the data of the guides (guides.md) from the sample image that comes with the package.

python docs/guide_data.py FOLDER

    FOLDER/two_channels.ome.tif   CYX, uint16, 2 x 2048 x 2048: nuclei, and a marker in some
    FOLDER/stack.ome.tif          ZYX, uint8, 30 x 256 x 320: nuclei that come and go
    FOLDER/plate/A01.tif ... H12  96 fields of 256 x 320, uint8, with fewer nuclei row by row
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.plugin.samples import fluorescence

SIZES = {"Z": 1.5, "Y": 0.325, "X": 0.325}
"""Of pixels, in micrometres."""


def sample() -> npt.NDArray[np.uint8]:
    """Return the sample image, uint8, 520x696."""
    image: npt.NDArray[np.uint8] = fluorescence()[0][0]
    return image


def mosaic(side: int) -> npt.NDArray[np.uint8]:
    """Return the sample mirrored again and again, uint8, side x side."""
    image = sample()
    return np.pad(image, [(0, side - n) for n in image.shape], mode="symmetric")


def two_channels() -> npt.NDArray[np.uint16]:
    """Return nuclei, and a marker that is bright in some parts of the field, 2x2048x2048."""
    from scipy import ndimage

    nuclei = mosaic(2048).astype(np.float64)
    rng = np.random.default_rng(0)
    field = ndimage.gaussian_filter(rng.random(nuclei.shape), 60)
    field = (field - field.min()) / np.ptp(field)
    marker = ndimage.gaussian_filter(nuclei, 2) * field**2 + rng.normal(4, 1, nuclei.shape)
    return np.stack([nuclei * 16, np.clip(marker, 0, None) * 16]).astype(np.uint16)


def stack(slices: int) -> npt.NDArray[np.uint8]:
    """Return slices through nuclei that lie at different depths, slices x256x320.

    Each part of the field is sharp and bright at its own depth, and blurred and dim elsewhere.
    """
    from scipy import ndimage

    image = sample()[130:386, 180:500].astype(np.float64)
    column = np.linspace(-0.5, 0.5, image.shape[1])
    planes = []
    for depth in np.linspace(-1, 1, slices):
        blurred = ndimage.gaussian_filter(image, 0.5 + 2 * abs(depth))
        planes.append(blurred * np.exp(-(((depth - column) / 0.6) ** 2)))
    return np.stack(planes).round().astype(np.uint8)


def fields() -> dict[str, npt.NDArray[np.uint8]]:
    """Return 96 fields by the names of their wells, 256x320; from row to row nuclei are fewer."""
    from scipy import ndimage

    rng = np.random.default_rng(1)
    image = sample()
    parts = ndimage.label(ndimage.gaussian_filter(image, 2) > 25)[0]
    found = {}
    for row, letter in enumerate("ABCDEFGH"):
        for column in range(1, 13):
            y, x = rng.integers(0, image.shape[0] - 256), rng.integers(0, image.shape[1] - 320)
            field = image[y : y + 256, x : x + 320].copy()
            here = parts[y : y + 256, x : x + 320]
            gone = rng.random(parts.max() + 1) < row / 10
            hole = ndimage.binary_dilation(gone[here] & (here > 0), iterations=12)
            dark = field[field < np.median(field) + 5]
            field[hole] = rng.choice(dark, np.count_nonzero(hole))
            found[f"{letter}{column:02}"] = field
    return found


def main() -> None:
    """Write all of it."""
    import tifffile

    folder = Path(sys.argv[1])
    (folder / "plate").mkdir(parents=True, exist_ok=True)
    metadata: dict[str, Any] = {f"PhysicalSize{axis}": size for axis, size in SIZES.items()}
    flat = {name: size for name, size in metadata.items() if not name.endswith("Z")}
    words: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    channels = {"axes": "CYX", "Channel": {"Name": ["DAPI", "marker"]}, **flat}
    tifffile.imwrite(folder / "two_channels.ome.tif", two_channels(), metadata=channels, **words)
    slices = {"axes": "ZYX", **metadata}
    tifffile.imwrite(folder / "stack.ome.tif", stack(30), metadata=slices, **words)
    for name, field in fields().items():
        tifffile.imwrite(
            folder / "plate" / f"{name}.tif",
            field,
            ome=True,
            metadata={"axes": "YX", **flat},
            **words,
        )


if __name__ == "__main__":
    main()
