"""Where results go, and whether they may."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_sam_amg.cli.arguments import OutputFormat
    from napari_sam_amg.cli.inputs import Source

DATASET = "annotations.json"
_SUFFIXES: dict[str, tuple[str, ...]] = {
    "png": ("",),
    "rle": (".json", ".run.json"),
    "labels": (".tif",),
    "coco": (),
}


def targets(source: Source, *, output: Path, output_format: OutputFormat) -> tuple[Path, ...]:
    """Return what a run writes for one image; nothing for a COCO dataset.

    Parameters
    ----------
    source : Source
    output : Path
        Folder of the results.
    output_format : {"png", "rle", "coco", "labels"}

    Returns
    -------
    tuple of Path
        The result itself comes first.
    """
    return tuple(output / (source.stem + suffix) for suffix in _SUFFIXES[output_format])


def check_targets(sources: Iterable[Source], *, output: Path, output_format: OutputFormat) -> None:
    """Refuse a run whose results would destroy each other, an image or foreign files.

    Parameters
    ----------
    sources : iterable of Source
    output : Path
        Folder of the results.
    output_format : {"png", "rle", "coco", "labels"}

    Raises
    ------
    ParameterError
        Naming the files, and what to do.
    """
    if output.exists() and not output.is_dir():
        raise ParameterError(f"--output {output}: this is a file; name a folder")
    sources = list(sources)
    images = {_key(source.path): source.path for source in sources}
    owners: dict[str, Source] = {}
    for source in sources:
        written = targets(source, output=output, output_format=output_format)
        for target in written or (output / source.name,):
            key = _key(target)
            other = owners.setdefault(key, source)
            if other is not source:
                raise _collision(other, source, target)
            if written and key in images:
                raise ParameterError(
                    f"the result {target} would replace the image {images[key]}: choose "
                    "another --output"
                )
        for target in written:
            _check_existing(target, output_format)
    if output_format == "png":
        _check_nesting(owners, output)


def _key(path: Path) -> str:
    """Make a key that is equal for paths that can be the same file here."""
    text = unicodedata.normalize("NFC", os.path.normcase(os.path.abspath(path)))
    return text.casefold() if sys.platform == "darwin" else text


def _collision(first: Source, second: Source, target: Path) -> ParameterError:
    return ParameterError(
        f"{first.path} and {second.path} would both be written to {target}: rename one, or "
        "run them with different --output"
    )


def _check_nesting(owners: dict[str, Source], output: Path) -> None:
    top = _key(output)
    for key, source in owners.items():
        parent = os.path.dirname(key)
        while len(parent) > len(top):
            if parent in owners:
                raise _collision(owners[parent], source, Path(parent))
            parent = os.path.dirname(parent)


def _check_existing(target: Path, output_format: OutputFormat) -> None:
    if output_format != "png":
        if target.is_dir():
            raise ParameterError(
                f"a folder stands where the result {target} would go: choose another --output"
            )
        return
    if not target.exists():
        return
    foreign = [target.name]
    if target.is_dir():
        from napari_sam_amg.formats.atomic_folder import foreign_files
        from napari_sam_amg.formats.png_folder import is_result_file

        foreign = foreign_files(target, is_ours=is_result_file)
    if foreign:
        raise ParameterError(
            f"{target} would be replaced, but is not an earlier result: it holds "
            f"{', '.join(foreign[:3])}{' ...' if len(foreign) > 3 else ''}; choose another "
            "--output or move it away"
        )


def is_done(source: Source, *, output: Path, output_format: OutputFormat) -> bool:
    """Return whether an image has a complete result from an earlier run.

    Results appear under their name only once they are complete.
    """
    written = targets(source, output=output, output_format=output_format)
    return bool(written) and all(target.exists() for target in written)
