"""Calls over HTTP, with what every kind of server shares: time limits, credentials, errors."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import urllib3

from agent.connections import Connections
from agent.errors import (
    BrokenConnectionError,
    NobodyListensError,
    RefusedError,
    Retry,
    UnansweredError,
    UnreachableError,
)
from agent.servers.headers import NO_HEADERS, Headers

LONGEST_MESSAGE = 2000
LONGEST_INDEX = 32 << 20
"""Bytes of an index: 100,000 models take 10 MiB, and more where each says at length why it failed."""
_LONGEST_ANSWER = 1 << 20
_PIECE = 1 << 16
_JSON = {"Content-Type": "application/json"}

# A busy server or something between; and answers to a request that is wrong in itself, by RFC 9110: not
# found, method not allowed, too large, unprocessable, not implemented. All others are tried again late.
_RETRY: Mapping[int, Retry] = {
    **dict.fromkeys((429, 502, 504), "soon"),
    **dict.fromkeys((404, 405, 413, 422, 501), "rarely"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long one call may take, in seconds.

    Parameters
    ----------
    connect_s, control_s
        To connect; index and metadata, which answer at once.
    load_s
        A load answers when the model serves.
    unload_s
        An unload: Triton answers at once, the Python servers when it has happened.
    infer_s
        A test inference.
    """

    connect_s: float = 2.0
    control_s: float = 10.0
    load_s: float = 900.0
    unload_s: float = 120.0
    infer_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server is, and how it is reached.

    Parameters
    ----------
    url
        As ``http://127.0.0.1:8080``.
    ca
        File of the certificates that an https server is judged by; None takes the system's.
    headers
        Sent with every call; they may be secret.
    """

    url: str
    ca: Path | None = None
    headers: Headers = NO_HEADERS


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and the beginning of a body; whether that is all of it."""

    status: int
    body: bytes
    whole: bool = True


class Http:
    """One server's HTTP port.

    Parameters
    ----------
    address
        Where it is.
    connections
        Connections kept at most: calls that are in flight at the same time.
    timeouts
        Per kind of call.
    """

    def __init__(self, address: Address, *, connections: int, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self._url = address.url.rstrip("/")
        self._headers = address.headers
        ca = None if address.ca is None else str(address.ca)
        self._pool = Connections(maxsize=connections, retries=False, ca_certs=ca)

    def get(self, path: str, *, most_bytes: int = _LONGEST_ANSWER) -> object:
        """Return the JSON document of a good answer to a GET.

        Raises
        ------
        UnreachableError, RefusedError
            There is no good answer, or it is not JSON, or longer than ``most_bytes``.
        """
        return parsed(self.call("GET", path, read_s=self.timeouts.control_s, most_bytes=most_bytes))

    def call(  # noqa: PLR0913 - one call's parts
        self,
        method: str,
        path: str,
        *,
        read_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = _LONGEST_ANSWER,
    ) -> bytes:
        """Return the body of a good answer; raises as `get`."""
        answer = self.ask(method, path, read_s=read_s, body=body, headers=headers, most_bytes=most_bytes)
        if answer.status != 200:
            raise refusal(answer)
        if not answer.whole:
            raise RefusedError(200, f"{method} {path}: the answer is longer than {most_bytes} bytes")
        return answer.body

    def ask(  # noqa: PLR0913 - one call's parts
        self,
        method: str,
        path: str,
        *,
        read_s: float,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = _LONGEST_ANSWER,
    ) -> Answer:
        """Return any answer, or its beginning.

        Parameters
        ----------
        method, path, body, headers
            The call; ``headers`` beside those of every call.
        read_s
            Seconds until the head of the answer is there, without a byte of its body, and until all of it is
            there: it cannot trickle for longer than twice as long.
        most_bytes
            Of the body.

        Raises
        ------
        UnreachableError
            There is none; `NobodyListensError` and `BrokenConnectionError` where that is known.
        UnansweredError
            Not in time.
        """
        until_s = time.monotonic() + self.timeouts.connect_s + read_s
        timeout = urllib3.Timeout(connect=self.timeouts.connect_s, read=read_s)
        sent = {**_JSON, **self._headers.current(), **(headers or {})}
        try:
            response = self._pool.request(
                method,
                self._url + path,
                body=body,
                headers=sent,
                timeout=timeout,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            body_read, whole = _read(response, most_bytes=most_bytes, until_s=until_s)
            return Answer(response.status, body_read, whole)
        except urllib3.exceptions.HTTPError as error:
            raise _unreachable(error)(f"{method} {path}: {error}") from error

    def rest(self) -> None:
        """Close idle connections."""
        self._pool.clear()


def _unreachable(error: urllib3.exceptions.HTTPError) -> type[UnreachableError]:
    """Return what it is that there is no answer."""
    match error:
        case urllib3.exceptions.ConnectTimeoutError() if isinstance(error.__cause__, ConnectionRefusedError):
            return NobodyListensError
        case urllib3.exceptions.ConnectTimeoutError():
            return UnreachableError
        case urllib3.exceptions.TimeoutError():
            return UnansweredError
        case urllib3.exceptions.ProtocolError():
            return BrokenConnectionError
        case _:
            return UnreachableError


def _read(response: urllib3.BaseHTTPResponse, *, most_bytes: int, until_s: float) -> tuple[bytes, bool]:
    """Return a body, or its beginning, and whether it is all; the connection is kept where it is."""
    whole = False
    content = bytearray()
    try:
        while len(content) <= most_bytes:
            piece = response.read1(_PIECE)
            if not piece:
                whole = True
                break
            content += piece
            if time.monotonic() > until_s:
                raise urllib3.exceptions.TimeoutError("its answer did not end in time")
    finally:
        if whole:
            response.drain_conn()
        else:
            response.close()
    del content[most_bytes:]
    return bytes(content), whole


def refusal(answer: Answer) -> RefusedError:
    """Return the error that an answer other than 200 is."""
    return RefusedError(answer.status, _error_text(answer.body), retry=_RETRY.get(answer.status, "late"))


def parsed(body: bytes) -> object:
    """Return a JSON document.

    Raises
    ------
    RefusedError
        It is none.
    """
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(200, f"the server's answer is not JSON: {error}") from error
    return document


def _error_text(body: bytes) -> str:
    """Return the ``error`` or ``detail`` of a JSON body, or the body as it is."""
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        text = next((str(document[key]) for key in ("error", "detail") if document.get(key)), text)
    return text[:LONGEST_MESSAGE].strip() or "no text"
