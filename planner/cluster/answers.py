"""What the API server answers when it does not do what was asked, as our errors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from planner.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    Fault,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)

_LONGEST_TEXT = 500
"""Of an answer that is not the API server's: some proxy's page."""

_UNKNOWN_FIELD = "field not declared in schema"
"""What the server says of an apply with a field that the kind does not have; with status 500."""

_BY_STATUS: Mapping[int, type[ClusterError]] = {
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: UnavailableError,
}


def error_of(status: int, body: bytes | Mapping[str, Any], *, retry_after: str | None = None) -> ClusterError:
    """Return the error that an answer stands for.

    Parameters
    ----------
    status
        The HTTP status, 300 or more; of an ERROR event of a watch, its ``code``.
    body
        The answer: a ``Status`` object of the API, or whatever a proxy put there.
    retry_after
        The header ``Retry-After``; None without one.
    """
    answer = _status_object(body)
    reason = str(answer.get("reason") or "")
    details = answer.get("details")
    details = details if isinstance(details, dict) else {}
    wait = retry_after if retry_after is not None else details.get("retryAfterSeconds")
    text = _text(status, reason, answer, body)
    return _class(status, reason, text)(
        text,
        status=status,
        faults=tuple(_faults(details)),
        retry_after_s=_seconds(wait),
    )


def _status_object(body: bytes | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("kind") == "Status" else {}


def _class(status: int, reason: str, text: str) -> type[ClusterError]:
    if reason == "AlreadyExists":
        return AlreadyExistsError
    if _UNKNOWN_FIELD in text:
        return InvalidError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return UnavailableError if status >= 500 else InvalidError


def _text(status: int, reason: str, answer: Mapping[str, Any], body: bytes | Mapping[str, Any]) -> str:
    """Return what kubectl would say: "Error from server (NotFound): pods "x" not found"."""
    message = str(answer.get("message") or "")
    if not message and isinstance(body, bytes):
        message = body[:_LONGEST_TEXT].decode(errors="replace").strip()
    return f"Error from server ({reason or f'HTTP {status}'}): {message or 'no reason given'}"


def _faults(details: Mapping[str, Any]) -> Iterator[Fault]:
    causes = details.get("causes")
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict):
            path, message = cause.get("field") or "", cause.get("message") or cause.get("reason")
            yield Fault(path=str(path), message=str(message))


def _seconds(value: object) -> float | None:
    """Return a number of seconds; the header may hold a date too, which API servers do not send."""
    try:
        return max(0.0, float(str(value)))
    except ValueError:
        return None
