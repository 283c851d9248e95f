"""``http://`` and ``https://`` URIs: one object, an archive or a single file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import unquote, urlsplit

import urllib3

from agent.errors import StorageError
from agent.storage.limits import Budget
from agent.storage.uri import public

# Statuses that say "try again" (RFC 9110, 6585): a time-out, too many requests, trouble behind a gateway.
_RETRY_SOON = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = urllib3.Timeout(connect=10.0, read=60.0)
_REDIRECTS = 3
_LEAST_BYTES_PER_S = 1024
_WINDOW_S = 60.0
_pool = urllib3.PoolManager(maxsize=8)


class Flowing(Protocol):
    """A response that gives what has come, up to an amount."""

    def read1(self, amount: int, /) -> bytes:
        """Return what has come; empty at the end."""
        ...


class Steady:
    """A response that must not trickle: one byte a minute would keep its place among the downloads for ever.

    Parameters
    ----------
    response
        What is read.
    uri
        Where it comes from.
    seconds
        A clock that only runs forward.
    """

    def __init__(self, response: Flowing, uri: str, seconds: Callable[[], float] = time.monotonic) -> None:
        self._response = response
        self._uri = uri
        self._seconds = seconds
        self._since_s = seconds()
        self._bytes = 0

    def read(self, amount: int, /) -> bytes:
        """Return what has come, up to ``amount`` bytes.

        Raises
        ------
        StorageError
            Less than a kibibyte a second came, over a minute.
        """
        chunk = self._response.read1(amount)
        self._bytes += len(chunk)
        waited_s = self._seconds() - self._since_s
        if chunk and waited_s >= _WINDOW_S:
            if self._bytes < waited_s * _LEAST_BYTES_PER_S:
                raise StorageError(
                    "TooSlow", f"{public(self._uri)}: {self._bytes} bytes in {waited_s:.0f} s", retry="soon"
                )
            self._since_s += waited_s
            self._bytes = 0
        return chunk


def object_name(uri: str) -> str:
    """Return the last part of a URI's path, which names the file.

    Raises
    ------
    StorageError
        The path has none.
    """
    name = PurePosixPath(unquote(urlsplit(uri).path)).name
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise StorageError("BadUri", f"{public(uri)}: the URI names no file")
    return name


def download(uri: str, target: Path, *, budget: Budget) -> None:
    """Download one object into a new file.

    Raises
    ------
    StorageError
        The server refuses or breaks off, or it is too large.
    """
    try:
        response = _pool.request(
            "GET",
            uri,
            preload_content=False,
            timeout=_TIMEOUT,
            # An archive must arrive as it is stored, so no transfer compression.
            headers={"Accept-Encoding": "identity"},
            # Retries are the loop's; only redirects are followed here.
            retries=urllib3.Retry(
                total=_REDIRECTS, connect=0, read=0, status=0, respect_retry_after_header=False
            ),
        )
    except urllib3.exceptions.MaxRetryError as error:
        if isinstance(error.reason, urllib3.exceptions.ResponseError):
            raise StorageError("TooManyRedirects", f"{public(uri)}: {_REDIRECTS} redirects") from error
        raise StorageError("Unreachable", f"{public(uri)}: {_said(error)}", retry="soon") from error
    except urllib3.exceptions.HTTPError as error:
        raise StorageError("Unreachable", f"{public(uri)}: {_said(error)}", retry="soon") from error
    try:
        _check_status(uri, response.status)
        # urllib3 compares the length announced with the length received; a short body raises at the end.
        budget.write(Steady(response, uri), target)
    except urllib3.exceptions.HTTPError as error:
        raise StorageError("BrokenOff", f"{public(uri)}: {_said(error)}", retry="soon") from error
    finally:
        response.close()


def _check_status(uri: str, status: int) -> None:
    if status == 200:
        return
    reason = "NotFound" if status in (404, 410) else "Denied" if status in (401, 403) else "HttpError"
    raise StorageError(
        reason, f"{public(uri)}: status {status}", retry="soon" if status in _RETRY_SOON else "late"
    )


def _said(error: urllib3.exceptions.HTTPError) -> str:
    """Return what went wrong without the request's own URL, whose query may hold a signature."""
    cause = error.reason if isinstance(error, urllib3.exceptions.MaxRetryError) else error
    return type(cause).__name__
