"""What a user corrected by choosing among the candidates, apart from any window."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


class Corrections:
    """Candidates that take others' place, are shown in addition, or not at all.

    They stand above the thresholds: a mask that was removed stays away and one that was
    promoted stays there, whatever is selected.
    """

    def __init__(self) -> None:
        self._instead: dict[int, int | None] = {}
        self._added: tuple[int, ...] = ()
        self._earlier: list[tuple[dict[int, int | None], tuple[int, ...]]] = []

    def __bool__(self) -> bool:
        return bool(self._instead or self._added)

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._earlier)

    def remove(self, rows: Rows) -> None:
        """Show some candidates no more."""
        self._remember()
        for row in rows.tolist():
            self._take_away(row)

    def promote(self, row: int, instead: int | None) -> None:
        """Show a candidate, in the place of another one or in addition."""
        self._remember()
        if instead is None:
            self._added = (*self._added, row)
        elif instead in self._added:
            self._added = tuple(row if other == instead else other for other in self._added)
        else:
            first = next((a for a, b in self._instead.items() if b == instead), instead)
            self._instead = {**self._instead, first: row}
        if self._instead.get(row, row) is None:  # it was removed before
            self._instead = {a: b for a, b in self._instead.items() if a != row}

    def undo(self) -> None:
        """Take the last step back, if there is one."""
        if self._earlier:
            self._instead, self._added = self._earlier.pop()

    def applied(self, rows: Rows) -> Rows:
        """Return the candidates to show in place of those that the thresholds select."""
        if not self:
            return rows
        shown = [self._instead.get(row, row) for row in rows.tolist()]
        # What stands for a mask that is no longer selected is shown all the same.
        shown += [*self._instead.values(), *self._added]
        return np.array([r for r in dict.fromkeys(shown) if r is not None], dtype=np.int64)

    def _take_away(self, row: int) -> None:
        first = row  # also of one that was added: thresholds may select it, too
        if row in self._added:
            self._added = tuple(other for other in self._added if other != row)
        else:
            first = next((a for a, b in self._instead.items() if b == row), row)
        self._instead = {**self._instead, first: None}

    def _remember(self) -> None:
        self._earlier.append((self._instead, self._added))
