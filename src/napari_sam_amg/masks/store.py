"""The pixels of many masks: each one's tight window, one bit a pixel, in one buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from napari_sam_amg.masks.ragged import offsets
from napari_sam_amg.masks.spans import Spans
from napari_sam_amg.masks.window import Window, tight_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_sam_amg.masks.nesting import Nesting

_Scalar = TypeVar("_Scalar", bound=np.generic)


class MaskStore:
    """Masks of one image as bit-packed windows; it never changes once made.

    A mask takes about ``width * height / 8`` bytes of its bounding box, whatever the size
    of the image. Make one with `from_windows` or `concatenate`.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    windows : ndarray, int64, Nx4
        Tight bounding windows: left, top, width, height in pixels.
    areas : ndarray, int64, N
        Pixels of each mask, at least 1.
    buffer : ndarray, uint8
        The windows' pixels, row by row, eight a byte, each window starting a new byte.

    Attributes
    ----------
    shape, windows, areas, buffer
        As given.
    nesting : tuple or None
        After `prepare`: pairs of the masks that these were taken from, and these masks' rows.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        windows: npt.NDArray[np.int64],
        areas: npt.NDArray[np.int64],
        buffer: npt.NDArray[np.uint8],
    ) -> None:
        self.shape = (int(shape[0]), int(shape[1]))
        self.windows = _frozen(windows, np.int64)
        self.areas = _frozen(areas, np.int64)
        self.buffer = _frozen(buffer, np.uint8)
        sizes = (self.windows[:, 2] * self.windows[:, 3] + 7) // 8
        self._offsets = _frozen(offsets(sizes), np.int64)
        if self._offsets[-1] != len(self.buffer) or len(self.areas) != len(self.windows):
            raise ValueError(
                f"{len(self.windows)} windows need {self._offsets[-1]} bytes and as many areas, "
                f"but there are {len(self.buffer)} bytes and {len(self.areas)} areas"
            )
        self._spans: Spans | None = None
        self._boxes: npt.NDArray[np.int64] | None = None
        self.nesting: tuple[Nesting, npt.NDArray[np.int64]] | None = None

    @classmethod
    def from_windows(
        cls, shape: tuple[int, int], items: Iterable[tuple[int, int, Window]]
    ) -> MaskStore:
        """Pack masks of an image of `shape` (height, width).

        Parameters
        ----------
        items : iterable of (int, int, ndarray)
            Left and top of a window in the image, and its pixels (bool, hxw), which need
            not be tight.

        Raises
        ------
        ValueError
            If a mask has no pixel, or lies partly outside the image.
        """
        windows: list[tuple[int, int, int, int]] = []
        areas: list[int] = []
        packed: list[npt.NDArray[np.uint8]] = []
        for index, (x0, y0, pixels) in enumerate(items):
            found = tight_window(pixels)
            if found is None:
                raise ValueError(f"mask {index} has no pixel; leave such masks out")
            left, top, tight = found
            height, width = tight.shape
            x, y = int(x0) + left, int(y0) + top
            if x < 0 or y < 0 or x + width > shape[1] or y + height > shape[0]:
                raise ValueError(
                    f"mask {index} covers x {x} to {x + width - 1} and y {y} to "
                    f"{y + height - 1}, outside an image of {shape[0]} x {shape[1]} pixels"
                )
            windows.append((x, y, width, height))
            areas.append(int(np.count_nonzero(tight)))
            packed.append(np.packbits(tight))
        return cls(
            shape,
            np.array(windows, dtype=np.int64).reshape(-1, 4),
            np.array(areas, dtype=np.int64),
            np.concatenate(packed) if packed else np.empty(0, dtype=np.uint8),
        )

    @classmethod
    def concatenate(cls, stores: Sequence[MaskStore]) -> MaskStore:
        """Return the masks of several stores of one image in one, in order.

        Raises
        ------
        ValueError
            If there is no store, or they are of images of different shapes.
        """
        shapes = {store.shape for store in stores}
        if len(shapes) != 1:
            raise ValueError(f"need stores of one image shape, got {sorted(shapes)}")
        together = cls(
            shapes.pop(),
            np.concatenate([store.windows for store in stores]),
            np.concatenate([store.areas for store in stores]),
            np.concatenate([store.buffer for store in stores]),
        )
        spans = [store._spans for store in stores if store._spans is not None]
        if len(spans) == len(stores):
            together._spans = Spans.concatenate(spans)
        return together

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def nbytes(self) -> int:
        """Bytes of memory held for the masks; `spans` come on top once they were asked for."""
        arrays = (self.windows, self.areas, self.buffer, self._offsets)
        return sum(array.nbytes for array in arrays)

    @property
    def boxes(self) -> npt.NDArray[np.int64]:
        """sam2's boxes, int64 Nx4: x0, y0, x1, y1 in pixels, all inclusive; found once."""
        if self._boxes is None:
            boxes = self.windows.copy()
            boxes[:, 2:] += boxes[:, :2] - 1
            self._boxes = _frozen(boxes, np.int64)
        return self._boxes

    @property
    def bboxes(self) -> npt.NDArray[np.int64]:
        """sam2's boxes as records have them, int64 Nx4: x0, y0, x1 - x0, y1 - y0."""
        boxes = self.windows.copy()
        boxes[:, 2:] -= 1
        return boxes

    @property
    def at_border(self) -> npt.NDArray[np.bool_]:
        """Whether each mask has a pixel on the border of the image, bool N."""
        x0, y0, x1, y1 = self.boxes.T
        height, width = self.shape
        at: npt.NDArray[np.bool_] = (x0 == 0) | (y0 == 0) | (x1 == width - 1) | (y1 == height - 1)
        return at

    @property
    def spans(self) -> Spans:
        """The masks as spans; found once, and then by `take` for a part of the masks too."""
        if self._spans is None:
            self._spans = Spans.of(self)
        return self._spans

    @property
    def has_spans(self) -> bool:
        """Whether `spans` have been found before."""
        return self._spans is not None

    def prepare(self) -> None:
        """Find what `take` hands on, so that ever other parts are drawn and tabulated at once."""
        from napari_sam_amg.masks.nesting import Nesting

        self._spans = self.spans.prepared()
        if self.nesting is None and (nesting := Nesting.of(self)) is not None:
            self.nesting = (nesting, np.arange(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is found anew, and what belongs to other masks too."""
        return {**self.__dict__, "_spans": None, "_boxes": None, "nesting": None}

    def window(self, index: int) -> Window:
        """Return the pixels of one mask within its window, bool hxw."""
        width, height = self.windows[index, 2:].tolist()
        packed = self.buffer[self._offsets[index] : self._offsets[index + 1]]
        return np.unpackbits(packed, count=width * height).view(np.bool_).reshape(height, width)

    def rows(self, index: int, start: int, stop: int) -> Window:
        """Return some rows of a window, without unpacking the others.

        Parameters
        ----------
        index : int
            Row of the mask, 0 to N - 1.
        start, stop : int
            Rows of the window, counted from its top; `stop` is exclusive.

        Returns
        -------
        ndarray, bool, (stop - start) x width
        """
        width = int(self.windows[index, 2])
        first, last = start * width, stop * width
        begin = int(self._offsets[index])
        packed = self.buffer[begin + first // 8 : begin + (last + 7) // 8]
        bits = np.unpackbits(packed)[first % 8 : first % 8 + last - first]
        return bits.view(np.bool_).reshape(stop - start, width)

    def slices(self, index: int) -> tuple[slice, slice]:
        """Return where the window of one mask lies in the image: rows, columns."""
        x, y, width, height = self.windows[index].tolist()
        return slice(y, y + height), slice(x, x + width)

    def full(self, index: int) -> Window:
        """Return one mask in its image, bool HxW."""
        image = np.zeros(self.shape, dtype=np.bool_)
        image[self.slices(index)] = self.window(index)
        return image

    def take(self, indices: npt.ArrayLike) -> MaskStore:
        """Return the masks at `indices` (0 to N - 1), in that order, in a store of their own."""
        chosen = np.asarray(indices, dtype=np.int64).reshape(-1)
        bounds = zip(
            self._offsets[chosen].tolist(), self._offsets[chosen + 1].tolist(), strict=True
        )
        parts = [self.buffer[begin:end] for begin, end in bounds]
        buffer = np.concatenate(parts) if parts else np.empty(0, dtype=np.uint8)
        taken = MaskStore(self.shape, self.windows[chosen], self.areas[chosen], buffer)
        if self._spans is not None:
            taken._spans = self._spans.take(chosen)
        if self.nesting is not None:
            taken.nesting = (self.nesting[0], self.nesting[1][chosen])
        return taken


def _frozen(values: npt.NDArray[np.generic], dtype: type[_Scalar]) -> npt.NDArray[_Scalar]:
    array = np.ascontiguousarray(values, dtype=dtype)
    if array is values and array.flags.writeable:
        array = array.view()
    array.flags.writeable = False
    return array
