"""`Tracks`: objects followed through time."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_sam_amg.linking.track_features import Columns, object_rows, track_columns
from napari_sam_amg.masks.labels import LabelImage, label_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from napari_sam_amg.linking.frames import Frames
    from napari_sam_amg.linking.sizes import PixelSize
    from napari_sam_amg.masks.ragged import Indices


class Tracks:
    """N tracks through T time points; made by `track_objects`.

    Attributes
    ----------
    frames : Frames
        What was tracked: masks, volumes or labels, as ``frames.items``.
    ids : tuple of ndarray, int64
        Of each time point, the track (1 to N) of each of its objects, 0 for none.
    parents : dict of int to int
        Which track a track came from by division.
    drift : ndarray, float64, TxD
        Displacement of the field from the first time point, (z,) y and x in pixels, as it was
        estimated.
    pixel_size, unit, provenance
        As given.
    """

    def __init__(
        self,
        frames: Frames,
        ids: Sequence[Indices],
        parents: Mapping[int, int],
        *,
        centroids: Sequence[npt.NDArray[np.float64]],
        sizes: Sequence[Indices],
        drift: Sequence[npt.NDArray[np.float64]],
        pixel_size: PixelSize | None,
        unit: str,
        provenance: Mapping[str, Any],
    ) -> None:
        self.frames = frames
        self.ids = tuple(ids)
        self.parents = dict(parents)
        self._centroids, self._sizes = tuple(centroids), tuple(sizes)
        self.drift = np.array(drift)[:, -frames.axes :]
        self.pixel_size = pixel_size
        self.unit = unit
        self.provenance: dict[str, Any] = copy.deepcopy(dict(provenance))
        self._count = max((int(part.max(initial=0)) for part in self.ids), default=0)

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<{len(self)} tracks through {len(self.frames)} time points>"

    def to_labels(self) -> LabelImage:
        """Show the tracks as labels.

        Returns
        -------
        ndarray, uint8, uint16 or uint32, TxHxW or TxZxHxW
            Each object by its track, 1 to N, in the smallest dtype that holds all; masks and
            volumes are shown under their overlap rule, objects without a track as 0.
        """
        series = np.empty((len(self.frames), *self.frames.shape), dtype=label_dtype(len(self)))
        for number, (frame, ids) in enumerate(zip(series, self.ids, strict=True)):
            labels = self.frames.labels(number)
            # Labels of an array may be any; those of masks and volumes count from 1.
            values = np.unique(labels[labels > 0]) if self._given_as_labels else None
            if values is None:
                np.take(np.concatenate([[0], ids]).astype(series.dtype), labels, out=frame)
            else:
                numbers = np.concatenate([[0], ids]).astype(series.dtype)
                frame[...] = numbers[np.searchsorted(values, labels, side="right")]
        return series

    @property
    def _given_as_labels(self) -> bool:
        return not hasattr(self.frames.items[0], "to_labels")

    def to_napari(self) -> tuple[npt.NDArray[np.float64], dict[int, list[int]], pd.DataFrame]:
        """Return what napari's Tracks layer takes.

        Returns
        -------
        data : ndarray, float64, Px4 or Px5
            Track, time point, (z,) y and x of each object in pixels, by track, then time.
        graph : dict of int to list of int
            The parent of each track that came from a division.
        features : DataFrame, P rows
            Those of `frame_features`.

        Examples
        --------
        >>> data, graph, features = tracks.to_napari()
        >>> viewer.add_tracks(data, graph=graph, features=features)
        """
        features = self.frame_features
        names = [f"centroid-{axis}" for axis in range(self.frames.axes)]
        data = features[["track_id", "frame", *names]].to_numpy(dtype=np.float64)
        return data, {child: [parent] for child, parent in self.parents.items()}, features

    def _rows(self) -> Columns:
        return object_rows(self, self._centroids, self._sizes)

    @property
    def features(self) -> pd.DataFrame:
        """One row a track (a copy each time).

        ``track_id``; ``parent``, 0 for none, and ``children``; ``first_frame``, ``last_frame``,
        ``extent`` from the one to the other in time points, and ``missing`` ones between them;
        ``area`` or ``voxels`` (mean); ``path_length`` along all objects, ``displacement`` from the
        first to the last, and ``speed``, the path by the time points that it takes (NaN for one),
        in pixels of the last axis, drift not taken out. With a `pixel_size` these three in units
        too, as ``path_length_um`` and so on.
        """
        import pandas as pd

        return pd.DataFrame(track_columns(self, self._rows()))

    @property
    def frame_features(self) -> pd.DataFrame:
        """One row for each object of a track, by track, then time point.

        ``track_id``, ``frame``; ``label`` of the object in its time point; ``area`` or ``voxels``;
        ``centroid-0`` to ``-1`` or ``-2`` in pixels; ``predicted_iou``; ``parent`` of its track;
        with a `pixel_size` ``centroid_um-0`` and so on, and ``area_um2`` or ``volume_um3``.
        """
        import pandas as pd

        return pd.DataFrame(self._rows())
