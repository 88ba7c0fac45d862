"""Flags for stacks, channels and runs over many images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def add_stack_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the flags that say which planes are seen, and how."""
    group.add_argument(
        "--axes",
        metavar="ZYX",
        help="The axes of stacks whose file has no names for them, or wrong ones: one letter of "
        "T (time), C (channel), Z (depth), Y, X for each, such as TZYX. Images of one plane take "
        "no notice of it.",
    )
    group.add_argument(
        "--channel",
        metavar="N|NAME",
        help="The channel that the model sees, by number from 0 or by name; needed where there "
        "are several. RGB: three channels as the colours of one image.",
    )
    group.add_argument(
        "--z",
        metavar="RANGE",
        help="Planes along the depth, from 0: 3 is one, 0:10 are the first ten, 5: those from the "
        "sixth on, ::2 every other. All by default.",
    )
    group.add_argument("--t", metavar="RANGE", help="Planes along time, in the same way.")
    group.add_argument(
        "--brightness",
        choices=("stack", "plane"),
        help="Where --contrast is not given: percentiles of the whole stack (the default), so "
        "that its planes are seen alike, or of each plane.",
    )


def add_scheduler_argument(group: argparse._ArgumentGroup) -> None:
    """Add the flag that has other machines find the masks."""
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="Find the masks on the workers of a Dask scheduler, such as tcp://host:8786, or the "
        "file that 'dask scheduler --scheduler-file' wrote. Workers read the images and "
        "--checkpoint from the same paths; --device is theirs. Results are written here.",
    )


def add_run_arguments(group: argparse._ArgumentGroup) -> None:
    """Add the flags for one configuration and one table over all images."""
    group.add_argument(
        "--config",
        metavar="FILE",
        help="Model and parameters from a file of settings that napari's widget saved. Flags "
        "prevail over it.",
    )
    group.add_argument(
        "--summary",
        action="store_true",
        help="Write summary.csv besides: for each image and plane the count of masks, their "
        "areas, the part of the image that they cover, intensities in and outside them, or the "
        "error.",
    )
