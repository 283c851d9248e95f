"""Who of several processes may write: leader election by a Lease (coordination.k8s.io/v1).

The protocol is client-go's (tools/leaderelection), so that its tools and ours understand each other. A
candidate takes a lease that it has seen unchanged for the whole of the lease's duration, by its own clock;
times written by others are never compared. A leader is one only until ``renew_within_s`` after it *began*
the last request by which it renewed, and no thread has to wake up for that to be so: where requests hang it
is over in time, before anyone else can have taken the lease.
"""

# ruff: noqa: PLR0913 - what may be set, by keyword

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from threading import Condition, Event, Thread

from planner.cluster.client import Kube
from planner.cluster.objects import Object, version_of
from planner.cluster.resources import LEASES
from planner.errors import ClusterError, ConflictError, NotFoundError, NotLeadingError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long a lease lasts; client-go's defaults (15, 10 and 2 s).

    Parameters
    ----------
    duration_s
        How long others leave an unchanged lease alone.
    renew_within_s
        How long a leader writes without having renewed; less than ``duration_s``, and the difference is what
        a write that is under way may take at most.
    retry_s
        Between tries, of leaders and of those who wait.
    """

    duration_s: float = 15.0
    renew_within_s: float = 10.0
    retry_s: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry_s < self.renew_within_s < self.duration_s:
            raise ValueError("a lease needs retry_s < renew_within_s < duration_s, all above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A lease as it was last seen to change, and when that was on our clock, in seconds."""

    lease: Object
    at_s: float


def look(before: Sight | None, lease: Object, *, now_s: float) -> Sight:
    """Return what is known of a lease after a look at it: its age starts anew if it has changed."""
    same = before is not None and version_of(before.lease) == version_of(lease)
    return Sight(lease=lease, at_s=before.at_s if same and before is not None else now_s)


def wanted(sight: Sight, identity: str, *, duration_s: float, now_s: float, now: datetime) -> Object | None:
    """Return the lease to write in order to lead; None while another may lead.

    Parameters
    ----------
    sight
        The lease as it was seen.
    identity
        Who asks.
    duration_s
        What the new lease shall last.
    now_s, now
        Now on the clock of ``sight``, and the time to write down.
    """
    spec = sight.lease.get("spec") or {}
    holder = spec.get("holderIdentity") or None
    held_s = float(spec.get("leaseDurationSeconds") or 0)
    if holder not in (None, identity) and now_s < sight.at_s + held_s:
        return None
    fresh = deepcopy(sight.lease)
    fresh["spec"] = {**spec, **lease_spec(identity, duration_s=duration_s, now=now)}
    if holder == identity:
        fresh["spec"]["acquireTime"] = spec.get("acquireTime") or _text(now)
    else:
        fresh["spec"]["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
    return fresh


def lease_spec(identity: str, *, duration_s: float, now: datetime) -> Object:
    """Return what a lease says that someone has just taken."""
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": max(1, round(duration_s)),
        "acquireTime": _text(now),
        "renewTime": _text(now),
    }


def _text(now: datetime) -> str:
    """Return a time as the API's MicroTime."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Election:
    """Takes part in the election for a lease, from ``start`` to ``stop``.

    Parameters
    ----------
    kube
        A client without a guard; a request gets half of ``renew_within_s``.
    namespace, name
        The Lease, which is made if there is none.
    identity
        Who this process is; no other process may ever use it.
    times
        How long things take.
    clock
        Seconds, monotonic.
    random
        For jitter.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.identity = identity
        self._times = times or LeaseTimes()
        self._kube = kube.adjusted(timeout_s=self._times.renew_within_s / 2)
        self._namespace, self._name = namespace, name
        self._clock = clock
        self._random = random or Random()  # noqa: S311 - jitter
        self._sight: Sight | None = None
        self._until_s: float | None = None
        self._changed = Condition()
        self._stop = Event()
        self._thread = Thread(target=self._run, name=f"lease {name}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """End, and give the lease back so that another may take it at once. First stop what writes."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2 * self._times.renew_within_s)
        led = self.leads()
        self._lead_until(None)
        if led:
            self._give_back()

    def leads(self) -> bool:
        """Return whether this process may write now."""
        until_s = self._until_s
        return until_s is not None and self._clock() < until_s

    def check(self) -> None:
        """Do nothing while this process leads: the guard of the client that writes.

        Raises
        ------
        NotLeadingError
            It does not (any more).
        """
        if not self.leads():
            raise NotLeadingError(f"{self.identity} does not hold the lease {self._namespace}/{self._name}")

    def wait_to_lead(self, *, timeout_s: float) -> bool:
        """Wait until this process leads, but not longer; return whether it does."""
        with self._changed:
            self._changed.wait_for(self.leads, timeout_s)
        return self.leads()

    def wait_to_lose(self, *, timeout_s: float) -> bool:
        """Wait until this process does not lead, but not longer; return whether it does not."""
        deadline = self._clock() + timeout_s
        with self._changed:
            while self.leads() and (now := self._clock()) < deadline:
                self._changed.wait(min(deadline, self._until_s or now) - now + 1e-3)
        return not self.leads()

    # ----------------------------------------------------------------------------------------------- the loop

    def _run(self) -> None:
        while not self._stop.is_set():
            led = self.leads()
            try:
                self._try()
            except ConflictError:
                _LOG.info("another took the lease first", extra={"lease": self._name})
            except ClusterError as error:
                _LOG.warning("the lease cannot be had", extra={"lease": self._name, "error": str(error)})
            if led != self.leads():
                word = "leading" if self.leads() else "not leading any more"
                _LOG.info(word, extra={"lease": self._name, "identity": self.identity})
            self._stop.wait(self._times.retry_s * (1 + 0.2 * self._random.random()))

    def _try(self) -> None:
        """Take or renew the lease if it may be had."""
        began_s = self._clock()
        try:
            lease = self._kube.get(LEASES, self._name, namespace=self._namespace)
        except NotFoundError:
            self._sight = look(None, self._kube.create(LEASES, self._new()), now_s=began_s)
        else:
            self._sight = look(self._sight, lease, now_s=self._clock())
            fresh = wanted(
                self._sight,
                self.identity,
                duration_s=self._times.duration_s,
                now_s=self._clock(),
                now=datetime.now(UTC),
            )
            if fresh is None:
                self._lead_until(None)
                return
            began_s = self._clock()
            self._sight = look(None, self._kube.replace(LEASES, fresh), now_s=began_s)
        self._lead_until(began_s + self._times.renew_within_s)

    def _new(self) -> Object:
        spec = lease_spec(self.identity, duration_s=self._times.duration_s, now=datetime.now(UTC))
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {**spec, "leaseTransitions": 0},
        }

    def _lead_until(self, until_s: float | None) -> None:
        with self._changed:
            self._until_s = until_s
            self._changed.notify_all()

    def _give_back(self) -> None:
        """Say that nobody holds the lease; if that fails it runs out by itself."""
        assert self._sight is not None
        lease = deepcopy(self._sight.lease)
        lease["spec"].update(holderIdentity="", leaseDurationSeconds=1)
        try:
            self._kube.replace(LEASES, lease)
        except ClusterError as error:
            _LOG.info("the lease runs out by itself", extra={"lease": self._name, "error": str(error)})
