"""The label images of a stack: kept small while they are made, written as OME-TIFF."""

from __future__ import annotations

import io
import math
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.formats.ome_xml import ome_xml
from napari_sam_amg.formats.records import run_record, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks

_CLASSIC = 2**32 - 2**25
"""Bytes beyond which a TIFF needs the form with long offsets."""


class LabelStack:
    """Label images of the planes of an image, each with labels of its own or of all.

    Planes are added over T, and within it over Z; they are held compressed.

    Parameters
    ----------
    lengths : mapping
        How long the axes are: ``"Y"``, ``"X"``, and ``"T"`` and ``"Z"`` if they are there.
    pixel_size : mapping, optional
        Micrometres for ``"X"``, ``"Y"`` and ``"Z"``, as far as they are known.
    time_step : float, optional
        Seconds between planes along T.
    name : str
        Of the image.

    Attributes
    ----------
    axes : str
        Those of ``TZYX`` that are there.
    shape : tuple of int
    pixel_size, time_step, name
        As given.
    counts : list of int
        Masks of each plane.
    """

    def __init__(
        self,
        lengths: Mapping[str, int],
        *,
        pixel_size: Mapping[str, float] | None = None,
        time_step: float | None = None,
        name: str = "",
    ) -> None:
        self.axes = "".join(axis for axis in "TZYX" if axis in lengths)
        self.shape = tuple(lengths[axis] for axis in self.axes)
        self.pixel_size = {a: s for a, s in (pixel_size or {}).items() if a in self.axes}
        self.time_step = time_step if "T" in self.axes else None
        self.name = name
        self.counts: list[int] = []
        self._indices: list[dict[str, int]] = []
        self._packed: list[tuple[bytes, np.dtype[Any]]] = []
        self._record: dict[str, Any] = {}

    def add(
        self,
        masks: Masks,
        index: Mapping[str, int] | None = None,
        *,
        linked: npt.NDArray[Any] | None = None,
        linking: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the next plane.

        Parameters
        ----------
        masks : Masks
        index : mapping, optional
            Its place in the image that it comes from; recorded.
        linked : ndarray, unsigned integers, HxW, optional
            Labels of objects that reach over several planes, instead of the masks' own.
        linking : mapping, optional
            How these were linked; recorded (JSON).

        Raises
        ------
        ParameterError
            If it has another size, or there are enough planes already.
        """
        labels = masks.to_labels() if linked is None else linked
        if labels.shape != self.shape[-2:] or len(self.counts) == math.prod(self.shape[:-2]):
            raise ParameterError(
                f"a plane of {labels.shape} does not fit as number {len(self.counts)} of a stack "
                f"of {self.shape}"
            )
        if labels.dtype.itemsize < 2:
            labels = labels.astype(np.uint16)
        self._packed.append((zlib.compress(labels.tobytes(), 1), labels.dtype))
        self.counts.append(len(masks))
        self._indices.append(dict(index or {}))
        if not self._record:
            self._record = run_record(masks)
            if linking is not None:
                provenance = self._record.get("provenance", {})
                self._record["provenance"] = {**provenance, "linking": dict(linking)}

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint16, or uint32 if a plane has more than 65,535 masks."""
        found = [dtype for _, dtype in self._packed]
        return max(found, key=lambda dtype: dtype.itemsize, default=np.dtype(np.uint16))

    @property
    def record(self) -> dict[str, Any]:
        """The run's record, with the count of masks in each plane and where it comes from."""
        provenance = {**self._record.get("provenance", {}), "source": self.name}
        planes = [
            {**index, "count": count}
            for index, count in zip(self._indices, self.counts, strict=True)
        ]
        own = {"shape": list(self.shape), "axes": self.axes, "count": sum(self.counts)}
        return {**self._record, **own, "planes": planes, "provenance": provenance}

    def planes(self) -> Iterator[npt.NDArray[Any]]:
        """Go through the label images, all of one dtype.

        Raises
        ------
        ParameterError
            If there are fewer than the shape says.
        """
        if len(self._packed) != math.prod(self.shape[:-2]):
            raise ParameterError(f"{len(self._packed)} planes for a stack of {self.shape}")
        for packed, dtype in self._packed:
            labels = np.frombuffer(zlib.decompress(packed), dtype).reshape(self.shape[-2:])
            yield labels.astype(self.dtype)


def write_label_stack(stack: LabelStack, path: AnyPath) -> None:
    """Write the label images of a stack as one OME-TIFF.

    Parameters
    ----------
    stack : LabelStack
        Complete.
    path : path
        The TIFF file. Its OME-XML has the sizes of pixels and, as an annotation, the run's
        record with the count of masks in each plane; unlike that of a single label image,
        it has no table of masks.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    import tifffile

    text = ome_xml(
        to_json(stack.record),
        lengths=dict(zip(stack.axes, stack.shape, strict=True)),
        dtype=str(stack.dtype),
        name=stack.name,
        pixel_size=stack.pixel_size,
        time_step=stack.time_step,
    )
    content = io.BytesIO()
    big = math.prod(stack.shape) * stack.dtype.itemsize + len(text) > _CLASSIC
    with tifffile.TiffWriter(content, bigtiff=big) as writer:
        for number, labels in enumerate(stack.planes()):
            writer.write(
                labels,
                photometric="minisblack",
                compression="zlib",
                metadata=None,
                # The first page speaks for all.
                description=None if number else text,
                software=None if number else "napari-sam-amg",
            )
    with write_file(path) as file:
        file.write(content.getbuffer())
