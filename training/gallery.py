"""Where a model fails: the worst images of a run beside the truth, as one picture.

    python training/evaluate.py DATA/val --output VAL.json
    python training/gallery.py DATA/val VAL.json docs/images/failures.png

Each row has the image as the model sees it, the true outlines (green) and the found ones
(orange). Of one field only the worst image is shown, so that one bad field is not all there is.
"""

from __future__ import annotations

import argparse
import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import scores
from held_out import add_arguments, make_generator, scenes, start

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from PIL import Image

    from held_out import Scene

log = logging.getLogger("gallery")

MOST_BYTES = 600_000
GAP, CAPTION = 6, 18
TRUE, FOUND = (70, 220, 90), (255, 140, 30)
BLACK, WHITE = (0, 0, 0), (255, 255, 255)


def worst(rows: scores.Rows, count: int) -> list[str]:
    """Return the images of the lowest AP50 that have objects, one of each field, worst first."""
    chosen: dict[str, str] = {}
    with_objects = [name for name, row in rows.items() if row["objects"]]
    for name in sorted(with_objects, key=lambda n: (scores.measures(rows[n])[0], n)):
        chosen.setdefault(rows[name]["field"], name)
    return list(chosen.values())[:count]


def outlined(
    rgb: npt.NDArray[np.uint8],
    labels: npt.NDArray[Any],
    colour: Sequence[int],
    size: Sequence[int],
) -> npt.NDArray[np.uint8]:
    """Draw the borders of labels over an image that is brought to a size (height, width)."""
    from skimage.segmentation import find_boundaries
    from skimage.transform import resize

    shown = resize(rgb, (*size, 3), order=1, preserve_range=True, anti_aliasing=True)
    large = resize(
        labels.astype(np.int32), size, order=0, preserve_range=True, anti_aliasing=False
    )
    shown = shown.astype(np.uint8)
    shown[find_boundaries(large, mode="inner")] = colour
    return shown


def row(scene: Scene, rgb: npt.NDArray[np.uint8], found: np.ndarray, width: int) -> np.ndarray:
    """Return image, truth and result side by side, each `width` pixels wide."""
    height = round(width * rgb.shape[0] / rgb.shape[1])
    nothing = np.zeros_like(scene.labels)
    panels = [
        outlined(rgb, labels, colour, (height, width))
        for labels, colour in ((nothing, WHITE), (scene.labels, TRUE), (found, FOUND))
    ]
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.hstack([panels[0], gap, panels[1], gap, panels[2]])


def picture(rows: list[tuple[str, np.ndarray]]) -> Image.Image:
    """Put rows below one another, each under its caption."""
    from PIL import Image, ImageDraw, ImageFont

    height = sum(CAPTION + len(pixels) + GAP for _, pixels in rows)
    canvas = Image.new("RGB", (rows[0][1].shape[1], height), WHITE)
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(12)
    top = 0
    for caption, pixels in rows:
        pen.text((2, top + 2), caption, BLACK, font)
        canvas.paste(Image.fromarray(pixels), (0, top + CAPTION))
        top += CAPTION + len(pixels) + GAP
    return canvas


def encoded(rows: list[tuple[str, Scene, np.ndarray, np.ndarray]], width: int) -> bytes:
    """Return a PNG of at most `MOST_BYTES`, with smaller panels if need be."""
    while True:
        drawn = [(caption, row(s, rgb, found, width)) for caption, s, rgb, found in rows]
        buffer = io.BytesIO()
        # A palette of its own colours: outlines keep theirs, grey needs few.
        picture(drawn).quantize(128, dither=0).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MOST_BYTES or width < 60:
            return buffer.getvalue()
        width = int(width * 0.9)


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("scores", type=Path, help="JSON file of evaluate.py --output")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--width", type=int, default=260, help="of a panel in pixels, at most")
    arguments = parser.parse_args()
    start(arguments)
    scored = scores.read(arguments.scores)
    names = worst(scored, arguments.count)
    generator = make_generator(arguments)
    rows = []
    for scene in scenes(arguments.data, names):
        labels = generator.segment(scene.image, name=scene.name).to_labels()
        of = scored[scene.name]
        caption = (
            f"{scene.name.removesuffix('.png')}: {scene.kind}; AP50 {scores.measures(of)[0]:.2f}, "
            f"{of['objects']} nuclei, {int(labels.max())} found"
        )
        rows.append((caption, scene, generator.preview(scene.image), labels))
    if not rows:
        raise SystemExit("no image with objects among the scores")
    data = encoded(rows, arguments.width)
    arguments.picture.write_bytes(data)
    log.info("wrote %s: %d images, %d bytes", arguments.picture, len(rows), len(data))


if __name__ == "__main__":
    main()
