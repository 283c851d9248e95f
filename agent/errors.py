"""The agent's error tree.

::

    AgentError
    ├── SettingsError        the agent cannot run as it was started; the command ends with 2
    ├── PinError             a model cannot be pinned as its document asks
    ├── NoRoomError          a device has less memory free than a load may take; the server was not asked
    ├── StorageError         a model's files could not be fetched; `retry` says whether soon or late
    │   └── SupersededError       nobody wants these files any more: not a failure
    └── ServerError          a call to the model server
        ├── UnreachableError      no answer, or none in time: what the server did is unknown
        │   ├── NoConnectionError     no connection, or one that broke
        │   │   ├── NobodyListensError    refused by the machine: no process has the server's port open
        │   │   └── BrokenConnectionError it broke after the call was sent: the server may have died of it
        │   └── UnansweredError       the server has taken the call and does not answer it in time
        ├── RefusedError          the server answered with an error; carries status and text
        └── ProbeError            a model is loaded and does not answer

``desired.DocumentError`` stands outside: that module is read by the planner too and has nothing above it.
"""

from __future__ import annotations

from typing import Literal

Retry = Literal["soon", "late", "rarely"]
"""Soon: a network that stumbled. Late: an answer that may change by itself, such as a load without memory.
Rarely: one that will not as long as request, files and server process are the same, such as a model format
that the server does not know."""


class AgentError(Exception):
    """The root of every error that the agent raises on purpose."""


class SettingsError(AgentError):
    """The agent cannot run with these settings."""


class PinError(AgentError):
    """A model cannot be pinned as its document asks.

    Parameters
    ----------
    reason
        One word for programs, as ``DeviceNotVisible``.
    message
        What is wrong, for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class NoRoomError(AgentError):
    """A device has less memory free than a load may take."""


class StorageError(AgentError):
    """A model's files could not be fetched.

    Parameters
    ----------
    reason
        One word for programs, as ``NotFound``.
    message
        What is wrong, for people; without credentials.
    retry
        Whether another try may help soon.
    """

    def __init__(self, reason: str, message: str, *, retry: Retry = "late") -> None:
        self.reason = reason
        self.retry: Retry = retry
        super().__init__(message)


class SupersededError(StorageError):
    """The files being fetched are not wanted any more."""

    def __init__(self) -> None:
        super().__init__("Superseded", "a newer document does not ask for these files", retry="soon")


class ServerError(AgentError):
    """A call to the model server failed."""


class UnreachableError(ServerError):
    """The server gave no answer, or none in time; what it did is unknown until its index is read again."""


class NoConnectionError(UnreachableError):
    """There is no connection to the server's port, or it broke."""


class NobodyListensError(NoConnectionError):
    """No process listens on the server's port; one that is slow, however slow, still does."""


class BrokenConnectionError(NoConnectionError):
    """The connection broke after a call was sent and before its answer."""


class UnansweredError(UnreachableError):
    """The server took a call and did not answer it in time."""


class RefusedError(ServerError):
    """The server answered with an error.

    Parameters
    ----------
    status
        The HTTP status, or the one that a gRPC status stands for.
    message
        The server's own text.
    retry
        Whether another try may help.
    """

    def __init__(self, status: int, message: str, *, retry: Retry = "late") -> None:
        self.status = status
        self.retry: Retry = retry
        super().__init__(message)


class ProbeError(ServerError):
    """A model is loaded and does not answer."""
