"""Events: what happened to an object, for those who ask kubectl why."""

# ruff: noqa: PLR0913 - an event's parts, by keyword

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Literal
from uuid import uuid4

from planner.cluster.client import Kube
from planner.cluster.objects import Object
from planner.cluster.resources import EVENTS
from planner.errors import ClusterError, NotFoundError

_LOG = logging.getLogger(__name__)

_SAME_WITHIN_S = 360.0
"""The same said again within six minutes is one event with a count, as client-go's recorder has it."""
_MOST_NOTE_BYTES = 1024
"""Of a note that the API takes (events.k8s.io/v1)."""
_MOST_KEPT = 4096
"""Events that may still become a series."""

_Said = tuple[str, str, str, str]


class Recorder:
    """Writes events, best effort: an event that the server does not take is only logged.

    Parameters
    ----------
    kube
        The client.
    controller
        Who says it, as ``shardpack.dev/controller``.
    instance
        Which process of it.
    clock
        Seconds, monotonic.
    """

    def __init__(
        self, kube: Kube, *, controller: str, instance: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._kube = kube
        self._controller, self._instance = controller, instance
        self._clock = clock
        self._said: dict[_Said, tuple[str, int, float]] = {}
        self._lock = Lock()

    def record(
        self,
        regarding: Object,
        reason: str,
        note: str,
        *,
        action: str,
        kind: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """Write one event.

        Parameters
        ----------
        regarding
            The object that it is about, as it was read.
        reason, action
            Why and what was done, one word each in UpperCamelCase.
        note
            For people; cut at 1,024 bytes.
        kind
            Whether something is wrong.
        """
        note = _cut(note)
        said = (str(regarding["metadata"].get("uid")), kind, reason, note)
        try:
            name, count = self._count(said)
            if count > 1 and self._again(regarding, name, count):
                return
            if count > 1:
                name = self._anew(said)
            self._kube.create(EVENTS, self._event(regarding, name, reason, note, action=action, kind=kind))
        except ClusterError as error:
            _LOG.info("an event was not taken", extra={"reason": reason, "error": str(error)})

    def _count(self, said: _Said) -> tuple[str, int]:
        """Return the event that says this, and how often it was said with this time."""
        now = self._clock()
        with self._lock:
            name, count, last = self._said.pop(said, ("", 0, now))
            if not name or now - last > _SAME_WITHIN_S:
                name, count = uuid4().hex[:16], 0
            self._said[said] = (name, count + 1, now)
            while len(self._said) > _MOST_KEPT:
                del self._said[next(iter(self._said))]
            return name, count + 1

    def _anew(self, said: _Said) -> str:
        name = uuid4().hex[:16]
        with self._lock:
            self._said[said] = (name, 1, self._clock())
        return name

    def _again(self, regarding: Object, name: str, count: int) -> bool:
        """Count an event once more; return False if it is no longer there."""
        series = {"count": count, "lastObservedTime": _now()}
        namespace = _namespace(regarding)
        try:
            self._kube.patch(EVENTS, _full_name(regarding, name), {"series": series}, namespace=namespace)
        except NotFoundError:
            return False
        return True

    def _event(
        self, regarding: Object, name: str, reason: str, note: str, *, action: str, kind: str
    ) -> Object:
        metadata = regarding["metadata"]
        reference = {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "name": metadata["name"],
            "namespace": metadata.get("namespace"),
            "uid": metadata.get("uid"),
            "resourceVersion": metadata.get("resourceVersion"),
        }
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": _full_name(regarding, name), "namespace": _namespace(regarding)},
            "eventTime": _now(),
            "reportingController": self._controller,
            "reportingInstance": self._instance,
            "regarding": {key: value for key, value in reference.items() if value is not None},
            "reason": reason,
            "note": note,
            "action": action,
            "type": kind,
        }


def _cut(note: str) -> str:
    content = note.encode(errors="replace")
    if len(content) <= _MOST_NOTE_BYTES:
        return note
    return content[: _MOST_NOTE_BYTES - len("…".encode())].decode(errors="ignore") + "…"


def _full_name(regarding: Object, name: str) -> str:
    """Return the name of an event, as client-go names them; at most 253 characters."""
    return f"{regarding['metadata']['name'][:230]}.{name}"


def _namespace(regarding: Object) -> str:
    """Return where the event lives; what is in no namespace has its events in ``default``."""
    return str(regarding["metadata"].get("namespace") or "default")


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
