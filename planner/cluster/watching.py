"""Lists one kind of object, then watches it, for ever."""

# ruff: noqa: PLR0913 - what may be set, by keyword

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from random import Random
from threading import Event as Flag
from threading import Lock, Thread

from planner.cluster.backoff import Backoff
from planner.cluster.client import Kube
from planner.cluster.objects import Key, Object, version_of
from planner.cluster.resources import Resource
from planner.cluster.store import Change, Store
from planner.cluster.stream import Event, Stream
from planner.errors import ClusterError, GoneError

_LOG = logging.getLogger(__name__)

_WATCH_S = (240, 300)
"""A watch is ended by the server after so long, at random, so that not all come back at once (client-go
takes 5 to 10 minutes); the next one goes on where it ended."""

_BACKOFF = Backoff(first_s=0.5, most_s=30.0)
"""Between tries while the server is down; client-go's reflector waits from 0.8 s up to 30 s."""

_SHORT_S = 1.0
"""A watch that was over sooner and said nothing was no watch."""


class Watcher:
    """Keeps a copy of the objects of a kind and says what changes.

    It lists in pages and watches from there; a watch that ends is resumed where it ended (bookmarks move that
    place on); where the server has forgotten it (410, as an answer or as an event) all is listed again and
    what vanished is told as deleted. While the server does not answer the copy stays as it is.

    Parameters
    ----------
    kube, resource
        What is watched, and through which client.
    on_change
        Called in the watcher's thread with every change in the order of the server, those of a first or
        later list included; it should be short, as a put into a queue. What it raises ends the watcher.
    namespace, labels, fields
        What is watched, as ``Kube.list`` takes it.
    random
        For jitter.
    """

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        *,
        on_change: Callable[[Change], None] = lambda _: None,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        random: Random | None = None,
    ) -> None:
        self.resource = resource
        self.synced = Flag()
        """Set for ever once the first list is in the copy and all its changes were told."""
        self._kube = kube
        self._on_change = on_change
        self._namespace, self._labels, self._fields = namespace, labels, fields
        self._random = random or Random()  # noqa: S311 - jitter
        self._store = Store(resource)
        self._version: str | None = None
        self._failures = 0
        self._stop = Flag()
        self._stream: Stream | None = None
        self._lock = Lock()
        self._thread = Thread(target=self._run, name=f"watch {resource.plural}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, *, timeout_s: float = 10.0) -> None:
        """End, and wait for the thread; a watcher is started once and stopped once."""
        self._stop.set()
        with self._lock:
            if self._stream is not None:
                self._stream.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def alive(self) -> bool:
        """Whether the thread runs; it ends by ``stop`` or by what ``on_change`` raised."""
        return self._thread.is_alive()

    @property
    def following(self) -> bool:
        """Whether a watch is open, so that the copy is up to date."""
        return self._stream is not None

    def snapshot(self) -> dict[Key, Object]:
        """Return what there is now; the objects are shared and not to be changed."""
        with self._lock:
            return dict(self._store.objects)

    def get(self, key: Key) -> Object | None:
        """Return an object of the copy, not to be changed; None if there is none."""
        with self._lock:
            return self._store.objects.get(key)

    # ----------------------------------------------------------------------------------------------- the loop

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._version is None:
                    self._list()
                self._watch()
            except GoneError:
                _LOG.info("too old to resume: listing again", extra={"resource": self.resource.full_name})
                self._version = None
                self._pause()
            except ClusterError as error:
                self._complain(error)
                self._pause()

    def _list(self) -> None:
        found = self._kube.list(
            self.resource, namespace=self._namespace, labels=self._labels, fields=self._fields
        )
        with self._lock:
            changes = self._store.replace(map(_without_managers, found.items))
        self._tell(changes)
        self._version = found.resource_version
        self.synced.set()

    def _watch(self) -> None:
        assert self._version is not None
        with self._kube.watch(
            self.resource,
            resource_version=self._version,
            namespace=self._namespace,
            labels=self._labels,
            fields=self._fields,
            timeout_s=self._random.randint(*_WATCH_S),
        ) as stream:
            with self._lock:
                self._stream = stream
                if self._stop.is_set():  # set before it could be closed
                    return
            began_s, last = time.monotonic(), self._version
            try:
                for event in stream:
                    self._absorb(event)
            finally:
                with self._lock:
                    self._stream = None
        if self._version != last or time.monotonic() - began_s >= _SHORT_S:
            self._failures = 0
        else:  # a server that ends every watch at once must not be asked as fast as it answers
            self._pause()

    def _absorb(self, event: Event) -> None:
        with self._lock:
            changes = self._store.absorb(event.type, _without_managers(event.object))
        self._tell(changes)
        self._version = version_of(event.object)
        self._failures = 0

    def _tell(self, changes: tuple[Change, ...]) -> None:
        for change in changes:
            self._on_change(change)

    def _pause(self) -> None:
        self._failures += 1
        self._stop.wait(_BACKOFF.wait_s(self._failures, self._random))

    def _complain(self, error: ClusterError) -> None:
        level = logging.WARNING if self._failures == 0 else logging.DEBUG
        details = {"resource": self.resource.full_name, "error": str(error), "failures": self._failures}
        _LOG.log(level, "the watch failed and is tried again", extra=details)


def _without_managers(item: Object) -> Object:
    """Return an object without its ``managedFields``: half of its size, and nobody here reads them."""
    metadata = item["metadata"]
    if "managedFields" not in metadata:
        return item
    return {**item, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}
