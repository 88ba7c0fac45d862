"""Fetch a model's file once, verified."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam_amg.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from requests import Response

    from napari_sam_amg.models.profiles import ModelInfo

    Progress = Callable[[int, int], None]
    Cancel = Callable[[], bool]

log = logging.getLogger(__name__)

FOLDER_VARIABLE = "NAPARI_SAM_AMG_MODELS"
MIRROR_VARIABLE = "NAPARI_SAM_AMG_MIRROR"
TIMEOUT = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes."""
ATTEMPTS = 2
PAUSE = 1.0
"""Seconds between attempts."""
CHUNK = 2**16
MAX_BYTES = 2 * 2**30
STALE = 24 * 3600.0
"""Seconds after which another process's partial file counts as left behind."""


class _CancelledError(Exception):
    pass


class _TooLongError(Exception):
    pass


def model_folder(folder: str | Path | None = None) -> Path:
    """Return the folder of fetched models.

    `folder` if one is given, else ``NAPARI_SAM_AMG_MODELS``, else the user's cache.
    """
    import pooch

    chosen = folder or os.environ.get(FOLDER_VARIABLE)
    return Path(chosen).expanduser() if chosen else Path(pooch.os_cache("napari-sam-amg"))


def download_url(info: ModelInfo) -> str:
    """Return where a model is fetched from: its own URL, or the mirror's.

    Raises
    ------
    DownloadError
        If the model has no URL, or ``NAPARI_SAM_AMG_MIRROR`` is no web address.
    """
    if info.url is None:
        raise DownloadError(f"{info.name} is embedded or a file of your own: nothing to download")
    mirror = os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return info.url
    if not mirror.startswith(("https://", "http://")):
        raise DownloadError(
            f"{MIRROR_VARIABLE}={mirror!r} is not a web address: it must start with https:// or "
            f"http://; for a folder on this computer set {FOLDER_VARIABLE} instead"
        )
    return f"{mirror.rstrip('/')}/{file_name(info)}"


def file_name(info: ModelInfo) -> str:
    """Return the name of a model's file in `model_folder`."""
    return str(info.url).rsplit("/", 1)[-1]


def fetch(
    info: ModelInfo,
    *,
    folder: str | Path | None = None,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Path:
    """Return the path of a model's file, downloading it if it is not there yet.

    Parameters
    ----------
    info : ModelInfo
        With a URL.
    folder : str or Path, optional
        Where it is kept; see `model_folder`.
    progress : callable, optional
        Called with bytes done and bytes in total (0 if unknown) after every 64 KiB.
    cancel : callable, optional
        Asked after every 64 KiB; True stops the download.

    Returns
    -------
    Path
        A file whose SHA-256 is ``info.sha256``. If it is there already, no connection is
        opened.

    Raises
    ------
    DownloadError
        If the file cannot be fetched, is not the right one, cannot be written, or
        `cancel` asked to stop. Nothing partial or wrong is left under the file's name.
    """
    import pooch

    url = download_url(info)
    path = model_folder(folder) / file_name(info)
    try:
        if path.is_file():
            if pooch.file_hash(str(path)) == info.sha256:
                return path
            log.warning("%s is damaged or another file; fetching it again", path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    for attempt in range(1, ATTEMPTS + 1):
        log.info("%s: downloading %s to %s", info.name, url, path)
        problem = _attempt(info, url, path, progress, cancel)
        if problem is None:
            return path
        log.warning("%s: attempt %d of %d: %s", info.name, attempt, ATTEMPTS, problem)
        if attempt < ATTEMPTS:
            time.sleep(PAUSE)
    raise _failed(info, url, path, problem)


def _attempt(
    info: ModelInfo, url: str, path: Path, progress: Progress | None, cancel: Cancel | None
) -> str | None:
    """Download once. Return None, or a problem that another attempt may not have."""
    import pooch
    from requests.exceptions import HTTPError, RequestException

    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    responses: list[Response] = []
    report = _Report(info.size_bytes, progress, cancel)
    downloader = pooch.HTTPDownloader(
        progressbar=report,
        chunk_size=CHUNK,
        timeout=TIMEOUT,
        headers={"Accept-Encoding": "identity"},
        # pooch closes no response: a stopped download would go on until the next garbage
        # collection.
        hooks={"response": lambda response, **_: responses.append(response)},
    )
    try:
        downloader(url, str(partial), None)
        found = pooch.file_hash(str(partial))
        if found != info.sha256:
            size = partial.stat().st_size
            return f"the file has other content ({size} bytes, SHA-256 {found})"
        with partial.open("r+b") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except _CancelledError:
        raise DownloadError(f"{info.name}: download stopped as asked; nothing was kept") from None
    except _TooLongError:
        return f"the file is longer than the {report.most} bytes it should have at most"
    except HTTPError as error:
        status = 0 if error.response is None else error.response.status_code
        problem = f"the server answers with status {status}"
        if status < 500:
            raise _failed(info, url, path, problem) from error
        return problem
    except RequestException as error:
        return _network_problem(error)
    except ValueError as error:  # pooch reads the header Content-Length as it comes
        return f"the server's answer makes no sense ({error})"
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        for response in responses:
            response.close()
        partial.unlink(missing_ok=True)
    return None


class _Report:
    """What pooch takes for a progress bar: counts, reports, and stops when asked."""

    def __init__(self, size: int | None, progress: Progress | None, cancel: Cancel | None) -> None:
        self.most = size or MAX_BYTES
        self.total = size or 0
        self._progress = progress
        self._cancel = cancel
        self._done = 0

    def update(self, count: int) -> None:
        self._done += count
        # pooch reports whole chunks: only a surplus of more than one is real.
        if self._done >= self.most + 2 * CHUNK:
            raise _TooLongError
        if self._cancel is not None and self._cancel():
            raise _CancelledError
        if self._progress is not None:
            self._progress(min(self._done, self.total or self._done), self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""


def _network_problem(error: Exception) -> str:
    from requests import exceptions
    from requests.exceptions import ChunkedEncodingError, SSLError, Timeout

    log.debug("%s: %s", type(error).__name__, error)
    for kind, text in (
        (SSLError, "the server's certificate is not accepted (a proxy may be in between)"),
        (Timeout, "the server does not answer in time"),
        (ChunkedEncodingError, "the connection was cut before the end"),
        (
            exceptions.ConnectionError,
            "the server cannot be reached (offline, or blocked by a firewall)",
        ),
    ):
        if isinstance(error, kind):
            return text
    return f"the request failed ({type(error).__name__})"


def _remove_stale(path: Path) -> None:
    """Remove what a killed process left; a younger file may be another's work."""
    for partial in path.parent.glob(f"{path.name}.*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process may have moved it
            if time.time() - partial.stat().st_mtime > STALE:
                partial.unlink()


def _cannot_write(path: Path, error: OSError) -> DownloadError:
    advice = "free some space" if error.errno == errno.ENOSPC else "make the folder writable"
    return DownloadError(
        f"{path}: cannot be written ({error.strerror or type(error).__name__}): {advice}, or set "
        f"{FOLDER_VARIABLE} to another folder. Nothing was kept"
    )


def _failed(info: ModelInfo, url: str, path: Path, problem: str | None) -> DownloadError:
    return DownloadError(
        f"{info.name}: download failed: {problem}. Try again with 'napari-sam-amg --download "
        f"{info.name}'. Or, on a computer that is online, fetch {url} and put the file in "
        f"{path.parent} as {path.name} (another folder: set {FOLDER_VARIABLE}; a mirror: "
        f"{MIRROR_VARIABLE}). The model nuclei-nano needs no download"
    )
