"""Read a file of weights that may be damaged or hostile."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from napari_sam_amg.errors import ModelError
from napari_sam_amg.models.archive import ADVICE, check_archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

log = logging.getLogger(__name__)

MAX_BYTES = 4 * 2**30
"""Hiera-L with the state of its optimiser has 2.7 GB."""

_ZIP = b"PK\x03\x04"
_TAR = slice(257, 262)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint file.

    Attributes
    ----------
    content : object
        What was saved: tensors on the CPU in plain containers. Not yet checked.
    sha256 : str
        Hash of the file.
    size_bytes : int
        Size of the file.
    """

    content: object
    sha256: str
    size_bytes: int


@contextmanager
def open_regular(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; refuse pipes, devices, folders and dangling links.

    A link to a regular file is followed: people keep large models elsewhere.
    """
    try:
        # Looked at before it is opened: opening a pipe would wait for ever.
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise ModelError(f"{path}: is a folder; give the .pt or .safetensors file in it")
        if not stat.S_ISREG(mode):
            raise ModelError(f"{path}: is a pipe or device; give a .pt or .safetensors file")
        file = path.open("rb")
    except FileNotFoundError:
        broken = " (the link points to nothing)" if path.is_symlink() else ""
        raise ModelError(
            f"{path}: there is no such checkpoint file{broken}; check the path"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise ModelError(f"{path}: cannot be opened ({reason}); check path and rights") from None
    with file:
        yield file


def read_checkpoint(file: IO[bytes], name: str, *, expected_sha256: str | None) -> Checkpoint:
    """Read a ``.pt`` or ``.safetensors`` file without running anything in it.

    Parameters
    ----------
    file : binary file
        Open for reading, at any position. What it is shows in its first bytes.
    name : str
        What messages call the file.
    expected_sha256 : str or None
        Refuse any other content; None takes what comes.

    Returns
    -------
    Checkpoint

    Raises
    ------
    ModelError
        If it is not what it should be, damaged, too large, or holds more than tensors and
        plain values. The message says which, and what to do.
    """
    size = file.seek(0, os.SEEK_END)
    if size > MAX_BYTES:
        raise ModelError(
            f"{name}: refused: {size} bytes are more than the {MAX_BYTES} that are read; "
            f"no SAM 2 model is that large. {ADVICE}"
        )
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    sha256 = hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise ModelError(
            f"{name}: is not the file that was asked for: its SHA-256 is {sha256}, and should be "
            f"{expected_sha256}; delete it and download or install it again"
        )
    if head.startswith(_ZIP):
        check_archive(file, name)
        content = _load_torch(file, name)
    elif _is_safetensors(head, size):
        content = _load_safetensors(file, name)
    else:
        raise ModelError(f"{name}: {_what(head)}")
    return Checkpoint(content, sha256, size)


def _is_safetensors(head: bytes, size: int) -> bool:
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= size - 8


def _load_torch(file: IO[bytes], name: str) -> object:
    import torch

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 10):
        raise ModelError(
            f"{name}: not read: torch {torch.__version__} has known holes in reading .pt files; "
            "install torch 2.10 or later, or use a .safetensors file"
        )
    file.seek(0)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever the file provokes is the file's fault
        raise _damaged(name, error) from None


def _load_safetensors(file: IO[bytes], name: str) -> object:
    from safetensors.torch import load

    file.seek(0)
    try:
        return load(file.read())
    except Exception as error:  # noqa: BLE001 - as above
        raise _damaged(name, error) from None


def _damaged(name: str, error: Exception) -> ModelError:
    log.debug("%s: %s: %s", name, type(error).__name__, error)
    return ModelError(
        f"{name}: damaged or not a plain table of tensors ({type(error).__name__} on reading); "
        f"fetch or copy it again. {ADVICE}"
    )


def _what(head: bytes) -> str:
    """Say what a file is that is no checkpoint, and what to do."""
    start = head.lstrip().lower()
    if not head:
        return "is empty (0 bytes); fetch or copy it again"
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return (
            "is a web page, not a model: the download led to a login or an error page; "
            "fetch it again with a browser"
        )
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of git LFS, not the model itself; run 'git lfs pull' there"
    if head[_TAR] == b"ustar" or head.startswith(b"\x80"):
        return (
            "refused: a checkpoint in the old form (before torch 1.6) or a bare Python object, "
            f"which can run code. {ADVICE}"
        )
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file, not a SAM 2 checkpoint; give a .pt or .safetensors file"
    return (
        "is not a .pt file of torch.save nor a .safetensors file; it may be damaged or cut off: "
        "fetch or copy it again"
    )
