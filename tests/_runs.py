"""Runs of the command line on ``FOLDER/in``, with results in ``FOLDER/out``."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from napari_sam_amg.cli.arguments import OutputFormat

if TYPE_CHECKING:
    from pathlib import Path

IN_MEMORY = [form for form in get_args(OutputFormat) if form != "large"]
"""All formats but that of planes which are never in memory as a whole: see test_large.py."""


def command(folder: Path, *more: str) -> list[str]:
    """Return the arguments of a run over everything in ``in``."""
    return ["--input", str(folder / "in"), "--output", str(folder / "out"), "--recursive", *more]


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file's content, by its path within the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
