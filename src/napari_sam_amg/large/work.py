"""What an unfinished run has found so far, and whether another one may go on from it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError, ReadError, WriteError
from napari_sam_amg.formats.atomic import failure_named, write_file
from napari_sam_amg.large.candidates import Candidates, packed, unpacked
from napari_sam_amg.large.identity import differing
from napari_sam_amg.large.output import LABELS, MASKS, TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_sam_amg.engine.tiles import Tile
    from napari_sam_amg.large.identity import Identity

log = logging.getLogger(__name__)

WORK, RUN = "unfinished", "run.json"
"""Folder of an unfinished run within that of the result, and what says how it was made."""

_OF_RUN = frozenset({"identity", "mapping", "date"})
_OF_RESULT = frozenset({"identity", "masks", "pixels", "pixel_size"})


class Work:
    """The folder of a run's finished tiles.

    Parameters
    ----------
    folder : Path
        Of the result.
    record : mapping
        ``identity``, ``mapping`` and ``date``: JSON.
    """

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.record = record
        self._folder = folder
        self._tiles = folder / WORK / "tiles"

    @classmethod
    def found(cls, folder: Path, identity: Identity, *, resume: bool) -> Work | None:
        """Return the unfinished run in a folder, if it may and shall be gone on with.

        Parameters
        ----------
        folder : Path
            Of the result.
        identity : dict
            What must be the same.
        resume : bool
            If not, None is returned for it.

        Raises
        ------
        WriteError
            If the folder holds something else, a finished result, or an unfinished one that
            was made otherwise.
        """
        if folder.exists() and not folder.is_dir():
            raise WriteError(f"{folder} is a file; choose another name for the folder")
        if not folder.exists():
            return None
        if os.path.isfile(folder / RUN):
            raise WriteError(
                f"{folder} holds a finished result; choose another folder, or remove it"
            )
        record = _record(folder / WORK / RUN, _OF_RUN)
        if others := foreign(folder):
            raise WriteError(
                f"{folder} holds more than an unfinished run: {', '.join(others[:3])}; choose "
                "another folder"
            )
        if record is None or not resume:
            return None
        if differences := differing(record["identity"], identity):
            raise WriteError(
                f"{folder} holds an unfinished run that differs in {', '.join(differences)}: go "
                "on with the same, choose another folder, or remove this one to start anew"
            )
        return cls(folder, record)

    @classmethod
    def begun(cls, folder: Path, record: Mapping[str, Any]) -> Work:
        """Begin a run in a folder that `found` gave no run of; what is left there is removed."""
        with failure_named(folder):
            (folder / TABLE).unlink(missing_ok=True)
            for part in (folder / WORK / "tiles", folder / LABELS, folder / MASKS):
                if part.exists():
                    shutil.rmtree(part)
        with write_file(folder / WORK / RUN) as file:
            file.write(json.dumps(record, indent=1).encode())
        return cls(folder, record)

    def load(self, tile: Tile, digest: NDArray[np.uint8]) -> Candidates | None:
        """Return the candidates of a tile, if it is finished.

        Parameters
        ----------
        tile : Tile
        digest : ndarray, uint8
            Of its pixels: see `digest`.

        Raises
        ------
        ImageError
            If they were found in other pixels.
        """
        path = self._path(tile)
        if not path.exists():
            return None
        try:
            found, more = unpacked(path)
        except ReadError as error:
            log.warning("%s: the tile is done again", error)
            return None
        if not np.array_equal(more.get("digest", ()), digest):
            x0, y0, x1, y1 = tile.crop.box
            raise ImageError(
                f"the image is not the one of the unfinished run in {self._folder}: rows {y0} to "
                f"{y1 - 1}, columns {x0} to {x1 - 1} have changed; choose another folder, or "
                "remove this one to start anew"
            )
        return found

    def save(self, tile: Tile, digest: NDArray[np.uint8], found: Candidates) -> None:
        """Keep the candidates of a tile: whole, or not at all."""
        path = self._path(tile)
        # Not forced to disk, which takes long: a damaged file is noticed and made again.
        part = path.with_suffix(".part")
        with failure_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(packed(found, digest=digest))
            os.replace(part, path)

    def finish(self, provenance: Mapping[str, Any]) -> None:
        """Say that the result is complete, and remove the finished tiles."""
        with write_file(self._folder / RUN) as file:
            file.write(json.dumps(provenance, indent=1).encode())
        clear(self._folder)

    def _path(self, tile: Tile) -> Path:
        # Folders of a row each: none gets very long.
        return self._tiles / f"{tile.crop.box[1]:010d}" / f"{tile.number:010d}.npz"


def is_finished(folder: Path) -> bool:
    """Return whether a folder holds a finished result."""
    try:
        return _record(folder / RUN, _OF_RESULT) is not None
    except WriteError:
        return False


def is_ours(folder: Path) -> bool:
    """Return whether a folder holds a result, or an unfinished run."""
    try:
        return is_finished(folder) or _record(folder / WORK / RUN, _OF_RUN) is not None
    except WriteError:
        return False


def foreign(folder: Path) -> list[str]:
    """Return the names in a folder that are no part of a result or of an unfinished run."""
    ours = {WORK}
    if os.path.isfile(folder / RUN) or os.path.isfile(folder / WORK / RUN):
        ours |= {RUN, LABELS, MASKS, TABLE}
    with failure_named(folder):
        return sorted({path.name for path in folder.iterdir()} - ours)


def clear(folder: Path) -> None:
    """Remove what is left of an unfinished run in the folder of a result."""
    with failure_named(folder / WORK):
        if (folder / WORK).exists():
            shutil.rmtree(folder / WORK)


def digest(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a hash of pixels in their own values, uint8."""
    found = hashlib.blake2b(f"{pixels.shape} {pixels.dtype.str}".encode(), digest_size=16)
    found.update(np.ascontiguousarray(pixels).data)
    return np.frombuffer(found.digest(), dtype=np.uint8)


def _record(path: Path, keys: frozenset[str]) -> dict[str, Any] | None:
    """Read what a run says of itself; None if it did not come to that."""
    if not os.path.isfile(path):  # not its method, which raises where one may not look
        return None
    try:
        record = json.loads(path.read_bytes())
        if isinstance(record, dict) and keys <= record.keys():
            return record
    except (OSError, ValueError) as error:
        raise WriteError(f"{path} cannot be read: {error}") from error
    raise WriteError(f"{path} is no record of such a run; choose another folder")
