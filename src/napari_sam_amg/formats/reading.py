"""Bytes and JSON out of files from anywhere."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ReadError
from napari_sam_amg.formats.limits import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath


def reason(error: OSError) -> str:
    """Return the operating system's reason for a refusal, to go on a sentence with."""
    return (error.strerror or "input or output error").lower()


def read_bytes(path: AnyPath, *, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a regular file.

    Raises
    ------
    ReadError
        If it cannot be read, is no regular file or is too large.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ReadError(f"{path} is not a file")
        if status.st_size > max_bytes:
            raise ReadError(f"{path} has {status.st_size:,} bytes; at most {max_bytes:,} are read")
        with open(path, "rb") as file:
            # Not max_bytes: reading takes all the memory that is asked for before it begins.
            return file.read(status.st_size)
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {reason(error)}") from error
    except ValueError:
        raise ReadError(f"{os.fspath(path)!r} is no name of a file") from None
    except MemoryError:
        raise ReadError(f"{path} needs more memory to read than there is") from None


def read_json(path: AnyPath) -> Any:
    """Read a JSON file from anywhere.

    Raises
    ------
    ReadError
        If it cannot be read or is not JSON.
    """
    return parse_json(read_bytes(path), path)


def parse_json(data: bytes, path: AnyPath) -> Any:
    """Parse the content of a JSON file; see `read_json`."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ReadError(f"{path} is not JSON: byte {error.start} is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ReadError(
            f"{path} is not JSON, or is cut short: {error.msg.lower()} in line {error.lineno}"
        ) from None
    except (RecursionError, ValueError):
        raise ReadError(f"{path} is not a file of masks: nested too deep or absurd") from None
    except MemoryError:
        raise ReadError(
            f"{path} needs more memory to read than there is; split it, or use a larger machine"
        ) from None
