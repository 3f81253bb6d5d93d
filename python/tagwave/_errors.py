"""Exceptions, by the kinds of errors of the library."""

from __future__ import annotations


class TagwaveError(Exception):
    """Error of tagwave.

    ``kind`` is ``"input"``, ``"unsupported"``, ``"resource"``, ``"device"`` or ``"internal"``, and ``path`` the file
    that could not be tagged, or ``None``.
    """

    kind: str
    path: str | None

    def __init__(self, message: str = "", kind: str = "internal", path: str | None = None) -> None:
        super().__init__(message, kind, path)
        self.kind = kind
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


class InputError(TagwaveError, ValueError):
    """Invalid argument, or samples that cannot be tagged."""


class AudioError(TagwaveError):
    """File that cannot be tagged: it is missing, damaged, of an unknown format, or no audio. ``path`` names it."""


class ModelError(TagwaveError):
    """Model that is unknown, or whose weights are missing or invalid."""


class DeviceError(TagwaveError):
    """Device that cannot be opened, or that failed."""


class ResourceError(TagwaveError):
    """Lack of memory, threads or disk space."""


class TagwaveWarning(UserWarning):
    """Warning about a model or a device, such as a fallback to the CPU."""
