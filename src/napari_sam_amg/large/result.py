"""What a run over a very large plane wrote, to be looked at without loading it."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam_amg.errors import ReadError
from napari_sam_amg.large.candidates import Candidates, unpacked
from napari_sam_amg.large.identity import short
from napari_sam_amg.large.output import LABELS, MASKS, TABLE
from napari_sam_amg.large.pyramid import NAME
from napari_sam_amg.large.work import RUN
from napari_sam_amg.masks import Masks
from napari_sam_amg.masks.doubt import doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.large.identity import Identity
    from napari_sam_amg.masks.ragged import Indices


FOLDER = "napari_sam_amg_folder"
"""Key in ``layer.metadata`` of a result's layer: the folder that it lies in."""


@dataclass(frozen=True)
class LargeStep:
    """Progress of a run; stop asking for more to end it, and start it again to go on.

    Attributes
    ----------
    done, total : int
        Steps finished and steps in all; `done` grows by one from step to step.
    stage : str
        What was just finished: "contrast", "tile", "kept tile" (of an earlier run) or "write".
    result : LargeResult or None
        Set on the last step only.
    """

    done: int
    total: int
    stage: str
    result: LargeResult | None


@dataclass(frozen=True)
class LargeResult:
    """The masks of a very large plane, on disk.

    Attributes
    ----------
    path : Path
        Its folder: ``labels`` (OME-Zarr), ``table.csv``, ``masks`` and ``run.json``.
    shape : tuple of int
        Height and width of the image in pixels.
    count : int
        How many masks there are, labelled from 1.
    provenance : dict
        What made them: JSON.
    """

    path: Path
    shape: tuple[int, int]
    count: int
    provenance: dict[str, Any]

    @classmethod
    def open(cls, path: AnyPath) -> LargeResult:
        """Return a finished result.

        Raises
        ------
        ReadError
            If there is none at `path`.
        """
        folder = Path(path)
        try:
            provenance = json.loads((folder / RUN).read_bytes())
            height, width = provenance["input"]["shape"][:2]
            return cls(folder, (int(height), int(width)), int(provenance["masks"]), provenance)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ReadError(
                f"{folder} holds no finished result ({type(error).__name__}: {error}); a run that "
                "was ended goes on if it is started again with the same image and folder"
            ) from error

    def __len__(self) -> int:
        return self.count

    @property
    def levels(self) -> list[Any]:
        """The label image and its smaller copies, uint32, lazily: of dask where it is there."""
        import zarr

        group: Any = zarr.open_group(self.path / LABELS / NAME, mode="r")
        count = len(group.attrs["ome"]["multiscales"][0]["datasets"])
        arrays = [group[str(level)] for level in range(count)]
        try:
            da: Any = importlib.import_module("dask.array")
        except ImportError:
            return arrays
        return [da.from_array(array, chunks=array.chunks) for array in arrays]

    @property
    def table(self) -> pd.DataFrame:
        """One row a mask, with the columns of `Masks.features`."""
        return self._read()

    @property
    def doubt(self) -> str:
        """Why the result as a whole deserves doubt, as `Masks.doubt` says it."""
        table = self._read(["predicted_iou", "stability_score"])
        return doubt(
            table["predicted_iou"].to_numpy(),
            table["stability_score"].to_numpy(),
            self.provenance,
        )

    def _read(self, columns: list[str] | None = None) -> pd.DataFrame:
        import pandas as pd

        return pd.read_csv(self.path / TABLE, usecols=columns, float_precision="round_trip")

    def measure(
        self,
        image: Any = None,
        *,
        pixel_size: float | tuple[float, float] | None = None,
        unit: str = "um",
    ) -> pd.DataFrame:
        """Measure each mask with all its pixels, a few rows of the image at a time.

        Parameters
        ----------
        image : array, HxW, HxWx1, HxWx3 or HxWx4, or mapping of names to arrays
            As for `steps_large`, in the image's own values; transparency is no channel. Of a
            mapping each array is a channel, or three: "a red", "a green" and "a blue" of
            colours that are called "a". None measures shapes only.
        pixel_size, unit
            As for `Masks.measure`.

        Returns
        -------
        DataFrame
            The columns of `Masks.measure`, one row a mask, by label.

        Raises
        ------
        ImageError
            If an array has another shape than the labels, or cannot be read.
        """
        from napari_sam_amg.large.measuring import measured

        return measured(self._batches(), self.shape, image, pixel_size=pixel_size, unit=unit)

    def layer(self) -> tuple[Any, dict[str, Any], str]:
        """Return the lazy Labels layer that napari shows: data, keywords, kind.

        ``viewer.add_labels(data, **keywords)``, or as what a reader plugin gives. Pixels are
        read as they come into view; the features are all there.
        """
        table, levels = self.table, self.levels
        features = table.reindex(range(-1, len(table))).reset_index(drop=True)
        features.insert(0, "index", np.arange(len(features)))
        features["label"] = features["index"]
        keywords = {
            "name": self.path.name,
            "multiscale": len(levels) > 1,
            "scale": self.provenance["pixel_size"],
            "features": features,
            "metadata": {"napari_sam_amg": self.provenance, FOLDER: str(self.path.absolute())},
        }
        return (levels if len(levels) > 1 else levels[0]), keywords, "labels"

    def masks(self) -> Masks:
        """Return all masks, whole and overlapping as they were found; mask i has label i + 1."""
        return self.masks_within((0, 0, *self.shape))[1]

    def masks_within(self, box: tuple[int, int, int, int]) -> tuple[Indices, Masks]:
        """Return the masks whose bounding boxes meet a part of the image.

        Parameters
        ----------
        box : tuple of int
            First row, first column, and the ones past the last row and column.

        Returns
        -------
        ndarray, int64, N
            Their labels, rising.
        Masks
            N, in pixels of the whole image.
        """
        parts, labels = [Candidates.none(self.shape)], [np.empty(0, dtype=np.int64)]
        y0, x0, y1, x1 = box
        for first, found in self._batches():
            left, top, width, height = found.store.windows.T
            near = (top < y1) & (top + height > y0) & (left < x1) & (left + width > x0)
            rows = np.flatnonzero(near)
            parts.append(found.take(rows))
            labels.append(first + rows)
        together = Candidates.concatenate(parts)
        parameters = self.provenance["parameters"]
        return np.concatenate(labels), Masks(
            together.store,
            together.table,
            overlap=parameters["overlap"],
            output_mode=parameters["output_mode"],
            provenance=self.provenance,
        )

    def _batches(self) -> Iterator[tuple[int, Candidates]]:
        for path in sorted((self.path / MASKS).glob("*.npz")):
            found, more = unpacked(path)
            yield int(more["first_label"]), found


def finished(folder: Path, identity: Identity) -> dict[str, Any] | None:
    """Return the provenance of the result in a folder, if it was made with the same."""
    try:
        provenance = LargeResult.open(folder).provenance
    except ReadError:
        return None
    return provenance if provenance.get("identity") == short(identity) else None
