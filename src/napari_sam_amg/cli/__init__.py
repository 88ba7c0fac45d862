"""The command line ``napari-sam-amg``: masks of whole folders of images.

A drop-in for segment-anything's ``amg.py``. Importing it loads no torch.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import TYPE_CHECKING

from napari_sam_amg.cli.models import download_model, list_models
from napari_sam_amg.cli.options import parse
from napari_sam_amg.cli.run import run_images
from napari_sam_amg.cli.streams import warn
from napari_sam_amg.errors import DownloadError, SamAmgError, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DONE, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130

_ACTIONS = {"run": run_images, "list": list_models, "download": download_model}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 all done, 1 some images failed, 2 nothing was started (wrong usage,
        a model that cannot be had, no folder for the results), 130 interrupted.
    """
    try:
        options = parse(sys.argv[1:] if argv is None else argv)
        with _silence() if options.quiet else contextlib.nullcontext():
            return SOME_FAILED if _ACTIONS[options.action](options) else DONE
    except SystemExit as end:
        # argparse ends the process after --help and --version.
        return end.code if isinstance(end.code, int) else DONE
    except WriteError as error:
        # The one file of a dataset, after all images were done.
        return _fail(error, SOME_FAILED)
    except SamAmgError as error:
        return _fail(error, USAGE)
    except KeyboardInterrupt:
        warn("napari-sam-amg: interrupted; what was finished is complete")
        return INTERRUPTED


def _fail(error: SamAmgError, status: int) -> int:
    # An error of a download says itself what to do.
    helps = status == USAGE and not isinstance(error, DownloadError)
    advice = "\nSee napari-sam-amg --help" if helps else ""
    warn(f"napari-sam-amg: error: {error}{advice}")
    return status


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep warnings, ours and other packages', from the terminal."""
    logger = logging.getLogger("napari_sam_amg")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
