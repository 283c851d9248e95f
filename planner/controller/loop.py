"""The controller as a process: watches, an election, one thread that decides, and a few that speak HTTP."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Event as Flag
from threading import Semaphore
from typing import Any

from planner.cluster import Change, Election, Kube, LeaseTimes, Recorder, Resource, Watcher
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    SERVICES,
    TRAINED_MODELS,
)
from planner.controller.asking import Asker, Rounds, Status
from planner.controller.engine import Engine
from planner.controller.executing import RESOURCES, Executor
from planner.controller.hearing import States, states_in
from planner.controller.metrics import Metrics
from planner.controller.objects import Style
from planner.controller.pace import Pace
from planner.controller.rights import nothing_closes, undeletable
from planner.controller.routing import Front
from planner.controller.serving import Endpoints
from planner.controller.views import PodView
from planner.controller.writes import Told
from planner.errors import ClusterError, ForbiddenError, NotLeadingError
from planner.manifests.names import LABEL_MANAGED_BY, MANAGED_BY

_log = logging.getLogger(__name__)

CONTROLLER = "shardpack.dev/controller"
_SHORTEST_WAIT_S, _LONGEST_WAIT_S = 0.01, 1.0
"""Of the loop's waits: whatever it waits for, it looks around once a second."""

_DEAD_AFTER_S = 120.0
"""A loop that has not come round for so long is stuck: longer than the slowest writes of one step."""

_MOST_EVENTS = 20_000
"""Events that may wait to be written; what is above is counted and dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the controller runs.

    Parameters
    ----------
    namespace
        Whose TrainedModels are assigned.
    identity
        Which process this is, as nobody else is called.
    style, pace, rounds
        How objects are written, when, and how often agents are asked.
    lease, times
        The Lease that is led by, in the same namespace.
    address, port
        Where ``/livez``, ``/readyz`` and ``/metrics`` are; port 0 takes a free one.
    threads
        Writes at a time.
    nodes
        Whether nodes are watched, which takes a ClusterRole.
    """

    namespace: str
    identity: str
    style: Style = field(default_factory=Style)
    pace: Pace = field(default_factory=Pace)
    rounds: Rounds = field(default_factory=Rounds)
    lease: str = "shardpack-controller"
    times: LeaseTimes = field(default_factory=LeaseTimes)
    address: str = "127.0.0.1"
    port: int = 9083
    threads: int = 8
    nodes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """What a pod's agent, or gateway, tells."""

    pod: PodView
    told: States | Front


Inbox = queue.SimpleQueue[Change | _Heard | None]


def read_objects(kube: Kube, *, namespace: str, style: Style) -> dict[str, tuple[dict[str, Any], ...]]:
    """Return what a controller would see of a cluster now, by kind; nodes that may not be read are left out.

    Raises
    ------
    ClusterError
        The server cannot be asked.
    """
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for resource, where in _sources(namespace, style, nodes=True).items():
        try:
            listing = kube.list(resource, namespace=where.get("namespace"), labels=where.get("labels"))
        except ForbiddenError:
            if resource != NODES:
                raise
            continue
        found[resource.kind] = listing.items
    return found


def _sources(namespace: str, style: Style, *, nodes: bool) -> dict[Resource, dict[str, str]]:
    """Return what is watched, each with the namespace and the selector."""
    standalone, fronted = style.mode == "standalone", style.options.gateway == "nginx"
    servers = [] if standalone else [INFERENCE_SERVICES]
    servers += [DEPLOYMENTS, SERVICES] if standalone or fronted else []
    here = {"namespace": namespace}
    kinds = (TRAINED_MODELS, CONFIG_MAPS, POD_DISRUPTION_BUDGETS, *servers)
    found = {resource: dict(here) for resource in kinds}
    found[PODS] = {**here, "labels": f"{LABEL_MANAGED_BY}={MANAGED_BY}"}
    if nodes:
        found[NODES] = {}
    return found


class Controller:
    """Runs from ``run`` to ``stop``.

    Parameters
    ----------
    kube
        A client without a guard.
    settings
        How it runs.
    """

    def __init__(self, kube: Kube, settings: Settings) -> None:
        self._settings, self._kube = settings, kube
        self._inbox: Inbox = queue.SimpleQueue()
        self._stop = Flag()
        self._alive_s = time.monotonic()
        self.metrics = Metrics()
        self._election = Election(
            kube,
            namespace=settings.namespace,
            name=settings.lease,
            identity=settings.identity,
            times=settings.times,
        )
        # A write ends before another process can have taken the lease.
        margin = (settings.times.duration_s - settings.times.renew_within_s) * 0.9
        self._writing = kube.adjusted(guard=self._election.check, timeout_s=margin)
        self._sources = _sources(settings.namespace, settings.style, nodes=settings.nodes)
        self._watchers = [
            Watcher(
                kube,
                resource,
                on_change=self._inbox.put,
                namespace=where.get("namespace"),
                labels=where.get("labels"),
            )
            for resource, where in self._sources.items()
        ]
        self.endpoints = Endpoints(
            settings.address,
            settings.port,
            registry=self.metrics.registry,
            live=self._what_is_dead,
            ready=self._what_is_missing,
        )

    def run(self) -> None:
        """Run until ``stop`` is called, from another thread or a signal's handler."""
        self.endpoints.start()
        for watcher in self._watchers:
            watcher.start()
        self._election.start()
        try:
            while not self._stop.is_set():
                self._alive_s = time.monotonic()
                if self._election.wait_to_lead(timeout_s=_LONGEST_WAIT_S) and self._is_synced():
                    self._lead()
                self._forget_changes()
        finally:
            self._election.stop()
            for watcher in self._watchers:
                watcher.stop()
            self.endpoints.stop()

    def stop(self) -> None:
        """End: what is under way is ended, the lease given back."""
        self._stop.set()
        self._inbox.put(None)

    # ---------------------------------------------------------------------------------------------- leading

    def _lead(self) -> None:
        """Decide and write for as long as this process leads."""
        _log.info("leading in namespace %s", self._settings.namespace)
        self.metrics.leading.set(1)
        self.metrics.renew()
        try:
            term = _Term(
                self._settings,
                self.metrics,
                reading=self._kube,
                writing=self._writing,
                sources=self._sources,
                inbox=self._inbox,
            )
        except ClusterError as error:
            _log.warning("the cluster cannot be read yet: %s", error)
            self._stop.wait(_LONGEST_WAIT_S)
            return
        try:
            while not self._stop.is_set() and self._election.leads():
                self._alive_s = time.monotonic()
                term.turn()
        finally:
            term.end()
            self.metrics.rest()

    def _forget_changes(self) -> None:
        """Empty the inbox of one who does not lead: his successor reads everything anew."""
        while not self._inbox.empty():
            self._inbox.get()

    def _is_synced(self) -> bool:
        return all(watcher.synced.is_set() for watcher in self._watchers)

    def _what_is_dead(self) -> str | None:
        for watcher in self._watchers:
            if not watcher.alive:
                return f"{watcher.resource.plural} are not watched any more"
        silent_s = time.monotonic() - self._alive_s
        return f"nothing was decided for {silent_s:.0f} s" if silent_s > _DEAD_AFTER_S else None

    def _what_is_missing(self) -> str | None:
        waiting = [watcher.resource.plural for watcher in self._watchers if not watcher.synced.is_set()]
        return f"not read yet: {', '.join(waiting)}" if waiting else None


class _Term:
    """One time of leading: an engine that begins with what the server says now.

    What watches told before is not taken for it: the writes of the one who led before may be missing there.

    Parameters
    ----------
    settings, metrics
        The controller's.
    reading, writing
        Clients without and with the guard of the election.
    sources
        What is looked at, each with the namespace and the selector.
    inbox
        What watches and agents tell.

    Raises
    ------
    ClusterError
        The server cannot be asked.
    """

    def __init__(  # noqa: PLR0913 - the parts that it is put together from
        self,
        settings: Settings,
        metrics: Metrics,
        *,
        reading: Kube,
        writing: Kube,
        sources: Mapping[Resource, Mapping[str, str]],
        inbox: Inbox,
    ) -> None:
        self._settings, self._metrics, self._inbox = settings, metrics, inbox
        pace, style = settings.pace, settings.style
        lacking = undeletable(reading, namespace=settings.namespace, style=style)
        self._engine = Engine(
            settings.namespace,
            style=style,
            pace=replace(pace, may_close=False) if lacking else pace,
            timed=metrics.assign_seconds.observe,
        )
        for resource, where in sources.items():
            found = reading.list(resource, namespace=where.get("namespace"), labels=where.get("labels"))
            self._engine.replace(resource.kind, found.items, time.monotonic())
        self._executor = Executor(writing, namespace=settings.namespace, threads=settings.threads)
        self._asker = Asker(settings.rounds, heard=self._heard)
        self._recorder = Recorder(writing, controller=CONTROLLER, instance=settings.identity)
        self._events = ThreadPoolExecutor(2, thread_name_prefix="event")
        self._places = Semaphore(_MOST_EVENTS)
        if lacking:
            self._tell(nothing_closes(self._engine.scene.world.config_maps.values(), lacking))

    def turn(self) -> None:
        """Take in what has come, decide, write; wait if there was nothing to write."""
        self._take_in()
        now = time.monotonic()
        step = self._engine.step(now, _stamp())
        self._metrics.look(self._engine)
        self._tell(step.told)
        for answer in self._executor.carry_out(step.writes):
            outcome = answer.miss or "done"
            verb = "status" if answer.write.status else answer.write.verb
            self._metrics.writes.labels(answer.write.kind, verb, outcome).inc()
            if answer.miss is None:
                self._engine.wrote(answer.write, answer.item, time.monotonic())
            else:
                self._engine.missed(answer.write, answer.miss, answer.item, time.monotonic())
        asked = self._asker.go_round(self._engine.pods.values(), now, busy=self._engine.is_busy)
        if not step.writes:
            times = [time for time in (step.wake, asked) if time is not None]
            self._wait(min(times, default=now + _LONGEST_WAIT_S) - now)

    def end(self) -> None:
        """End what is under way."""
        self._asker.stop()
        self._executor.stop()
        self._events.shutdown(cancel_futures=True)

    # ---------------------------------------------------------------------------------------------- inside

    def _wait(self, seconds: float) -> None:
        try:
            item = self._inbox.get(timeout=min(max(seconds, _SHORTEST_WAIT_S), _LONGEST_WAIT_S))
        except queue.Empty:
            return
        self._see(item)

    def _take_in(self) -> None:
        while not self._inbox.empty():
            self._see(self._inbox.get())

    def _see(self, item: Change | _Heard | None) -> None:
        now = time.monotonic()
        if isinstance(item, _Heard):
            if isinstance(item.told, Front):
                self._engine.hear_gateway(item.pod.name, item.told)
            else:
                self._engine.hear(item.pod.name, item.told)
        elif item is not None and item.kind == "deleted":
            uid = item.object["metadata"].get("uid", "")
            self._engine.lose(item.resource.kind, item.key.name, uid, now)
        elif item is not None:
            self._engine.see(item.resource.kind, item.object, now)

    def _heard(self, pod: PodView, status: Status) -> None:
        """Take a status, in a thread of those who ask: what cannot be read is their fault, not the loop's."""
        told = states_in(status) if pod.gateway is None else _front(status)
        self._inbox.put(_Heard(pod=pod, told=told))

    def _tell(self, told: Iterable[Told]) -> None:
        for item in told:
            _log.info("%s %s: %s: %s", item.kind, item.name, item.reason, item.message)
            if self._places.acquire(blocking=False):
                self._events.submit(self._record, item)
            else:
                self._metrics.events_dropped.inc()

    def _record(self, item: Told) -> None:
        metadata = {"name": item.name, "namespace": self._settings.namespace, "uid": item.uid or None}
        about = {
            "apiVersion": RESOURCES[item.kind].api_version,
            "kind": item.kind,
            "metadata": metadata,
        }
        try:
            self._recorder.record(about, item.reason, item.message, action=item.reason, kind=item.level)
        except NotLeadingError:
            _log.debug("not leading any more: event %s of %s is not written", item.reason, item.name)
        finally:
            self._places.release()


def _front(status: Status) -> Front:
    return Front(generation=status.get("observedGeneration"), draining=int(status.get("draining") or 0))


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
