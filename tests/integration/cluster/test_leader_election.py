"""Leader election: one at a time, whatever the server does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from planner.cluster import Election, Kube, LeaseTimes, connect
from planner.cluster.resources import CONFIG_MAPS, LEASES
from planner.errors import NotLeadingError
from tests.support.api_server.fixtures import TestCluster, eventually
from tests.support.api_server.server import ApiServer
from tests.support.api_server.troubles import Trouble

QUICK = LeaseTimes(duration_s=5.0, renew_within_s=3.0, retry_s=0.2)

Candidate = Callable[[str], Election]


@pytest.fixture
def candidate(cluster: TestCluster) -> Iterator[Candidate]:
    """Makes candidates for one lease, started; they are stopped after the test."""
    made: list[Election] = []

    def start(identity: str) -> Election:
        election = Election(
            cluster.kube, namespace=cluster.namespace, name="test", identity=identity, times=QUICK
        )
        election.start()
        made.append(election)
        return election

    yield start
    for election in made:
        election.stop()


def holder(kube: Kube, namespace: str) -> str:
    return str(kube.get(LEASES, "test", namespace=namespace)["spec"]["holderIdentity"])


def test_one_leads_and_another_follows_it_when_it_stops(cluster: TestCluster, candidate: Candidate) -> None:
    first = candidate("first")
    assert first.wait_to_lead(timeout_s=60)
    second = candidate("second")
    assert not second.wait_to_lead(timeout_s=1.0)
    assert holder(cluster.kube, cluster.namespace) == "first"
    first.stop()
    assert not first.leads()
    assert second.wait_to_lead(timeout_s=60)
    spec = cluster.kube.get(LEASES, "test", namespace=cluster.namespace)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)


def test_of_three_never_two_lead(cluster: TestCluster, candidate: Candidate) -> None:
    three = [candidate(name) for name in ("a", "b", "c")]
    eventually(lambda: any(one.leads() for one in three))
    for _ in range(2):
        leader = next(one for one in three if one.leads())
        leader.stop()
        rest = [one for one in three if one is not leader]
        most = 0
        deadline = time.monotonic() + 60
        while not any(one.leads() for one in rest) and time.monotonic() < deadline:
            most = max(most, sum(one.leads() for one in three))
            time.sleep(0.01)
        assert most <= 1
        assert any(one.leads() for one in rest)
        three = rest


def test_the_guard_refuses_writes_of_who_does_not_lead(cluster: TestCluster, candidate: Candidate) -> None:
    election = candidate("only")
    assert election.wait_to_lead(timeout_s=60)
    kube = cluster.kube.adjusted(guard=election.check)
    body = {"metadata": {"name": "a", "namespace": cluster.namespace}}
    kube.create(CONFIG_MAPS, body)
    election.stop()
    with pytest.raises(NotLeadingError, match="only does not hold the lease"):
        kube.delete(CONFIG_MAPS, "a", namespace=cluster.namespace)


def start_two(api_server: ApiServer, tmp_path: Path) -> tuple[Election, Election]:
    """Two candidates of which the first leads; each with connections of its own."""
    path = api_server.kubeconfig(tmp_path)
    found = [
        Election(connect(kubeconfig=path), namespace="default", name="test", identity=name, times=QUICK)
        for name in ("first", "second")
    ]
    found[0].start()
    assert found[0].wait_to_lead(timeout_s=60)
    found[1].start()
    return found[0], found[1]


@pytest.mark.parametrize("kind", ["delay", "hang up", "answer"])
def test_a_leader_whose_requests_fail_stops_leading_in_time(
    api_server: ApiServer, tmp_path: Path, kind: str
) -> None:
    first, second = start_two(api_server, tmp_path)
    trouble = Trouble(kind=kind, delay_s=8.0, resources=("leases",), verbs=("get", "update"))  # type: ignore[arg-type]
    api_server.troubles.add(trouble)
    assert first.wait_to_lose(timeout_s=60)
    assert not second.leads()
    api_server.troubles.clear()
    eventually(lambda: first.leads() != second.leads())
    first.stop()
    second.stop()


def test_a_renewal_whose_answer_was_lost_does_not_end_it(api_server: ApiServer, tmp_path: Path) -> None:
    first, second = start_two(api_server, tmp_path)
    lost = Trouble(kind="lose the answer", resources=("leases",), verbs=("update",), every=2)
    api_server.troubles.add(lost)
    eventually(lambda: lost.met >= 6)
    assert first.leads()
    assert not second.leads()
    first.stop()
    second.stop()


def test_a_leader_waits_out_a_server_that_is_down_shortly(api_server: ApiServer, tmp_path: Path) -> None:
    first, second = start_two(api_server, tmp_path)
    with api_server.down():
        assert first.wait_to_lose(timeout_s=60)
    eventually(lambda: first.leads() != second.leads())
    first.stop()
    second.stop()
