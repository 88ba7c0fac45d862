"""`Volume`: objects in three dimensions, as the masks of their slices."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.errors import ParameterError
from napari_sam_amg.linking.objects import Objects
from napari_sam_amg.linking.sizes import PixelSize, checked_size
from napari_sam_amg.linking.volume_features import object_columns, slice_columns
from napari_sam_amg.masks.labels import LabelImage, label_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.ragged import Indices


class Volume:
    """N objects of a stack of Z slices; objects may overlap and nest, as masks do.

    Parameters
    ----------
    slices : sequence of Masks
        The masks of objects in each slice, all of one image shape.
    labels : sequence of ndarray, int64
        Which object each mask of a slice is of: 1 to N, all of which are there.
    sources : sequence of ndarray, int64, optional
        Row of each mask in what the slice was linked from, -1 if it was filled in. By default
        the rows as they are.
    pixel_size : (float, float, float), optional
        Distance of slices, height and width of a pixel.
    unit : str
        What `pixel_size` is in.
    provenance : mapping, optional
        What made the objects; must be JSON.

    Attributes
    ----------
    slices, labels, sources : tuple
    pixel_size, unit, provenance
        As given.

    Raises
    ------
    ParameterError
        If slices, labels and sources do not fit together, or a label is missing.
    """

    def __init__(
        self,
        slices: Sequence[Masks],
        labels: Sequence[npt.NDArray[np.integer]],
        *,
        sources: Sequence[npt.NDArray[np.integer]] | None = None,
        pixel_size: PixelSize | None = None,
        unit: str = "um",
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.slices = tuple(slices)
        self.labels = tuple(_frozen(values) for values in labels)
        if sources is None:
            sources = [np.arange(len(masks)) for masks in self.slices]
        self.sources = tuple(_frozen(values) for values in sources)
        lengths = [[len(part) for part in parts] for parts in (self.labels, self.sources)]
        wanted = [len(masks) for masks in self.slices]
        if not wanted or lengths != [wanted, wanted]:
            raise ParameterError(
                f"slices of {wanted} masks, but labels of {lengths[0]} and sources of "
                f"{lengths[1]}: give one for each mask, of at least one slice"
            )
        if len({masks.shape for masks in self.slices}) > 1:
            raise ParameterError("the slices are of images of different shapes")
        found = np.unique(np.concatenate(self.labels))
        self._count = len(found)
        if not np.array_equal(found, np.arange(1, self._count + 1)):
            raise ParameterError(f"labels are {found.tolist()[:10]}…: number objects from 1")
        self.pixel_size = checked_size(pixel_size, 3)
        self.unit = unit
        self.provenance: dict[str, Any] = copy.deepcopy(dict(provenance or {}))

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"<volume of {len(self)} objects in {size} pixels>"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, height and width in pixels."""
        return (len(self.slices), *self.slices[0].shape)

    def to_labels(self, overlap: str | None = None) -> LabelImage:
        """Show the objects as a label volume.

        Parameters
        ----------
        overlap : OverlapRule, optional
            Which mask of a slice a pixel is shown as when several cover it, as for
            `Masks.to_labels`. By default, the masks' own rule.

        Returns
        -------
        ndarray, uint8, uint16 or uint32, ZxHxW
            Objects as 1 to N, in the smallest dtype that holds all labels.

        Raises
        ------
        ParameterError
            If there is no such rule.
        """
        volume = np.empty(self.shape, dtype=label_dtype(len(self)))
        for plane, masks, labels in zip(volume, self.slices, self.labels, strict=True):
            numbers = np.concatenate([[0], labels]).astype(volume.dtype)
            np.take(numbers, masks.to_labels(overlap), out=plane)
        return volume

    def objects(self) -> Objects:
        """Return the objects as stretches of pixels of the volume."""
        return Objects.of_stores([masks.store for masks in self.slices], list(self.labels))

    @property
    def features(self) -> pd.DataFrame:
        """One row an object (a copy each time).

        ``label``; ``voxels``; ``first_slice``, ``last_slice``, and ``extent`` from the one to the
        other in slices; ``filled_slices``, which hold a mask that was interpolated;
        ``centroid-0`` to ``-2`` and ``bbox-0`` to ``-5`` (z, y, x; the ends one past the last) by
        scikit-image's names and definitions; the means of ``predicted_iou`` and
        ``stability_score`` over the masks that were found; ``touches_border`` of the slices;
        ``touches_end``, whether it is in the first or last slice, so that it may go on beyond.
        With a `pixel_size`, ``volume_um3``, ``extent_um``, ``centroid_um-0`` to ``-2`` and
        ``equivalent_diameter_um`` (of a ball of that volume), or by another unit's name.
        Objects are measured with all their pixels, also those that they share with others.
        """
        import pandas as pd

        return pd.DataFrame(object_columns(self))

    @property
    def slice_features(self) -> pd.DataFrame:
        """One row for each object and slice that it has a mask in, by object, then slice.

        ``label``, ``slice``; ``mask``, the label of the mask in its slice before linking, 0 if it
        was filled in; ``filled``; ``area``; ``centroid-0`` and ``-1`` (y, x); ``bbox-0`` to
        ``-3``; ``predicted_iou``, ``stability_score``; ``touches_border``; with a `pixel_size`
        ``area_um2`` and ``centroid_um-0``, ``-1``.
        """
        import pandas as pd

        return pd.DataFrame(slice_columns(self))

    def measure(self, image: Any, *, channel_names: Sequence[str] | None = None) -> pd.DataFrame:
        """Measure intensities of each object with all its pixels.

        Parameters
        ----------
        image : array, ZxHxW or ZxHxWxC, or sequence of Z planes
            What intensities are taken from, in its own values; it may be lazy.
        channel_names : sequence of str, optional
            Of C channels; by default their numbers from 0.

        Returns
        -------
        DataFrame
            A row for each object: ``label``, then ``intensity_mean``, ``_min``, ``_max`` and
            ``_std``, with ``-`` and the name of the channel where there are several.

        Raises
        ------
        ImageError
            If the image has another shape.
        ParameterError
            If channels and their names differ in number.
        """
        from napari_sam_amg.linking.intensities import object_intensities

        slices = self.measure_slices(image, channel_names=channel_names)
        return object_intensities(slices, slice_columns(self)["area"], len(self))

    def measure_slices(
        self, image: Any, *, channel_names: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Measure intensities of each object in each of its slices.

        Parameters and errors are those of `measure`.

        Returns
        -------
        DataFrame
            ``label`` and ``slice``, then as `measure`; rows as in `slice_features`.
        """
        from napari_sam_amg.linking.intensities import slice_intensities

        return slice_intensities(self, image, channel_names)


def _frozen(values: npt.ArrayLike) -> Indices:
    array = np.array(values, dtype=np.int64).reshape(-1)
    array.flags.writeable = False
    return array
