"""Linking of slices and of time points on scenes of real nuclei, beside a plain chain by IoU.

    python benchmarks/linking.py scenes DATA/train             # tables of docs/linking.md
    python benchmarks/linking.py scenes DATA/train --tune      # other seeds, other nuclei
    python benchmarks/linking.py scenes DATA/train --model     # nuclei-nano finds the nuclei
    python benchmarks/linking.py volumes DATA/train            # slices and time points
    python benchmarks/linking.py speed                         # 30 slices of 1,000 masks

DATA is laid out like BBBC038. Scenes and what is wrong in them: `linking_scenes.py`; scores:
`linking_scores.py`.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from linking_scenes import Scene, nuclei, series, stack
from linking_scores import Linked, chain, painted, score, summary, true_ids
from linking_volumes import as_true, chained, ours, score_volumes, volumes
from napari_sam_amg import (
    AutomaticMaskGenerator,
    Masks,
    Volume,
    link_slices,
    track_objects,
)
from napari_sam_amg.masks import MaskStore, MaskTable

KINDS = {
    "z, sparse": lambda library, seed: stack(library, seed, attempts=120),
    "z, dense": lambda library, seed: stack(library, seed, attempts=1500),
    "t, still stage": lambda library, seed: series(library, seed, cells=70, drift=0),
    "t, moving stage": lambda library, seed: series(library, seed, cells=70, drift=12),
}
THRESHOLDS = (0.1, 0.3, 0.5)
"""Of the chain; 0.3 has the best AP50, and 0.1 the most links, on the scenes of --tune."""


def linked(volume: Volume, frames: list[Masks]) -> Linked:
    """Return the objects of a volume."""
    ids = [np.zeros(len(masks), dtype=np.int64) for masks in frames]
    for here, labels, sources in zip(ids, volume.labels, volume.sources, strict=True):
        here[sources[sources >= 0]] = labels[sources >= 0]
    return Linked(ids, volume.to_labels(), {})


def tracked(frames: list[Masks], **parameters: object) -> Linked:
    """Return tracks as they come."""
    tracks = track_objects(frames, **parameters)
    return Linked(list(tracks.ids), tracks.to_labels(), tracks.parents)


def ways(kind: str) -> dict[str, object]:
    """Return what is compared."""
    found = {
        f"chain, IoU {threshold}": lambda frames, t=threshold: chain(frames, t)
        for threshold in THRESHOLDS
    }
    if kind.startswith("z"):
        return {**found, "link_slices": lambda frames: linked(link_slices(frames), frames)}
    return {**found, "track_objects": tracked}


def scenes(arguments: argparse.Namespace) -> None:
    """Print a table for each kind of scene."""
    library = nuclei(arguments.data, held_out=not arguments.tune)
    first = 0 if arguments.tune else 100
    generator = AutomaticMaskGenerator("nuclei-nano") if arguments.model else None
    for kind, make in KINDS.items():
        if arguments.only and arguments.only not in kind:
            continue
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(first, first + arguments.seeds):
            scene: Scene = make(library, seed)
            frames = scene.detections
            if generator is not None:
                frames = [generator.segment(image) for image in scene.images]
            true = true_ids(scene.truth, frames)
            parents = {d: mother for mother, pair in scene.divisions.items() for d in pair}
            right = Linked(true, painted(frames, true), parents)
            rows.setdefault("true links", []).append(
                score(right, scene.truth, true, scene.divisions)
            )
            for name, way in ways(kind).items():
                result = way(frames)
                rows.setdefault(name, []).append(score(result, scene.truth, true, scene.divisions))
        table(kind, rows)


def table(kind: str, rows: dict[str, list[dict[str, float]]]) -> None:
    """Print the figures of all ways."""
    figures = {name: summary(found) for name, found in rows.items()}
    first = next(iter(figures.values()))
    print(f"\n{kind}: {len(next(iter(rows.values())))} scenes, {first['objects']} objects\n")
    heads = [head for head in first if head != "objects"]
    print(f"| way | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
    for name, one in figures.items():
        print(f"| {name} | {' | '.join(one[head] for head in heads)} |", flush=True)


def through_time(arguments: argparse.Namespace) -> None:
    """Print a table for volumes through time."""
    library = nuclei(arguments.data, held_out=not arguments.tune)
    first = 0 if arguments.tune else 100
    for kind, drift in {"z and t, still stage": 0, "z and t, moving stage": 12}.items():
        rows: dict[str, list[dict[str, float]]] = {}
        for seed in range(first, first + arguments.seeds):
            made = volumes(library, seed, cells=70, drift=drift, frames=10, slices=8)
            rows.setdefault("true links", []).append(score_volumes(as_true(made), made))
            for threshold in THRESHOLDS:
                found = score_volumes(chained(made.detections, threshold), made)
                rows.setdefault(f"chain, IoU {threshold}", []).append(found)
            found = score_volumes(ours(made.detections), made)
            rows.setdefault("link_and_track", []).append(found)
        table(kind, rows)


def speed(arguments: argparse.Namespace) -> None:
    """Time linking of large slices of discs, a tenth of which are missing."""
    rng = np.random.default_rng(0)
    places = rng.integers(40, 2008, (arguments.masks, 2))
    radii = rng.integers(12, 28, arguments.masks)
    slices = []
    for plane in range(arguments.slices):
        shrink = np.sqrt(max(0.05, 1 - ((plane - 15) / 16) ** 2))
        items = []
        for i in rng.permutation(arguments.masks):
            if rng.random() < 0.1:
                continue
            r = max(2, int(radii[i] * shrink))
            y, x = np.ogrid[-r : r + 1, -r : r + 1]
            top, left = places[i] + rng.integers(-2, 3, 2) - r
            items.append((left, top, y * y + x * x <= r * r))
        store = MaskStore.from_windows((2048, 2048), items)
        slices.append(Masks(store, MaskTable.unknown(store)))
    print(f"{arguments.slices} slices of 2048 x 2048 pixels, {sum(map(len, slices))} masks")
    for name, job in {
        "link_slices, gaps filled": lambda: link_slices(slices),
        "link_slices, gaps left open": lambda: link_slices(slices, fill_gaps="leave_open"),
        "track_objects": lambda: track_objects(slices),
    }.items():
        wall, processor = time.perf_counter(), time.process_time()
        result = job()
        print(
            f"{name}: {time.perf_counter() - wall:.1f} s, {time.process_time() - processor:.1f} s "
            f"of the processor, {result!r}"
        )


def main() -> None:
    """Print figures as tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    jobs = parser.add_subparsers(required=True)
    job = jobs.add_parser("scenes")
    job.add_argument("data", type=Path)
    job.add_argument("--seeds", type=int, default=10)
    job.add_argument("--tune", action="store_true", help="seeds and nuclei that are not reported")
    job.add_argument("--model", action="store_true", help="find nuclei in images of the scenes")
    job.add_argument("--only", help="only kinds of scenes whose name has this in it")
    job.set_defaults(run=scenes)
    job = jobs.add_parser("volumes")
    job.add_argument("data", type=Path)
    job.add_argument("--seeds", type=int, default=4)
    job.add_argument("--tune", action="store_true", help="seeds and nuclei that are not reported")
    job.set_defaults(run=through_time)
    job = jobs.add_parser("speed")
    job.add_argument("--slices", type=int, default=30)
    job.add_argument("--masks", type=int, default=1000)
    job.set_defaults(run=speed)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
