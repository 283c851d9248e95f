"""The body of a watch: one event a line, for as long as the server likes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from types import TracebackType
from typing import Any, Literal, Self, cast, get_args

import urllib3

from planner.cluster.answers import error_of
from planner.cluster.objects import Object, is_object
from planner.errors import UnavailableError

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]

_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of a watch; of a BOOKMARK only the object's ``resourceVersion`` means anything."""

    type: EventType
    object: Object


class Stream:
    """The events of one watch; iterate over it once, and close it, from any thread, to end that.

    Raises while it is iterated over
    --------------------------------
    GoneError
        The version that it started from is too old.
    UnavailableError
        It broke off.
    """

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self._closed = False
        self._lock = Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._answer.close()

    def close(self) -> None:
        """End the iteration, also one that waits for the server in another thread."""
        with self._lock:
            if not self._closed:
                self._closed = True
                with suppress(ValueError, RuntimeError, OSError):
                    self._answer.shutdown()  # the reader wakes up to the end of the body

    def __iter__(self) -> Iterator[Event]:
        for line in self._lines():
            event = _event(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise error_of(int(status.get("code") or 500), status)
            yield Event(type=cast("EventType", event["type"]), object=event["object"])

    def _lines(self) -> Iterator[bytes]:
        rest = b""
        try:
            for piece in self._answer.stream(_PIECE_BYTES):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line for line in lines if line.strip())
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if not self._closed:
                raise UnavailableError(f"the watch broke off: {error}") from error


def _event(line: bytes) -> Object:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"a line of the watch is not JSON: {error}") from error
    if not isinstance(event, dict) or not _is_whole(event.get("type"), event.get("object")):
        raise UnavailableError("a line of the watch is no event of the API")
    return event


def _is_whole(kind: Any, item: Any) -> bool:
    """Return whether an event has the object that its type promises."""
    match kind:
        case "ERROR":
            return isinstance(item, dict)
        case "BOOKMARK":
            return isinstance(item, dict) and isinstance(item.get("metadata"), dict)
        case _:
            return kind in get_args(EventType) and is_object(item)
