"""Make the pictures in docs/images from the packaged sample images.

python docs/pictures.py
"""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from skimage.color import label2rgb
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from napari_sam_amg import AutomaticMaskGenerator

HEIGHT = 400


def side_by_side(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Show an image and, beside it, the image under its coloured, outlined masks."""
    rgb = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    lo, hi = np.percentile(rgb, [0.1, 99.9])
    rgb = np.clip((rgb - lo) / (hi - lo), 0, 1)
    width = round(HEIGHT * rgb.shape[1] / rgb.shape[0])
    rgb = resize(rgb, (HEIGHT, width), order=1, anti_aliasing=True)
    labels = resize(labels, (HEIGHT, width), order=0, preserve_range=True, anti_aliasing=False)
    labels = labels.astype(int)
    shown = label2rgb(labels, rgb, alpha=0.35, bg_label=0, saturation=1)
    shown[find_boundaries(labels, mode="inner")] = (1, 0.9, 0.2)
    gap = np.ones((HEIGHT, 12, 3))
    return (np.concatenate([rgb, gap, shown], axis=1) * 255).astype(np.uint8)


def main() -> None:
    """Write the picture of the fluorescence sample."""
    generator = AutomaticMaskGenerator("nuclei-nano", device="cpu")
    out = Path(__file__).parent / "images"
    out.mkdir(exist_ok=True)
    with as_file(files("napari_sam_amg") / "data" / "samples" / "fluorescence.png") as path:
        image = iio.imread(path)
    labels = generator.segment(image, name="fluorescence").to_labels()
    iio.imwrite(out / "fluorescence.png", side_by_side(image, labels))


if __name__ == "__main__":
    main()
