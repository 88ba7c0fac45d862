"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, what: str) -> str:
    """Return a count of things, such as "1 mask" or "2 masks".

    Parameters
    ----------
    number : int
    what : str
        One of them, whose plural ends in s.
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
