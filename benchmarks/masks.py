"""Time what `Masks` and `Proposals` do with very many masks on a large image.

Run ``python benchmarks/masks.py [--masks N] [--side PIXELS]``; it prints seconds. No model
is used: masks are ellipses of mixed sizes, a tenth of them within another one, plus a few
that cover most of the image, as a background found as an object does. With ``--live`` it is
milliseconds of what a moved slider asks for, on 2048x2048: `select` of 3,000 candidates, three
at a place as SAM 2 gives them, and `to_labels` of 1,000 masks.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.masks import Masks, MaskStore, MaskTable, Proposals
from napari_sam_amg.parameters import AmgParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt


def ellipses(
    count: int, side: int, radii: tuple[float, float], rng: np.random.Generator
) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """Yield windows of random ellipses that lie within a square image.

    Parameters
    ----------
    count, side : int
        How many; side of the image in pixels.
    radii : tuple of float
        Smallest and largest half axis in pixels.
    rng : numpy.random.Generator
        Where they are.
    """
    last = (0.0, 0.0, 0.0, 0.0)
    for index in range(count):
        if index % 10 == 9:  # within the one before
            x, y, a, b = last[0], last[1], max(1.0, last[2] / 2), max(1.0, last[3] / 2)
        else:
            a, b = np.minimum(rng.uniform(*radii, size=2), side / 2 - 1)
            x, y = rng.uniform(a, side - 1 - a), rng.uniform(b, side - 1 - b)
        last = (x, y, a, b)
        x0, y0 = int(np.floor(x - a)), int(np.floor(y - b))
        x1, y1 = min(int(x + a) + 1, side - 1), min(int(y + b) + 1, side - 1)
        dx = (np.arange(max(x0, 0), x1 + 1) - x) / a
        dy = (np.arange(max(y0, 0), y1 + 1) - y) / b
        inside = dx[None, :] ** 2 + dy[:, None] ** 2 <= 1
        inside[round(y) - max(y0, 0), round(x) - max(x0, 0)] = True
        yield max(x0, 0), max(y0, 0), inside


def candidates(shown: int, side: int, rng: np.random.Generator) -> Proposals:
    """Return candidates of which about `shown` are selected at a threshold of 0.6."""
    places = round(shown * 1.25)
    radius = side / np.sqrt(places) / 2.5
    items = []
    for x, y, window in ellipses(places, side, (0.5 * radius, 1.2 * radius), rng):
        half = window[: max(1, window.shape[0] // 2)]
        items += [(x, y, window), (x, y, half if half.any() else window), (x, y, window[:, ::-1])]
    items += list(ellipses(5, side, (side * 0.4, side * 0.49), rng))
    store = MaskStore.from_windows((side, side), items)
    count = len(store)
    return Proposals(
        store,
        MaskTable(
            predicted_iou=rng.uniform(0.5, 1, count),
            stability_score=np.ones(count),
            points=rng.uniform(0, side, (count, 2)),
            crop_boxes=MaskTable.unknown(store).crop_boxes,
        ),
        area_high=rng.integers(800, 1001, count),
        area_low=np.full(count, 1000),
        crop_index=np.zeros(count, dtype=np.int64),
        crop_boxes_all=[(0, 0, side, side)],
        parameters=AmgParameters(pred_iou_thresh=0.6, stability_score_thresh=0.85),
    )


def random_table(store: MaskStore, rng: np.random.Generator) -> MaskTable:
    """Return random scores for the masks of a store."""
    count = len(store)
    return MaskTable(
        predicted_iou=rng.uniform(0.5, 1, count),
        stability_score=rng.uniform(0.8, 1, count),
        points=rng.uniform(0, store.shape[0], (count, 2)),
        crop_boxes=MaskTable.unknown(store).crop_boxes,
    )


def timed(what: str, function: Callable[[], object], repeats: int = 3) -> None:
    """Print the median time of a few calls, and that of the processor alone."""
    seconds, busy = [], []
    for _ in range(repeats):
        start, start_busy = time.perf_counter(), time.process_time()
        function()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - start_busy)
    print(f"{what:<44}{np.median(seconds):8.2f} s{np.median(busy):8.2f} CPU-s")


def live(side: int = 2048, repeats: int = 50) -> None:
    """Print what re-tuning takes, at first and once `prepare` has run."""
    rng = np.random.default_rng(0)
    found = candidates(800, side, rng)
    found.select()  # imports torch, which a run has done
    thresholds = rng.uniform(0.55, 0.65, repeats).tolist()
    print(f"{len(found)} candidates on {side}x{side}, ms: min / median / max")

    def row(what: str, function: Callable[[float], object]) -> None:
        taken = []
        for value in thresholds:
            start = time.perf_counter()
            function(value)
            taken.append(1000 * (time.perf_counter() - start))
        print(f"{what:<44}{min(taken):8.1f} / {np.median(taken):.1f} / {max(taken):.1f}")

    masks = found.masks(rng.choice(len(found), 1000, replace=False))
    plain = masks.store
    row("select", lambda value: found.select(pred_iou_thresh=value))
    row("to_labels, 1000 masks, new each time", lambda _: found.masks(range(1000)).to_labels())
    row("to_labels, 1000 masks, again", lambda _: Masks(plain, masks.table).to_labels())
    start = time.perf_counter()
    found.prepare()
    print(f"{'prepare, once':<44}{1000 * (time.perf_counter() - start):8.1f}")
    row("select, prepared", lambda value: found.select(pred_iou_thresh=value))
    row("to_labels, 1000 masks, prepared", lambda _: found.masks(range(1000)).to_labels())
    row(
        "select and to_labels, prepared",
        lambda value: found.select(pred_iou_thresh=value).to_labels(),
    )


def main() -> None:
    """Print the timings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--live", action="store_true", help="what re-tuning takes instead")
    parser.add_argument("--masks", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--radii", type=float, nargs=2, default=(5.0, 60.0))
    arguments = parser.parse_args()
    if arguments.live:
        live()
        return
    rng = np.random.default_rng(0)
    side, count = arguments.side, arguments.masks
    items = list(ellipses(count - 5, side, tuple(arguments.radii), rng))
    items += list(ellipses(5, side, (side * 0.4, side * 0.49), rng))
    start = time.perf_counter()
    store = MaskStore.from_windows((side, side), items)
    print(f"{'from_windows':<44}{time.perf_counter() - start:8.2f} s")
    print(f"{len(store)} masks on {side}x{side}, {store.nbytes / 2**20:.1f} MiB,", end=" ")
    print(f"mean area {store.areas.mean():.0f} pixels")
    table = random_table(store, rng)
    for rule in ("smallest_on_top", "best_score_on_top", "largest_on_top", "discard_overlaps"):
        masks = Masks(store, table, overlap=rule)
        timed(f"to_labels, {rule}", masks.to_labels)
    timed("features", lambda: Masks(store, table).features)
    timed(
        "records, uncompressed_rle, 1000 masks",
        lambda: Masks(store, table)[:1000].records("uncompressed_rle"),
    )
    timed("take every second", lambda: Masks(store, table)[::2])
    low = rng.integers(80, 101, len(store)) * 10
    proposals = Proposals(
        store,
        table,
        area_high=np.minimum(low, 950),
        area_low=low,
        crop_index=np.zeros(len(store), dtype=np.int64),
        crop_boxes_all=[(0, 0, side, side)],
        parameters=AmgParameters(pred_iou_thresh=0.6, stability_score_thresh=0.9),
    )
    timed("select", proposals.select)
    timed("select, min_mask_region_area=20", lambda: proposals.select(min_mask_region_area=20))


if __name__ == "__main__":
    main()
