"""Time live re-tuning in napari's window: from a field's new value to the updated layer.

Run ``xvfb-run -a python benchmarks/retuning.py [--shown N] [--side PIXELS]``, where candidates
are ellipses, three at each place as SAM 2 gives them, with random scores, plus a few that cover
most of the image; or, for what nuclei-nano finds in the tiles of an image (a quarter of an hour)::

    python benchmarks/tiles.py mosaic DATA/train --shape 520 696 --grid 4 3 --save mosaic.png
    xvfb-run -a python benchmarks/retuning.py --image mosaic.png --diameter 25

Each figure counts from ``.value =`` until the
layer's data and features are set and its refresh has returned; the next column adds what
the window needs to draw. The last rows, which do not count for "all": clicks that show other
candidates, and the first threshold again while small regions are cleaned, whose first move
cleans the masks.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from masks import candidates
from napari_sam_amg import AutomaticMaskGenerator
from napari_sam_amg.plugin.promotion import Promotion
from napari_sam_amg.plugin.widget import AmgWidget

if TYPE_CHECKING:
    from napari_sam_amg.masks import Proposals

SWEEPS = {
    "pred_iou_thresh": np.linspace(0.6, 0.65, 40),
    "stability_score_thresh": np.linspace(0.85, 0.9, 40),
    "box_nms_thresh": np.linspace(0.3, 0.7, 40),
    "min_area": np.arange(0, 400, 10),
    "max_area": np.arange(100_000, 2000, -2500),
    "exclude_border": np.arange(20) % 2 == 0,
    "overlap": ["smallest_on_top", "best_score_on_top", "largest_on_top", "discard_overlaps"] * 5,
}


def found_in(image: np.ndarray, diameter: float) -> Proposals:
    """Return what nuclei-nano finds."""
    generator = AutomaticMaskGenerator("nuclei-nano", object_diameter=diameter)
    return generator.propose(image)


def main() -> None:
    """Print the timings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shown", type=int, default=1000)
    parser.add_argument("--side", type=int, default=2048)
    parser.add_argument("--image", type=Path, help="find the candidates in this image")
    parser.add_argument("--diameter", type=float, help="of its objects, in pixels")
    arguments = parser.parse_args()
    if arguments.image is not None:
        image = iio.imread(arguments.image)
        found = found_in(image, arguments.diameter)
    else:
        image = np.zeros((arguments.side, arguments.side), dtype=np.uint8)
        found = candidates(arguments.shown, arguments.side, np.random.default_rng(0))
    viewer = napari.Viewer()
    viewer.add_image(image, name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    for name in ("pred_iou_thresh", "stability_score_thresh"):
        getattr(widget, name).value = getattr(found.parameters, name)

    def run(*_: object) -> object:
        found.prepare()
        yield from ()
        return found

    widget._session.run = run  # the model's part is left out
    widget.run()
    app = QApplication.instance()
    while widget.labels_layer is None:
        app.processEvents()
    shown = len(widget.labels_layer.features) - 1
    print(f"{shown} masks shown of {len(found)} candidates of {found.shape} pixels, ms")
    print(f"{'':<26}{'median':>8}{'p95':>8}{'max':>8}{'drawn p95':>12}{'shown':>14}")
    everything = []
    for name, values in SWEEPS.items():
        field = getattr(widget, name)
        before, set_in, drawn_in, counts = field.value, [], [], []
        for value in values:
            start = time.perf_counter()
            field.value = value if isinstance(value, str) else value.item()
            set_in.append(1000 * (time.perf_counter() - start))
            counts.append(len(widget.labels_layer.features) - 1)
            app.processEvents()
            drawn_in.append(1000 * (time.perf_counter() - start))
        field.value = before
        everything += set_in
        _row(name, set_in, drawn_in, counts)
    _row("all", everything, [], [])
    _clicks(widget, np.random.default_rng(1))
    widget.min_mask_region_area.value = 50
    set_in = []
    for value in SWEEPS["pred_iou_thresh"]:
        start = time.perf_counter()
        widget.pred_iou_thresh.value = value.item()
        set_in.append(1000 * (time.perf_counter() - start))
    _row("with small regions cleaned", set_in, [], [])
    viewer.close()


def _clicks(widget: AmgWidget, rng: np.random.Generator) -> None:
    """Time clicks that go through the candidates at places where a mask is shown."""
    promotion = Promotion(widget.result)
    set_in = []
    for _ in range(15):
        rows, columns = np.nonzero(widget.labels_layer.data)
        at = rng.integers(len(rows))
        for _ in range(3):
            start = time.perf_counter()
            promotion.promote(int(columns[at]), int(rows[at]))
            set_in.append(1000 * (time.perf_counter() - start))
    _row("clicks", set_in, [], [])


def _row(name: str, set_in: list[float], drawn_in: list[float], shown: list[int]) -> None:
    figures = [np.median(set_in), np.percentile(set_in, 95), max(set_in)]
    drawn = f"{np.percentile(drawn_in, 95):12.1f}" if drawn_in else ""
    drawn += f"{min(shown):>8} to {max(shown)}" if shown else ""
    print(f"{name:<26}" + "".join(f"{figure:8.1f}" for figure in figures) + drawn)


if __name__ == "__main__":
    main()
