"""What every worker must have alike: versions, the model's weights and the parameters."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES = ("napari-sam-amg", "torch", "sam2", "numpy")
"""What has to be of one version everywhere; numbers depend on it, and what goes over the wire."""


@dataclass(frozen=True)
class Setup:
    """How workers find masks; two are equal if a model that was loaded for one suits the other.

    Attributes
    ----------
    key : str
        Stands for all the others.
    model : str or Path
        Name of a model, or the path of a checkpoint.
    sha256 : str
        Of its weights, as they are here.
    settings : dict
        Of `AutomaticMaskGenerator`, parameters too.
    versions : dict
        Of `PACKAGES`, as they are here.
    """

    key: str
    model: str | Path = field(compare=False)
    sha256: str = field(compare=False)
    settings: dict[str, Any] = field(compare=False)
    versions: dict[str, str] = field(compare=False)

    @classmethod
    def of(cls, model: str | Path, settings: Mapping[str, Any]) -> Setup:
        """Describe what to find masks with.

        Parameters
        ----------
        model : str or Path
            Name of a model, or the path of a checkpoint.
        settings : mapping
            As of `AutomaticMaskGenerator`.

        Raises
        ------
        ModelError
            If there is no such name or file.
        """
        from napari_sam_amg.models import list_models

        named = {info.name: info for info in list_models()}
        found: str | Path = model
        if model in named:
            sha256 = str(named[str(model)].sha256)
        else:
            found = Path(os.path.abspath(Path(model).expanduser()))
            sha256 = _digest(found)
        versions = local_versions()
        content = json.dumps(
            [str(found), sha256, dict(settings), versions], default=_plain, sort_keys=True
        )
        return cls(content, found, sha256, dict(settings), versions)


def local_versions() -> dict[str, str]:
    """Return the versions of `PACKAGES` in this process, and that of Python without its patch."""
    return {
        "python": minor(platform.python_version()),
        **{name: short(metadata.version(name)) for name in PACKAGES},
    }


def short(version: str) -> str:
    """Return a version without what says how it was built, such as ``+cpu``.

    A client without a GPU may have workers with one.
    """
    return version.partition("+")[0]


def minor(version: str) -> str:
    """Return a version without its patch: ``3.12``."""
    return ".".join(version.split(".")[:2])


def differing(own: Mapping[str, str], other: Mapping[str, str]) -> str:
    """Say which versions differ, each with both; empty if none does."""
    return ", ".join(
        f"{name} {other.get(name, 'missing')} (here {version})"
        for name, version in own.items()
        if other.get(name) != version
    )


def _digest(path: Path) -> str:
    import hashlib

    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read ({error.strerror})") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)
