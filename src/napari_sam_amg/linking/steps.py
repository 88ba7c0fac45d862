"""Progress of linking and tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Result = TypeVar("Result")


@dataclass(frozen=True)
class LinkStep(Generic[Result]):
    """Progress of a job; stop asking for more to cancel it.

    Attributes
    ----------
    done, total : int
        Steps finished and steps in all; `done` grows by one from step to step.
    stage : str
        What was just finished: "measure", "compare", "link", "fill" or "divide".
    result : Volume or Tracks or None
        Set on the last step only.
    """

    done: int
    total: int
    stage: str
    result: Result | None = None


def finished(steps: Iterator[LinkStep[Result]]) -> Result:
    """Go through all steps of a job and return its result."""
    result: Result | None = None
    for step in steps:
        result = step.result
    if result is None:
        raise ValueError("the last step of a job has no result")
    return result
