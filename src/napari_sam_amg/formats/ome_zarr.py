"""Label images of a stack as OME-Zarr (NGFF 0.4), over a copy of the planes that they are of."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats.atomic_folder import write_folder
from napari_sam_amg.formats.records import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.formats.label_stack import LabelStack

KEY = "napari_sam_amg"
"""Key of the run's record among the attributes of the image."""

LABELS = "masks"
"""Name of the label image in the group ``labels``."""

_VERSION = "0.4"
_SIDE = 1024
_TYPES = {"T": "time", "C": "channel"}
_UNITS = {"T": "second"}
_COLOURS = ("FFFFFF", "00FF00", "FF00FF", "00FFFF", "FFFF00", "FF0000", "0000FF")
_RGB = ("FF0000", "00FF00", "0000FF")
# A writer that was killed leaves files of the library's own temporary names, or no file.
_OURS = re.compile(
    r"(labels/(masks/)?)?(\.z(group|attrs)|0/(\.z(array|attrs)|([0-9]+/)*[0-9]*))"
    r"(\.[0-9a-f]{32}\.partial)?|(labels/(masks/)?)?(0/)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Channels:
    """What the copy of the image is made of.

    Attributes
    ----------
    planes : iterable of ndarray, HxWxC or HxW
        In the order of the label images.
    dtype : dtype
    names : tuple of str
        Of C channels; empty where there is only one and no axis for it.
    colour : bool
        Whether the channels are red, green and blue.
    """

    planes: Iterable[npt.NDArray[Any]]
    dtype: np.dtype[Any]
    names: tuple[str, ...] = ()
    colour: bool = False


def is_result_path(name: str) -> bool:
    """Return whether a file of a result can have this path within its folder."""
    return _OURS.fullmatch(name) is not None


def is_result_folder(folder: AnyPath) -> bool:
    """Return whether a folder is an OME-Zarr result of ours, complete."""
    from napari_sam_amg.sources.ngff import attributes

    path = Path(folder)
    return os.path.isfile(path / ".zattrs") and isinstance(attributes(path).get(KEY), dict)


def write_ome_zarr(
    stack: LabelStack, path: AnyPath, *, channels: Channels, overwrite: bool = False
) -> None:
    """Write an OME-Zarr image with the label image ``labels/masks``.

    Viewers show labels over the image that holds them, so the planes that the labels are of
    are copied. One resolution is written.

    Parameters
    ----------
    stack : LabelStack
        Complete.
    path : path
        The folder, whose name should end with ``.ome.zarr``.
    channels : Channels
    overwrite : bool
        Replace an earlier result, as a whole. A folder that holds anything else is never
        replaced.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    target = Path(path)
    if not overwrite and os.path.isdir(target) and os.listdir(target):
        raise WriteError(f"{target} exists already; choose another folder or pass overwrite=True")
    with write_folder(path, is_ours=is_result_path, is_result=is_result_folder) as folder:
        _write(folder.path, stack, channels)


def _write(folder: Path, stack: LabelStack, channels: Channels) -> None:
    import zarr

    lengths = dict(zip(stack.axes, stack.shape, strict=True))
    if channels.names:
        lengths["C"] = len(channels.names)
    axes = "".join(axis for axis in "TCZYX" if axis in lengths)
    kind = np.dtype(np.uint8) if channels.dtype.kind == "b" else channels.dtype
    root = zarr.open_group(folder, mode="w", zarr_format=2)
    places = list(np.ndindex(*stack.shape[:-2]))
    image = _array(root, axes, [lengths[axis] for axis in axes], kind)
    seen = [_Range() for _ in channels.names or ("",)]
    for place, pixels in zip(places, channels.planes, strict=True):
        at: dict[str, Any] = dict(zip(stack.axes, place, strict=False))
        found = np.moveaxis(pixels, -1, 0) if channels.names else pixels
        # The channels of a plane, wherever its axis lies among the others.
        where = tuple(at.get(axis, slice(None)) for axis in axes)
        image[where] = found
        for one, values in zip(seen, found if channels.names else [found], strict=True):
            one.add(values)
    scale = {**stack.pixel_size, **({} if stack.time_step is None else {"T": stack.time_step})}
    group = root.create_group("labels")
    masks = group.create_group(LABELS)
    labels = _array(masks, stack.axes, list(stack.shape), stack.dtype)
    for place, plane in zip(places, stack.planes(), strict=True):
        labels[place] = plane
    # Readers take what has these for whole.
    group.attrs.update({"labels": [LABELS]})
    masks.attrs.update(
        {
            "multiscales": _multiscales(LABELS, stack.axes, scale),
            "image-label": {"version": _VERSION, "source": {"image": "../../"}},
        }
    )
    root.attrs.update(
        {
            "multiscales": _multiscales(stack.name, axes, scale),
            "omero": {"version": _VERSION, "channels": _omero(channels, kind, seen)},
            KEY: json.loads(to_json(stack.record)),
        }
    )


def _array(group: Any, axes: str, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
    return group.create_array(
        "0",
        shape=tuple(shape),
        chunks=tuple(
            min(length, _SIDE) if axis in "YX" else 1
            for axis, length in zip(axes, shape, strict=True)
        ),
        dtype=dtype.newbyteorder("<"),
        chunk_key_encoding={"name": "v2", "separator": "/"},
    )


def _multiscales(name: str, axes: str, scale: Mapping[str, float]) -> list[dict[str, Any]]:
    described = []
    for axis in axes:
        one = {"name": axis.lower(), "type": _TYPES.get(axis, "space")}
        if axis in scale:
            one["unit"] = _UNITS.get(axis, "micrometer")
        described.append(one)
    factors = [float(scale.get(axis, 1.0)) for axis in axes]
    dataset = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": factors}]}
    return [{"version": _VERSION, "name": name, "axes": described, "datasets": [dataset]}]


class _Range:
    """The smallest and largest finite value of what was added."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf

    def add(self, values: npt.NDArray[Any]) -> None:
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            self._low = min(self._low, float(finite.min()))
            self._high = max(self._high, float(finite.max()))

    @property
    def limits(self) -> tuple[float, float]:
        return (self._low, self._high) if self._low <= self._high else (0.0, 1.0)


def _omero(
    channels: Channels, dtype: np.dtype[Any], seen: Sequence[_Range]
) -> list[dict[str, Any]]:
    """Return how viewers are to show the channels; all of these keys must be there."""
    names = channels.names or ("0",)
    colours = list(_RGB if channels.colour else _COLOURS[len(names) > 1 :])
    least, most = (0.0, 1.0) if dtype.kind == "f" else _limits(dtype)
    found = []
    for number, (name, one) in enumerate(zip(names, seen, strict=True)):
        low, high = _limits(dtype) if channels.colour and dtype == np.uint8 else one.limits
        window = {"min": min(least, low), "max": max(most, high), "start": low, "end": high}
        found.append(
            {
                "label": name,
                "color": colours[number % len(colours)],
                "active": True,
                "window": window,
            }
        )
    return found


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)
