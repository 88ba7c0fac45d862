"""The exceptions that users of the package meet.

None derives from RuntimeError: napari's generator workers swallow those.
Every message names what was found and says what to do.
"""

from __future__ import annotations


class SamAmgError(Exception):
    """Base of all errors that napari-sam-amg raises on purpose."""


class ParameterError(SamAmgError):
    """A parameter is unknown, of the wrong type or out of range."""


class ImageError(SamAmgError):
    """An image cannot be used as it is."""


class ModelError(SamAmgError):
    """A model is unknown, not what it claims to be, or unsafe to load."""


class DownloadError(ModelError):
    """A model file could not be fetched or is not the file that was asked for."""


class DeviceError(SamAmgError):
    """A compute device does not exist here or has too little memory."""


class ReadError(SamAmgError):
    """A file of masks is damaged, unsafe or not of the expected form."""


class WriteError(SamAmgError):
    """A result could not be written; what was there before is untouched."""


class RunError(SamAmgError):
    """A run failed; the message names the stage and says what to try."""


class SchedulerError(SamAmgError):
    """A scheduler or its workers cannot be used."""


class Cancelled(SamAmgError):
    """A run was ended before it was done."""
