"""Objects into a cluster by server-side apply: what each became, what of ours is left over, what is ready."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Literal, TypeVar

from planner.cluster.backoff import Backoff
from planner.cluster.client import Kube
from planner.cluster.objects import Key, Object, key_of
from planner.cluster.resources import NAMESPACES, Resource
from planner.errors import ClusterError, ConflictError, NotFoundError, UnavailableError

T = TypeVar("T")

DryRun = Literal["none", "client", "server"]
Outcome = Literal["created", "configured", "unchanged", "deleted", "failed"]

_AT_ONCE = 8
"""Requests under way: well below what one client may have with API priority and fairness' defaults."""
_TRIES = 4
_BACKOFF = Backoff(first_s=0.5, most_s=5.0)

_BOOKKEEPING = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
"""Metadata that says nothing of what an object is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one object.

    Parameters
    ----------
    api_version, kind, key
        Which object.
    outcome
        As kubectl would say; ``failed`` with ``error``.
    before, after
        It without bookkeeping, as it was and as it is (or would be, in a dry run); None if it was not there,
        or is not any more.
    error
        Why it failed; None if it did not.
    """

    api_version: str
    kind: str
    key: Key
    outcome: Outcome
    before: Object | None = None
    after: Object | None = None
    error: ClusterError | None = None


class Rollout:
    """Applies and deletes objects, several at a time.

    Parameters
    ----------
    kube
        The client.
    dry_run
        ``server`` lets the server judge and stores nothing; ``client`` only reads.
    force
        Take fields that another manager owns.
    wait
        Sleeps so many seconds between tries.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        dry_run: DryRun = "none",
        force: bool = False,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._kube = kube
        self._dry_run = dry_run
        self._force = force
        self._wait = wait
        self._unborn: set[str] = set()
        """Namespaces that only a dry run has made: the server cannot judge what is to be in them."""
        self._lock = Lock()

    def apply(self, items: Sequence[Object]) -> Iterator[Result]:
        """Apply objects and yield what became of each, in their order; a failure stops no other."""
        yield from self._side_by_side(self._apply, items)

    def delete(self, items: Sequence[Object]) -> Iterator[Result]:
        """Delete these very objects, as they were listed, and yield what became of each, in their order."""
        yield from self._side_by_side(self._delete, items)

    def left_over(
        self, kinds: Iterable[tuple[str, str]], *, namespace: str, labels: str, keep: Iterable[Object]
    ) -> tuple[Object, ...]:
        """Return objects with certain labels that are not among those to keep.

        What has an owner is left out: it goes with its owner, and controllers hand labels down.

        Parameters
        ----------
        kinds
            API version and kind; those that the cluster does not know are left out.
        namespace, labels
            Where, and the selector.
        keep
            What was applied.
        """
        kept = {(item["apiVersion"], item["kind"], key_of(item)) for item in keep}
        found: list[Object] = []
        for api_version, kind in kinds:
            try:
                resource = self._kube.resource_of(api_version, kind)
            except NotFoundError:
                continue
            listed = self._tried(partial(self._kube.list, resource, namespace=namespace, labels=labels))
            found.extend(
                item
                for item in listed.items
                if not item["metadata"].get("ownerReferences")
                and (item["apiVersion"], item["kind"], key_of(item)) not in kept
            )
        return tuple(found)

    def all_of(self, api_version: str, kind: str, *, namespace: str) -> tuple[Object, ...]:
        """Return all objects of a kind in a namespace; none where the cluster does not know the kind.

        Raises
        ------
        ClusterError
            The server does not say.
        """
        try:
            resource = self._tried(partial(self._kube.resource_of, api_version, kind))
        except NotFoundError:
            return ()
        return self._tried(partial(self._kube.list, resource, namespace=namespace)).items

    def read_all(self, items: Iterable[Object]) -> tuple[Object | None, ...]:
        """Return objects as they are now, in their order; None for those that are not there.

        Raises
        ------
        ClusterError
            The server does not say.
        """
        wanted = [(item["apiVersion"], item["kind"], key_of(item)) for item in items]
        found: dict[tuple[str, str, Key], Object] = {}
        # One list of a kind instead of thousands of single objects.
        for api_version, kind, namespace in sorted({(*row[:2], row[2].namespace) for row in wanted}):
            resource = self._tried(partial(self._kube.resource_of, api_version, kind))
            listed = self._tried(partial(self._kube.list, resource, namespace=namespace or None))
            found.update(((api_version, kind, key_of(item)), item) for item in listed.items)
        return tuple(map(found.get, wanted))

    def read(self, item: Object) -> Object | None:
        """Return an object as it is now; None if it is not there.

        Raises
        ------
        ClusterError
            The server does not say.
        """
        key = key_of(item)
        try:
            resource = self._resource(item)
            return self._tried(lambda: self._kube.get(resource, key.name, namespace=key.namespace or None))
        except NotFoundError:
            return None

    # --------------------------------------------------------------------------------------------- one object

    def _apply(self, item: Object) -> Result:
        before = None if self._is_unborn(item) else self.read(item)
        after = self._applied(item, before)
        if "deletionTimestamp" in after["metadata"]:
            raise ConflictError("it is being deleted, and what is applied to it now goes with it")
        outcome: Outcome = "configured"
        if before is None:
            outcome = "created"
        elif without_bookkeeping(before) == without_bookkeeping(after):
            outcome = "unchanged"
        return _result(item, outcome, before=before, after=after)

    def _applied(self, item: Object, before: Object | None) -> Object:
        if self._is_unborn(item):
            return item
        if self._dry_run == "client":
            return before if before is not None and covers(before, item) else item
        resource = self._resource(item)
        stored = self._tried(
            lambda: self._kube.apply(resource, item, force=self._force, dry_run=self._dry_run == "server")
        )
        if self._dry_run == "server" and before is None and resource == NAMESPACES:
            with self._lock:
                self._unborn.add(item["metadata"]["name"])
        return stored

    def _is_unborn(self, item: Object) -> bool:
        with self._lock:
            return item["metadata"].get("namespace") in self._unborn

    def _delete(self, item: Object) -> Result:
        key, uid = key_of(item), item["metadata"]["uid"]
        resource = self._resource(item)
        if self._dry_run != "client":
            with suppress(NotFoundError):  # it went by itself meanwhile
                self._tried(
                    lambda: self._kube.delete(
                        resource,
                        key.name,
                        namespace=key.namespace or None,
                        uid=uid,
                        dry_run=self._dry_run == "server",
                    )
                )
        return _result(item, "deleted", before=item, after=None)

    def _resource(self, item: Object) -> Resource:
        return self._tried(lambda: self._kube.resource_of(item["apiVersion"], item["kind"]))

    def _side_by_side(self, act: Callable[[Object], Result], items: Sequence[Object]) -> Iterator[Result]:
        def guarded(item: Object) -> Result:
            try:
                return act(item)
            except ClusterError as error:
                return _result(item, "failed", error=error)

        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="rollout") as pool:
            yield from pool.map(guarded, items)

    def _tried(self, call: Callable[[], T]) -> T:
        """Return what a call returns; a server that does not answer is asked again a few times."""
        for failures in range(1, _TRIES):
            try:
                return call()
            except UnavailableError:
                self._wait(_BACKOFF.wait_s(failures))
        return call()


def without_bookkeeping(item: Object) -> Object:
    """Return what an object is: without its status and what the server notes down about it."""
    metadata = {key: value for key, value in item["metadata"].items() if key not in _BOOKKEEPING}
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


def covers(live: Any, wanted: Any) -> bool:
    """Return whether all that is wanted is there already; what is there beside it does not matter."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(live, list) and len(live) == len(wanted)
        return same_length and all(map(covers, live, wanted))
    return bool(live == wanted)


def is_ready(item: Object) -> bool:
    """Return whether an object says that it is what was asked for.

    A Deployment with all its pods available; an InferenceService or TrainedModel with its condition ``Ready``
    true for its present generation; anything else, as soon as it is there.
    """
    status: Object = item.get("status") or {}
    generation = item["metadata"].get("generation", 0)
    if status.get("observedGeneration", generation) < generation:
        return False
    if item["kind"] == "Deployment":
        wanted = item["spec"].get("replicas", 1)
        return bool(
            status.get("availableReplicas", 0) >= wanted and status.get("updatedReplicas", 0) >= wanted
        )
    if item["kind"] not in ("InferenceService", "TrainedModel"):
        return True
    conditions = status.get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def reason_of(item: Object) -> str:
    """Return why an object is not ready, as its conditions say; empty if they do not."""
    for one in (item.get("status") or {}).get("conditions") or ():
        if one["status"] != "True" and (one.get("message") or one.get("reason")):
            return f"{one['type']}: {one.get('message') or one['reason']}"
    return ""


def _result(
    item: Object,
    outcome: Outcome,
    *,
    before: Object | None = None,
    after: Object | None = None,
    error: ClusterError | None = None,
) -> Result:
    return Result(
        api_version=item["apiVersion"],
        kind=item["kind"],
        key=key_of(item),
        outcome=outcome,
        before=None if before is None else without_bookkeeping(before),
        after=None if after is None else without_bookkeeping(after),
        error=error,
    )
