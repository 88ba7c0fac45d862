"""Images of OME-Zarr (NGFF 0.4 and 0.5) on a disk."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ImageError
from napari_sam_amg.formats.limits import check_pixels
from napari_sam_amg.formats.tiff import check_pixel_bytes
from napari_sam_amg.sources.axes import AXES
from napari_sam_amg.sources.ngff import attributes, images_in, is_ome_zarr
from napari_sam_amg.sources.rows import Rows
from napari_sam_amg.sources.source import ImageSource
from napari_sam_amg.sources.tiff_metadata import unique
from napari_sam_amg.sources.units import to_micrometres, to_seconds

if TYPE_CHECKING:
    from pathlib import Path

_KNOWN_TYPES = {"time": "T", "channel": "C"}
_MOST_CHUNK_BYTES = 1 << 31
# Codecs that do nothing but pack numbers: others that are installed might run code.
_CODECS = frozenset(
    {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "delta", "shuffle", "bytes"}
    | {"transpose", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3"}
    | {"sharding_indexed", "packbits", "bitround", "fixedscaleoffset", "quantize", "astype"}
)


def open_ome_zarr(path: Path, *, axes: str | None, max_pixels: int) -> ImageSource:
    """Open an image of OME-Zarr.

    Parameters
    ----------
    path : Path
        Its folder, which has ``multiscales``.
    axes : str, optional
        By the user, checked; must be those that the image has.
    max_pixels : int
        Most pixels of a plane.

    Raises
    ------
    ImageError
        If it is no image, damaged, or has axes that mean nothing here.
    """
    found = attributes(path)
    if "multiscales" not in found:
        raise ImageError(_no_image(path))
    try:
        multiscale = found["multiscales"][0]
        datasets = [str(one["path"]) for one in multiscale["datasets"]]
        described = [_axis(one) for one in multiscale["axes"]]
        scale = _scale(multiscale, len(described))
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ImageError(
            f"{path}: its 'multiscales' lack axes or datasets; NGFF 0.4 and 0.5 are read"
        ) from error
    names = "".join(letter for letter, _ in described)
    _check_axes(path, names, [one.get("name") for _, one in described], axes)
    reader = _ZarrReader(path, datasets)
    array = reader.data()
    shape = tuple(int(n) for n in array.shape)
    if len(shape) != len(names):
        raise ImageError(f"{path}: {len(names)} axes are named ({names}), found shape {shape}")
    check_pixels(path, shape[-2], shape[-1], max_pixels)
    check_pixel_bytes(path, array.dtype.itemsize)
    sizes, step = {}, None
    for (axis, one), size in zip(described, scale, strict=True):
        if axis in "XYZ":
            sizes[axis] = to_micrometres(size, one.get("unit"))
        elif axis == "T":
            step = to_seconds(size, one.get("unit"))
    channels = shape[names.index("C")] if "C" in names else 0
    return ImageSource(
        path=path,
        axes=names,
        shape=shape,
        dtype=np.dtype(array.dtype).newbyteorder("="),
        reader=reader,
        pixel_size={axis: size for axis, size in sizes.items() if size is not None},
        time_step=step,
        channel_names=_channel_names(found, channels),
        files=(path,),
    )


def _no_image(path: Path) -> str:
    if not is_ome_zarr(path):
        return f"{path} is a folder, not an image, and no OME-Zarr: it describes no 'multiscales'"
    names = images_in(path)
    more = " ..." if len(names) > 3 else ""
    return (
        f"{path} is a collection of {len(names)} images of OME-Zarr: open one of them, such as "
        f"{', '.join(names[:3])}{more}"
    )


def _axis(value: Any) -> tuple[str, dict[str, Any]]:
    """Return an axis' letter, or ``?``, and what is said of it."""
    # Up to NGFF 0.3 axes were bare names.
    one = {"name": value} if isinstance(value, str) else dict(value)
    letter = str(one["name"]).upper()
    if letter in set(AXES) - {"S"}:
        return letter, one
    return _KNOWN_TYPES.get(str(one.get("type")), "?"), one


def _check_axes(path: Path, names: str, found: list[Any], given: str | None) -> None:
    if "?" in names or len(set(names)) < len(names) or not names.endswith("YX"):
        raise ImageError(
            f"{path} has the axes {', '.join(map(str, found))}: only t, c and z are taken in "
            "front of y and x"
        )
    if given is not None and given != names:
        raise ImageError(
            f"{path} has the axes {names} by its own description, but --axes {given} was given: "
            "leave it out for OME-Zarr"
        )


def _scale(multiscale: dict[str, Any], count: int) -> list[float]:
    """Return the size of a pixel of the finest level along each axis."""
    total = [1.0] * count
    parts = [multiscale["datasets"][0], multiscale]
    for part in parts:
        for one in part.get("coordinateTransformations", []):
            if one.get("type") == "scale":
                factors = [float(factor) for factor in one["scale"]]
                total = [a * b for a, b in zip(total, factors, strict=True)]
    return total


def _channel_names(found: dict[str, Any], count: int) -> tuple[str, ...]:
    omero = found.get("omero")
    channels = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(channels, list) or len(channels) != count:
        return tuple(map(str, range(count)))
    labels = [one.get("label") if isinstance(one, dict) else None for one in channels]
    return unique([str(n if label is None else label) for n, label in enumerate(labels)])


class _ZarrReader:
    """Opens the arrays of an image; each chunk is read when it is asked for."""

    def __init__(self, path: Path, datasets: list[str]) -> None:
        self._path = path
        self._datasets = datasets
        self._opened: dict[str, Any] = {}

    def data(self) -> Any:
        """Return the finest array."""
        return self._array(self._datasets[0])

    def levels(self) -> list[Any]:
        """Return all arrays, the finest first."""
        return [self._array(name) for name in self._datasets]

    def rows(self, place: tuple[int, ...]) -> Rows:
        """Return a plane of the finest array."""
        return Rows.of_zarr(self.data(), place)

    def close(self) -> None:
        """Forget the arrays; no file stays open in any case."""
        self._opened.clear()

    def _array(self, name: str) -> Any:
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> Any:
        import zarr

        try:
            if os.path.isabs(name) or ".." in name.replace("\\", "/").split("/"):
                raise ValueError("a path that leads out of the folder")
            array = zarr.open_array(self._path / name, mode="r")
            codecs = _codecs(array.metadata.to_dict())
            kind = np.dtype(array.dtype).kind
        except Exception as error:
            raise ImageError(
                f"{self._path}: the array {name!r} is damaged or not there ({error})"
            ) from error
        if kind not in "buif":
            raise ImageError(
                f"{self._path}: the array {name!r} holds {array.dtype}; pixels must be numbers"
            )
        unknown = sorted(codecs - _CODECS)
        if unknown:
            raise ImageError(
                f"{self._path}: the array {name!r} is packed with {', '.join(unknown)}, which is "
                "not unpacked here; save it with blosc, zstd or gzip"
            )
        chunk = math.prod(array.shards or array.chunks) * array.dtype.itemsize
        if chunk > max(_MOST_CHUNK_BYTES, math.prod(array.shape[-2:]) * array.dtype.itemsize):
            raise ImageError(
                f"{self._path}: the array {name!r} has chunks of {chunk:,} bytes; save it with "
                "smaller ones"
            )
        return array


def _codecs(metadata: dict[str, Any]) -> set[str]:
    """Return the names of all codecs of an array, those within others too."""
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, list | tuple):
            for one in value:
                look(one)
        elif isinstance(value, dict):
            name = value.get("id", value.get("name"))
            if name is not None:
                found.add(str(name).removeprefix("numcodecs."))
            configuration = value.get("configuration")
            for key in ("codecs", "index_codecs"):
                if isinstance(configuration, dict):
                    look(configuration.get(key))

    for key in ("codecs", "filters", "compressor"):
        value: Any = metadata.get(key)
        # zarr gives objects of its own for version 2.
        if hasattr(value, "get_config"):
            value = value.get_config()
        if isinstance(value, list | tuple):
            value = [one.get_config() if hasattr(one, "get_config") else one for one in value]
        look(value)
    return found
