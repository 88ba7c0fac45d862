"""Connecting to a scheduler, and making sure that its workers can do the work."""

from __future__ import annotations

import contextlib
import json
import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Any

from napari_sam_amg.distributed.setup import (
    PACKAGES,
    Setup,
    differing,
    local_versions,
    minor,
    short,
)
from napari_sam_amg.errors import SamAmgError, SchedulerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

TIMEOUT = 10.0
"""Seconds until a scheduler must have answered, and until it must have a worker."""

_MOST_BYTES = 1 << 24


@contextlib.contextmanager
def connected(address: str, *, timeout: float = TIMEOUT) -> Iterator[Client]:
    """Connect to a scheduler within this context.

    Parameters
    ----------
    address : str
        Such as ``tcp://host:8786``, or the path of the file that the scheduler wrote with
        ``--scheduler-file``.
    timeout : float
        Seconds.

    Raises
    ------
    SchedulerError
        If the package distributed is missing, or no scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SchedulerError(
            "a scheduler needs the package distributed, which is not installed: "
            "pip install 'napari-sam-amg[distributed]'"
        ) from error
    found = _address_in(address) if os.path.isfile(address) else address
    if "://" not in found and not found.rpartition(":")[2].isdecimal():
        raise SchedulerError(
            f"{address!r} is no address of a scheduler, such as tcp://host:8786, and no file that "
            "one wrote (dask scheduler --scheduler-file FILE)"
        )
    try:
        client = Client(found, timeout=timeout, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise SchedulerError(
            f"no scheduler answers at {found} within {timeout:g} s ({_first_line(error)}): "
            "start one with 'dask scheduler', and see that the address is the one it says"
        ) from error
    try:
        yield client
    finally:
        client.close()


def prepare_workers(client: Client, setup: Setup, *, timeout: float = TIMEOUT) -> list[str]:
    """See that all workers have the same software, and load the model on each.

    Parameters
    ----------
    client : Client
    setup : Setup
    timeout : float
        Seconds until there must be a worker.

    Returns
    -------
    list of str
        The architecture of the model on each worker.

    Raises
    ------
    SchedulerError
        If there is no worker, or software differs.
    SamAmgError
        If a worker cannot have the model or the device.
    """
    from napari_sam_amg.distributed.worker import ready

    address = client.scheduler.address
    try:
        client.wait_for_workers(1, timeout=timeout)
    except TimeoutError as error:
        raise SchedulerError(
            f"the scheduler at {address} has no worker: start some with 'dask worker {address}'"
        ) from error
    _check_versions(client)
    found: dict[str, Any] = client.run(ready, setup, on_error="return")
    for worker, answer in found.items():
        if isinstance(answer, SamAmgError):
            raise type(answer)(f"{answer} (on worker {worker})") from answer
        if isinstance(answer, BaseException):
            raise SchedulerError(
                f"worker {worker} cannot begin: {type(answer).__name__} ({_first_line(answer)})"
            ) from answer
    return list(found.values())


def _check_versions(client: Client) -> None:
    own = local_versions()
    # These functions are Python's own: they are there whatever is installed.
    answers: dict[str, dict[str, Any]] = {
        "python": client.run(platform.python_version, on_error="return")
    }
    for name in PACKAGES:
        answers[name] = client.run(metadata.version, name, on_error="return")
    for worker in answers["python"]:
        theirs = {
            name: minor(answer[worker]) if name == "python" else short(answer[worker])
            for name, answer in answers.items()
            if isinstance(answer.get(worker), str)
        }
        if differences := differing(own, theirs):
            raise SchedulerError(
                f"worker {worker} has other versions: {differences}. Install the same ones, so "
                "that results are the same everywhere"
            )
    # It reads what it hands on, and computes nothing.
    try:
        scheduler = client.run_on_scheduler(metadata.version, PACKAGES[0])
    except metadata.PackageNotFoundError:
        scheduler = "missing"
    if short(scheduler) != own[PACKAGES[0]]:
        raise SchedulerError(
            f"the scheduler has {PACKAGES[0]} {scheduler}, and here it is {own[PACKAGES[0]]}: "
            "install the same there"
        )


def _address_in(path: str) -> str:
    """Return the address in a file that a scheduler wrote; empty if there is none."""
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError):
        return ""
    address = content.get("address") if isinstance(content, dict) else None
    return address if isinstance(address, str) else ""


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
