"""Time what a run costs napari's window (needs a display: xvfb-run -a python ...).

``python benchmarks/window.py [gaps] [cost] [cancel] [start]``; without names, all four.

gaps
    While a run is on, how long the window's event loop is away: a timer is due every
    10 ms, and the gap between two calls counts. p99 is to stay below 100 ms.
cost
    The same run in the worker and as a direct call, in turns; the median of the ratios of
    each pair, with an interval by resampling pairs. At most 3 % is allowed.
cancel
    From a click on Cancel to the end of the worker, at random moments of encoding with
    Hiera-L and random weights. p95 is to stay below 1 s.
start
    What the plugin adds to napari's start: discovery of its manifest and import of the
    widget's module in fresh interpreters, where napari's own imports are done. At most
    20 ms. Opening the widget is not part of it: a user asks for that.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam_amg.plugin.widget import AmgWidget

_PAIRS = 50
_CANCELS = 20
_STARTS = 20


def _image() -> Any:
    import imageio.v3 as iio

    folder = Path(str(files("napari_sam_amg"))) / "data" / "samples"
    return iio.imread(folder / "fluorescence.png")


def _window(image: Any) -> tuple[Any, AmgWidget]:
    import napari

    from napari_sam_amg.plugin.widget import AmgWidget

    viewer = napari.Viewer()
    viewer.add_image(image, name="cells")
    widget = AmgWidget(viewer)
    viewer.window.add_dock_widget(widget)
    return viewer, widget


def _until(done: Callable[[], bool]) -> None:
    """Let the window's own event loop run, as a user's does, until `done`."""
    from qtpy.QtCore import QEventLoop, QTimer

    loop, timer = QEventLoop(), QTimer()
    timer.setInterval(20)
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start()
    loop.exec()


def gaps() -> None:
    """Print the gaps of the event loop during a session's first run, and during a longer one."""
    from qtpy.QtCore import QTimer

    viewer, widget = _window(_image())
    for what, points in (("the first run, which imports torch,", 8), ("a run", 32)):
        widget.free_memory()
        widget.points_per_side.value = points
        ticks: list[float] = []
        timer = QTimer()
        timer.setInterval(10)
        timer.timeout.connect(lambda ticks=ticks: ticks.append(time.perf_counter()))
        timer.start()
        widget.run()
        _until(lambda: widget._worker is None)
        timer.stop()
        away = 1000 * np.diff(ticks)
        print(
            f"gaps of the event loop during {what} of {ticks[-1] - ticks[0]:.1f} s, ms: median "
            f"{np.median(away):.0f}, p99 {np.percentile(away, 99):.0f}, max {away.max():.0f}"
        )
    viewer.close()


def cost() -> None:
    """Print the worker's time over that of a direct call."""
    from qtpy.QtCore import QEventLoop

    from napari_sam_amg.plugin.jobs import Control

    viewer, widget = _window(_image())
    widget.points_per_side.value = 16
    session = widget._session
    run = session.run
    seconds: list[float] = []

    def timed(*arguments: Any) -> Any:
        start = time.perf_counter()
        result = yield from run(*arguments)
        seconds.append(time.perf_counter() - start)
        return result

    session.run = timed  # type: ignore[method-assign]
    pairs = []
    for turn in range(_PAIRS + 1):
        pair = {}
        for kind in ("direct", "worker") if turn % 2 else ("worker", "direct"):
            if session._generator is not None:
                session._generator.clear_cache()
            if kind == "direct":
                for _ in session.run(widget._job(widget.image), Control()):
                    pass
            else:
                loop = QEventLoop()
                widget.run().finished.connect(loop.quit)
                loop.exec()
            pair[kind] = seconds.pop()
        if turn:  # the first loads the model
            pairs.append(pair)
    ratios = [pair["worker"] / pair["direct"] for pair in pairs]
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(medians, (2.5, 97.5))
    fastest = min(p["worker"] for p in pairs) / min(p["direct"] for p in pairs)
    print(
        f"worker over a direct call, {len(ratios)} pairs of about "
        f"{statistics.median(p['direct'] for p in pairs):.1f} s: median "
        f"{statistics.median(ratios):.3f} (95 % {low:.3f} to {high:.3f}), "
        f"fastest over fastest {fastest:.3f}"
    )
    viewer.close()


def cancel() -> None:
    """Print how long cancelling takes with a large model."""
    import torch

    from napari_sam_amg import AutomaticMaskGenerator
    from napari_sam_amg.models.architecture import ARCHITECTURES, build

    torch.manual_seed(0)
    large = AutomaticMaskGenerator(build(ARCHITECTURES["sam2.1_hiera_large"]), device="cpu")
    rng = np.random.default_rng(0)
    viewer, widget = _window(rng.integers(0, 255, (1024, 1024), dtype=np.uint8))
    session = widget._session
    session.generator = lambda job: large.configured(**job.parameters)  # random weights
    waits = []
    for _ in range(_CANCELS):
        large.clear_cache()
        widget.run()
        moment = time.perf_counter() + rng.uniform(0.2, 8)
        _until(lambda moment=moment: time.perf_counter() > moment)
        start = time.perf_counter()
        widget.cancel()
        _until(lambda: widget._worker is None)
        waits.append(time.perf_counter() - start)
    print(
        f"from Cancel to stopped, Hiera-L on CPU, {len(waits)} times, s: median "
        f"{np.median(waits):.2f}, p95 {np.percentile(waits, 95):.2f}, max {max(waits):.2f}"
    )
    viewer.close()


_START = """
import time
import napari, napari.layers, napari.viewer, napari.qt.threading, magicgui.widgets, superqt
start = time.perf_counter()
{what}
import os, sys
sys.stdout.write(str(time.perf_counter() - start))
sys.stdout.flush()
os._exit(0)  # the viewer is not closed
"""
_DISCOVER = (
    "from npe2 import PluginManifest; import napari_sam_amg, pathlib; "
    "PluginManifest.from_file(pathlib.Path(napari_sam_amg.__file__).parent / 'napari.yaml')"
)


_IMPORT = "import napari_sam_amg.plugin.widget"
_OPEN = """
viewer = napari.Viewer(show=False)
start = time.perf_counter()
from napari_sam_amg.plugin.widget import AmgWidget
viewer.window.add_dock_widget(AmgWidget(viewer))
"""


def start() -> None:
    """Print what the plugin adds to napari's start and to the first opening."""
    for name, what in (
        ("manifest and import of the widget's module", f"{_DISCOVER}; {_IMPORT}"),
        ("the manifest of these", _DISCOVER),
        ("opening the widget, when the user asks for it", _OPEN),
    ):
        code = _START.format(what=what)
        times = [
            1000
            * float(
                subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=True
                ).stdout
            )
            for _ in range(_STARTS)
        ]
        print(f"{name}: median {statistics.median(times):.0f} ms of {len(times)} interpreters")


def main() -> None:
    """Run the chosen ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = {"gaps": gaps, "cost": cost, "cancel": cancel, "start": start}
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(kinds))
    for name in parser.parse_args().kinds or kinds:
        kinds[name]()


if __name__ == "__main__":
    main()
