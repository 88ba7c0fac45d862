"""Archives like those of ``torch.save``, with whatever in them."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Storage:
    """A reference to ``data/KEY`` that claims to have `count` numbers."""

    key: str
    count: int
    kind: type = torch.FloatStorage


class Call:
    """Pickles as a call of `function`: how code gets into a pickle."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, Storage):
            return ("storage", obj.kind, obj.key, "cpu", obj.count)
        return None


def tensor(storage: Storage, size: tuple[int, ...], stride: tuple[int, ...]) -> Call:
    """A tensor as ``torch.save`` writes it, with any claims."""
    from collections import OrderedDict

    rebuild = torch._utils._rebuild_tensor_v2
    return Call(rebuild, storage, 0, size, stride, False, OrderedDict())


def program(content: Any, protocol: int = 2) -> bytes:
    """Pickle with storages by reference."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(content)
    return buffer.getvalue()


def write_archive(
    path: Path,
    members: dict[str, bytes],
    *,
    compression: int = zipfile.ZIP_STORED,
    prefix: str = "archive/",
) -> Path:
    """Write a zip archive; names get `prefix` unless they start with ``!``."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name[1:] if name.startswith("!") else prefix + name, data)
    return path


def write_pt(path: Path, content: Any, records: dict[str, bytes] | None = None) -> Path:
    """Write what ``torch.load`` takes for a checkpoint."""
    members = {"data.pkl": program(content), "byteorder": b"little", "version": b"3\n"}
    members |= {f"data/{key}": data for key, data in (records or {}).items()}
    return write_archive(path, members)
