"""Tasks of which the next one is begun before the one at hand is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Ahead(Generic[Task, Answer]):
    """Keeps an accelerator at work while the host waits for what it needs to go on.

    Parameters
    ----------
    begin : callable
        Begins a task as far as that goes without waiting; what it returns waits and finishes.
    """

    def __init__(self, begin: Callable[[Task], Callable[[], Answer]]) -> None:
        self._begin = begin
        self._begun: tuple[Task, Callable[[], Answer]] | None = None

    def answer(self, task: Task, following: Task | None) -> Answer:
        """Finish a task, after the one that follows, if any, is begun.

        A task that was not named as following, the very same object, is begun now.
        """
        begun, self._begun = self._begun, None
        finish = begun[1] if begun is not None and begun[0] is task else self._begin(task)
        if following is not None:
            self._begun = (following, self._begin(following))
        return finish()
