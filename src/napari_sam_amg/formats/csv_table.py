"""Tables of masks as CSV."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from napari_sam_amg.formats.atomic import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from napari_sam_amg.formats.atomic import AnyPath


@contextlib.contextmanager
def staged_table(table: pd.DataFrame, path: AnyPath) -> Iterator[None]:
    """Write a table as `write_table`, but under its name once the block is left.

    For what belongs to a result: neither is replaced if the other cannot be written.
    """
    # Names of channels and images come from anywhere: half a character must not stop a result.
    content = table.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace")
    with write_file(path) as file:
        file.write(content)
        file.flush()
        yield


def write_table(table: pd.DataFrame, path: AnyPath) -> None:
    """Write a table, such as that of `Masks.measure`, as CSV in UTF-8.

    Parameters
    ----------
    table : DataFrame
        Its index is left out.
    path : path
        The file.

    Raises
    ------
    WriteError
        If it cannot be written; what was there is as it was.
    """
    with staged_table(table, path):
        pass
