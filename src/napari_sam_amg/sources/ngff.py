"""What the folders of OME-Zarr say of themselves (NGFF 0.4 and 0.5): JSON, no pixels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_sam_amg.errors import ImageError, ReadError
from napari_sam_amg.formats.reading import parse_json, read_bytes

if TYPE_CHECKING:
    from napari_sam_amg.formats.atomic import AnyPath

_MOST_BYTES = 1 << 26
_KINDS = ("multiscales", "plate", "well", "bioformats2raw.layout")
_MOST_FIELDS = 100_000


def attributes(folder: AnyPath) -> dict[str, Any]:
    """Return the attributes of a Zarr group, those of OME-Zarr 0.5 taken out of ``ome``.

    Parameters
    ----------
    folder : path

    Returns
    -------
    dict
        Empty if it is no Zarr group, or cannot be read.
    """
    place = Path(folder)
    found = _object(_json(place / "zarr.json").get("attributes"))
    if not found:
        return _json(place / ".zattrs")
    return {**found, **_object(found.get("ome"))}


def is_ome_zarr(folder: AnyPath) -> bool:
    """Return whether a folder is an image, a plate, a well or a series of OME-Zarr."""
    return bool(set(_KINDS) & set(attributes(folder)))


def images_in(folder: AnyPath) -> list[str]:
    """Return where the images of an OME-Zarr folder are.

    Parameters
    ----------
    folder : path
        An image, or a collection of images: a plate, a well, or what bioformats2raw writes.

    Returns
    -------
    list of str
        Paths within the folder, with ``/``; ``"."`` if it is an image itself. A plate's
        fields are in the order of its wells. Those that are said to be there, but are not,
        are left out.

    Raises
    ------
    ImageError
        If the description is damaged, or there is no image.
    """
    place, found = Path(folder), attributes(folder)
    names: list[str] = []
    if "multiscales" in found:
        return ["."]
    try:
        if "plate" in found:
            wells = [str(well["path"]) for well in found["plate"]["wells"]]
            names = [
                f"{well}/{field}"
                for well in wells
                for field in _fields(attributes(_within(place, well)))
            ]
        elif "well" in found:
            names = _fields(found)
        elif "bioformats2raw.layout" in found:
            listed = attributes(place / "OME").get("series")
            names = [str(one) for one in listed] if listed else _numbered(place)
        if len(names) > _MOST_FIELDS:
            raise ValueError("absurd")
        there = [name for name in names if "multiscales" in attributes(_within(place, name))]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(
            f"{folder}: the description of this OME-Zarr collection is damaged"
        ) from error
    if not there:
        raise ImageError(
            f"{folder} holds no image of OME-Zarr: no 'multiscales' are described in it"
        )
    return there


def _fields(found: dict[str, Any]) -> list[str]:
    return [str(image["path"]) for image in _object(found.get("well")).get("images", [])]


def _numbered(folder: Path) -> list[str]:
    names: list[str] = []
    while os.path.isdir(folder / str(len(names))):
        names.append(str(len(names)))
    return names


def _within(folder: Path, name: str) -> Path:
    # What a file says must not lead to other places on the disk.
    if not name or os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
        raise ValueError("a path that leads out of the folder")
    return folder / name


def _json(path: Path) -> dict[str, Any]:
    if not os.path.isfile(path):
        return {}
    try:
        return _object(parse_json(read_bytes(path, max_bytes=_MOST_BYTES), path))
    except ReadError:
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
