"""Who may take a lease, and when: without a server."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from planner.cluster.client import Kube
from planner.cluster.lease import Election, LeaseTimes, Sight, look, wanted
from planner.cluster.objects import Object
from planner.errors import NotFoundError

NOW = datetime(2026, 11, 23, 1, 2, 3, 4000, tzinfo=UTC)


def lease(holder: str | None, *, version: str = "7", duration: int = 15, transitions: int = 2) -> Object:
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": duration,
        "acquireTime": "2026-11-23T00:00:00.000000Z",
        "renewTime": "2026-11-23T00:00:00.000000Z",
        "leaseTransitions": transitions,
    }
    return {"metadata": {"name": "l", "resourceVersion": version}, "spec": spec}


def decide(sight: Sight, *, now_s: float) -> Object | None:
    return wanted(sight, "me", duration_s=15.0, now_s=now_s, now=NOW)


def test_a_lease_of_another_is_left_alone_until_it_was_seen_unchanged_for_its_duration() -> None:
    sight = look(None, lease("other"), now_s=100.0)
    assert decide(sight, now_s=114.9) is None
    taken = decide(sight, now_s=115.0)
    assert taken is not None
    assert taken["spec"]["holderIdentity"] == "me"
    assert taken["spec"]["leaseTransitions"] == 3
    assert taken["spec"]["acquireTime"] == "2026-11-23T01:02:03.004000Z"
    assert taken["metadata"]["resourceVersion"] == "7", "the server refuses it if another was faster"


def test_its_age_starts_anew_when_it_changes_and_only_then() -> None:
    first = look(None, lease("other"), now_s=100.0)
    assert look(first, lease("other"), now_s=110.0).at_s == 100.0
    assert look(first, lease("other", version="8"), now_s=110.0).at_s == 110.0


def test_the_age_counts_by_our_own_clock_whatever_the_lease_says() -> None:
    sight = look(None, lease("other"), now_s=0.0)  # its renewTime is an hour ago
    assert decide(sight, now_s=1.0) is None


def test_the_holder_renews_and_keeps_when_it_was_acquired() -> None:
    renewed = decide(look(None, lease("me"), now_s=100.0), now_s=100.0)
    assert renewed is not None
    assert renewed["spec"]["acquireTime"] == "2026-11-23T00:00:00.000000Z"
    assert renewed["spec"]["renewTime"] == "2026-11-23T01:02:03.004000Z"
    assert renewed["spec"]["leaseTransitions"] == 2


@pytest.mark.parametrize("holder", ["", None])
def test_a_lease_that_was_given_back_is_taken_at_once(holder: str | None) -> None:
    assert decide(look(None, lease(holder), now_s=100.0), now_s=100.0) is not None


def test_times_that_would_let_two_lead_are_refused() -> None:
    with pytest.raises(ValueError, match="renew_within_s < duration_s"):
        LeaseTimes(duration_s=10.0, renew_within_s=10.0)


class Leases:
    """An API server of one lease, as an election asks it."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self._version = 0

    def adjusted(self, **_: Any) -> Leases:
        return self

    def get(self, *_: Any, **__: Any) -> Object:
        if self.lease is None:
            raise NotFoundError("none yet")
        return deepcopy(self.lease)

    def create(self, _: Any, lease: Object) -> Object:
        return self.replace(_, lease)

    def replace(self, _: Any, lease: Object) -> Object:
        self._version += 1
        self.lease = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self._version)}}
        return deepcopy(self.lease)


@pytest.mark.parametrize("written", ["1999-01-01T00:00:00.000000Z", "2099-01-01T00:00:00.000000Z"])
def test_no_jump_of_any_wall_clock_ends_or_lengthens_who_leads(written: str) -> None:
    leases, here, there = Leases(), [100.0], [5e6]
    first = Election(cast(Kube, leases), namespace="a", name="b", identity="1", clock=lambda: here[0])
    second = Election(cast(Kube, leases), namespace="a", name="b", identity="2", clock=lambda: there[0])
    first._try()
    assert leases.lease is not None
    leases.lease["spec"] |= {"renewTime": written, "acquireTime": written}
    second._try()
    for passed, leading in ((9.9, True), (0.2, False), (4.8, False)):
        here[0] += passed
        there[0] += passed
        assert first.leads() is leading
        second._try()
        assert not second.leads()
    there[0] += 0.2
    second._try()
    assert second.leads()
