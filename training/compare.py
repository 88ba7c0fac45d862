"""Compare the scores of several runs that ``evaluate.py --output`` wrote.

    python training/compare.py A.json B.json [C.json ...]

Differences are paired, image by image, on the images of both; intervals hold 95 % of the means
over fields drawn anew. Of three runs or more (seeds) the spread between runs is said too.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

import scores
from resampling import shown

log = logging.getLogger("compare")


def compare(runs: dict[str, scores.Rows]) -> str:
    """Return Markdown: each run's measures by group, and its difference from the first."""
    names = list(runs)
    shared = set.intersection(*(set(rows) for rows in runs.values()))
    if not shared:
        raise SystemExit("the runs have no image in common")
    common = {run: {n: rows[n] for n in rows if n in shared} for run, rows in runs.items()}
    summaries = {run: scores.summary(rows) for run, rows in common.items()}
    changes = {run: scores.differences(common[run], common[names[0]]) for run in names[1:]}
    header = ["images", "number", "measure", names[0]]
    for run in names[1:]:
        header += [run, f"minus {names[0]}"]
    if len(names) > 2:
        header.append("mean of runs ± standard deviation")
    lines = []
    for group, first in summaries[names[0]].items():
        for measure in scores.MEASURES:
            line = [group, first["images"], measure, shown(first[measure])]
            for run in names[1:]:
                line.append(f"{summaries[run][group][measure][0]:.3f}")
                line.append(shown(changes[run][group][measure], signed=True))
            if len(names) > 2:
                means = [summaries[run][group][measure][0] for run in names]
                line.append(f"{np.mean(means):.3f} ± {np.std(means, ddof=1):.3f}")
            lines.append(line)
    return scores.table(header, lines)


def main() -> None:
    """Log a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="JSON files of evaluate.py --output")
    arguments = parser.parse_args()
    if len(arguments.runs) < 2:
        parser.error("give two runs or more")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = {}
    for path in arguments.runs:
        name = path.stem if path.stem not in runs else str(path)
        runs[name] = scores.read(path)
    log.info("%s", compare(runs))


if __name__ == "__main__":
    main()
