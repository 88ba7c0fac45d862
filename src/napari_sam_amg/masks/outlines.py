"""Outlines of masks along the edges of their pixels, holes included: nothing is lost.

They are valid by the rules of OGC's simple features, which shapely, JTS and with it QuPath
go by: no ring touches itself, and holes touch other rings in single points only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam_amg.masks.window import Window

Ring = npt.NDArray[np.int64]
"""Corners where a ring turns, (x, y) in pixels, Nx2; the first is not repeated."""

Outline = tuple[Ring, list[Ring]]
"""One part of a mask: its exterior, and its holes."""

_Corner = tuple[int, int]

_AT_ONCE = 1 << 22
"""Pixels looked at together."""


def outlines(window: Window, *, left: int = 0, top: int = 0) -> list[Outline]:
    """Trace a mask.

    Pixel (x, y) covers [x, x + 1] x [y, y + 1], so all corners are whole numbers.

    Parameters
    ----------
    window : ndarray, bool, hxw
        The mask's pixels; need not be tight.
    left, top : int
        Where the window lies in the image, in pixels.

    Returns
    -------
    list of (ndarray, list of ndarray)
        The exterior and the holes of each part, from the top down; parts are connected
        over edges, not corners. Corners are int64 Nx2, (x, y). Exteriors run clockwise on
        the screen, where y points down (counter-clockwise in the numbers), holes the other
        way, so both rules of filling, even-odd and non-zero, give the mask.
    """
    corners = _Corners(np.pad(window, 1))
    places = corners.places(left, top)
    parts: list[tuple[Outline, int]] = []
    holes: list[tuple[Ring, int]] = []
    for cycle in _cycles(corners.following):
        for loop in _simple([places[row] for row in cycle]):
            ring = np.array(loop, dtype=np.int64)
            if runs_clockwise(loop):
                parts.append(((ring, []), cycle[0]))
            else:
                holes.append((ring, cycle[0]))
    if len(parts) == 1:
        parts[0][0][1].extend(hole for hole, _ in holes)
    elif holes:
        numbers = corners.parts([row for _, row in (*parts, *holes)])
        part_of = {number: part for number, (part, _) in zip(numbers, parts, strict=False)}
        for number, (hole, _) in zip(numbers[len(parts) :], holes, strict=True):
            part_of[number][1].append(hole)
    return [part for part, _ in parts]


def loops(window: Window, *, left: int = 0, top: int = 0) -> Iterator[list[_Corner]]:
    """Yield the corners of each outline as one loop, even where it touches itself.

    A gap that reaches the outside over a corner only is then no hole.

    Parameters
    ----------
    window, left, top
        As for `outlines`; those around the outside are `runs_clockwise`.
    """
    corners = _Corners(np.pad(window, 1))
    places = corners.places(left, top)
    for cycle in _cycles(corners.following):
        yield [places[row] for row in cycle]


class _Corners:
    """The corners of a mask's outlines, row by row; four pixels meet at each place.

    Of the four, one differs from both of its neighbours beside and above or below: the
    corner is that pixel's. Where two pixels touch diagonally, each has a corner of its own,
    so outlines stay with the pixel that they run around.
    """

    def __init__(self, padded: Window) -> None:
        self.padded = padded
        height, width = padded.shape
        # A few rows at a time: what it takes to find corners is many times a window.
        step = max(1, _AT_ONCE // width)
        starts = range(0, height - 1, step)
        bands = [_turns(padded[y : y + step + 1]) + np.array([y, 0, 0]) for y in starts]
        self.y, self.x, self.which = np.concatenate(bands).T
        self.pixel_y = self.y + (self.which & 1)
        self.pixel_x = self.x + (self.which >> 1)
        self.is_inside = padded[self.pixel_y, self.pixel_x]

    def places(self, left: int, top: int) -> list[_Corner]:
        """Return (x, y) of each corner in the image."""
        return list(zip((self.x + left).tolist(), (self.y + top).tolist(), strict=True))

    @property
    def following(self) -> list[int]:
        """For each corner, the one that comes next with the inside to the right."""
        rows = np.arange(len(self.x))
        # In a row, and in a column, an edge joins the first and second corner, the third and
        # fourth, and so on.
        order = np.lexsort((self.which & 1, self.y, self.x))
        along_column = np.empty_like(rows)
        along_column[order] = order[rows ^ 1]
        on_diagonal = (self.which == 0) | (self.which == 3)
        following: list[int] = np.where(
            on_diagonal == self.is_inside, rows ^ 1, along_column
        ).tolist()
        return following

    def parts(self, rows: list[int]) -> list[int]:
        """Return which part of the mask each corner's outline is of."""
        from scipy import ndimage

        labelled, _ = ndimage.label(self.padded)
        # A corner that turns around an outside pixel has the part's pixel beside that.
        beside = np.where(self.is_inside, self.pixel_x, 2 * self.x + 1 - self.pixel_x)
        found: list[int] = labelled[self.pixel_y[rows], beside[rows]].tolist()
        return found


def _turns(rows: Window) -> npt.NDArray[np.int64]:
    """Return the corners between rows of pixels, Nx3: y, x, and which pixel's of the four."""
    upper, lower = rows[:-1], rows[1:]
    # Those to the left come first: they end a horizontal edge, and others begin the next.
    four = (upper[:, :-1], lower[:, :-1], upper[:, 1:], lower[:, 1:])
    left, right = four[0] != four[1], four[2] != four[3]
    above, below = four[0] != four[2], four[1] != four[3]
    touching = left & right & above & below
    turning = [left & above, left & below, right & above, right & below]
    own = [turn & (pixel | ~touching) for turn, pixel in zip(turning, four, strict=True)]
    return np.argwhere(np.stack(own, axis=-1))


def _cycles(following: list[int]) -> Iterator[list[int]]:
    """Yield the cycles of a permutation, each from its lowest row."""
    seen = bytearray(len(following))
    for start in range(len(following)):
        cycle: list[int] = []
        row = start
        while not seen[row]:
            seen[row] = 1
            cycle.append(row)
            row = following[row]
        if cycle:
            yield cycle


def _simple(loop: list[_Corner]) -> list[list[_Corner]]:
    """Split a loop where it comes back to a corner, until no loop does."""
    if len(set(loop)) == len(loop):
        return [loop]
    found: list[list[_Corner]] = []
    open_at: dict[_Corner, int] = {}
    path: list[_Corner] = []
    for corner in loop:
        if corner in open_at:
            begin = open_at[corner]
            found.append(path[begin:])
            for passed in path[begin + 1 :]:
                del open_at[passed]
            del path[begin + 1 :]
        else:
            open_at[corner] = len(path)
            path.append(corner)
    return [*found, path]


def runs_clockwise(loop: list[_Corner]) -> bool:
    """Return whether a loop runs clockwise on the screen, where y points down."""
    following = [*loop[1:], loop[0]]
    return sum(x * (n - y) for (x, y), (_, n) in zip(loop, following, strict=True)) > 0
