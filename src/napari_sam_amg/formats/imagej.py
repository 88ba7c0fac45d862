"""One image's masks as ROIs for the ROI Manager of ImageJ and Fiji, every pixel kept."""

from __future__ import annotations

import io
import math
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from napari_sam_amg.errors import WriteError
from napari_sam_amg.formats.atomic import write_file
from napari_sam_amg.masks.outlines import outlines

if TYPE_CHECKING:
    from roifile import ImagejRoi

    from napari_sam_amg.formats.atomic import AnyPath
    from napari_sam_amg.masks import Masks
    from napari_sam_amg.masks.outlines import Outline, Ring

MARK = b"napari-sam-amg"
"""The archive's comment, which tells it from others."""

# ImageJ's decoder takes larger values of 16 bits for negative ones.
_FARTHEST_INTEGER = 60_535
# Beyond, float32 does not hold every whole number.
_FARTHEST = 2**24

# Segments of java.awt.geom.PathIterator, which composite ROIs consist of.
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


def write_imagej_rois(masks: Masks, path: AnyPath) -> None:
    """Write a zip archive of ROIs, one a mask, which ImageJ's ROI Manager opens.

    Outlines run along the edges of pixels, so ImageJ fills each to exactly its mask, also
    where masks overlap. A mask in one piece is a traced ROI as ImageJ's wand makes them;
    one of several pieces, or with holes, a composite ROI. Names are the labels, and the
    properties ``predicted_iou`` and ``stability_score`` the scores, if they are known.
    The same masks give the same bytes.

    Parameters
    ----------
    masks : Masks
    path : path
        The archive; ImageJ wants ``.zip`` for its suffix.

    Raises
    ------
    WriteError
        If it cannot be written, or a mask lies where ROIs cannot; what was there is as it
        was.
    """
    reach = (masks.store.windows[:, :2] + masks.store.windows[:, 2:]).max(initial=0)
    if reach > _FARTHEST:
        raise WriteError(
            f"a mask reaches to pixel {reach:,}, but ImageJ's ROIs are exact only up to "
            f"{_FARTHEST:,}; choose another format, or cut the image"
        )
    digits = max(4, len(str(len(masks))))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.comment = MARK
        for index in range(len(masks)):
            name = f"{index + 1:0{digits}}"
            # Of no date, as the same masks are to give the same bytes.
            entry = zipfile.ZipInfo(f"{name}.roi")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, _roi(masks, index, name).tobytes())
    with write_file(path) as file:
        file.write(content.getbuffer())


def _roi(masks: Masks, index: int, name: str) -> ImagejRoi:
    left, top, window = masks.window(index)
    height, width = window.shape
    parts = outlines(window, left=left, top=top)
    is_far = max(left + width, top + height) > _FARTHEST_INTEGER
    is_whole = len(parts) == 1 and not parts[0][1]
    roi = _composite(parts) if is_far or not is_whole else _traced(parts[0][0], left, top)
    # Far out the box does not fit into 16 bits; ImageJ finds that of a composite by itself.
    roi.left, roi.top, roi.right, roi.bottom = left, top, left + width, top + height
    # Older roifile leave it at 217, for which ImageJ reads no properties; 224 and later do.
    roi.version = 227
    roi.name = name
    roi.props = _properties(masks, index)
    return roi


def _traced(ring: Ring, left: int, top: int) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    corners = (ring - (left, top)).astype(np.int32)
    return ImagejRoi(
        roitype=ROI_TYPE.TRACED, n_coordinates=len(corners), integer_coordinates=corners
    )


def _composite(parts: list[Outline]) -> ImagejRoi:
    """Return a ROI of closed paths, filled where an odd number of them is around."""
    from roifile import ROI_TYPE, ImagejRoi

    path: list[float] = []
    for exterior, holes in parts:
        for ring in (exterior, *holes):
            segments = np.insert(ring.astype(np.float32), 0, _LINE, axis=1)
            segments[0, 0] = _MOVE
            path += segments.ravel().tolist()
            path.append(_CLOSE)
    return ImagejRoi(
        roitype=ROI_TYPE.RECT,
        shape_roi_size=len(path),
        multi_coordinates=np.array(path, dtype=np.float32),
    )


def _properties(masks: Masks, index: int) -> str:
    """Return lines as java.util.Properties reads them, in the fewest digits that are exact."""
    scores = {
        "predicted_iou": masks.predicted_iou[index],
        "stability_score": masks.stability_score[index],
    }
    return "".join(f"{key}: {score!s}\n" for key, score in scores.items() if math.isfinite(score))
