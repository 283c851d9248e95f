"""A client when the server is busy, slow, mute or strict; and who may do what."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier, Thread

import pytest

from planner.cluster import Kube, Object, Recorder, connect
from planner.cluster.resources import CONFIG_MAPS, EVENTS, NODES
from planner.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    InvalidError,
    NotFoundError,
    NotLeadingError,
    UnavailableError,
)
from tests.support.api_server.access import User, service_account
from tests.support.api_server.server import ApiServer
from tests.support.api_server.troubles import Trouble


@pytest.fixture
def kube(api_server: ApiServer, tmp_path: Path) -> Kube:
    return connect(kubeconfig=api_server.kubeconfig(tmp_path), timeout_s=10.0)


def config_map(name: str, **data: str) -> Object:
    return {"metadata": {"name": name, "namespace": "default"}, "data": data}


def test_what_the_server_asks_to_send_later_is_sent_later(api_server: ApiServer, kube: Kube) -> None:
    busy = Trouble(kind="answer", code=429, reason="TooManyRequests", retry_after_s=1, times=1)
    api_server.troubles.add(busy)
    assert kube.create(CONFIG_MAPS, config_map("a"))["metadata"]["uid"]
    assert busy.met == 1


def test_it_is_not_sent_later_than_the_time_out(api_server: ApiServer, kube: Kube) -> None:
    busy = Trouble(kind="answer", code=429, reason="TooManyRequests", retry_after_s=3600)
    api_server.troubles.add(busy)
    with pytest.raises(UnavailableError) as caught:
        kube.get(CONFIG_MAPS, "a", namespace="default")
    assert caught.value.retry_after_s == 3600
    assert busy.met == 1


def test_an_error_inside_of_the_server_is_not_repeated_by_itself(api_server: ApiServer, kube: Kube) -> None:
    broken = api_server.troubles.add(Trouble(kind="answer", code=500))
    with pytest.raises(UnavailableError, match="InternalError"):
        kube.create(CONFIG_MAPS, config_map("a"))
    assert broken.met == 1


def test_a_server_that_does_not_answer_is_given_up_in_time(api_server: ApiServer, kube: Kube) -> None:
    api_server.troubles.add(Trouble(kind="delay", delay_s=2.0, times=1))
    with pytest.raises(UnavailableError, match=r"no answer from the server in 0\.2 s"):
        kube.adjusted(timeout_s=0.2).get(CONFIG_MAPS, "a", namespace="default")


@pytest.mark.parametrize(("kind", "there"), [("hang up", False), ("lose the answer", True)])
def test_a_write_without_an_answer_may_have_happened_and_is_sent_once(
    api_server: ApiServer, kube: Kube, kind: str, there: bool
) -> None:
    api_server.troubles.add(Trouble(kind=kind, verbs=("create",), times=1))  # type: ignore[arg-type]
    with pytest.raises(UnavailableError):
        kube.create(CONFIG_MAPS, config_map("a"))
    assert len(kube.list(CONFIG_MAPS, namespace="default").items) == there


def test_a_storm_of_conflicts_is_told_as_conflicts(api_server: ApiServer, kube: Kube) -> None:
    made = kube.create(CONFIG_MAPS, config_map("a"))
    storm = Trouble(kind="answer", code=409, reason="Conflict", verbs=("update",), times=3)
    api_server.troubles.add(storm)
    for _ in range(3):
        with pytest.raises(ConflictError):
            kube.replace(CONFIG_MAPS, {**made, "data": {"x": "1"}})
    assert kube.replace(CONFIG_MAPS, {**made, "data": {"x": "1"}})["data"] == {"x": "1"}


def test_of_many_replacements_of_one_version_one_wins(api_server: ApiServer, kube: Kube) -> None:
    made = kube.create(CONFIG_MAPS, config_map("a"))
    barrier, outcomes = Barrier(8), []

    def race(index: int) -> None:
        barrier.wait()
        try:
            kube.replace(CONFIG_MAPS, {**made, "data": {"winner": str(index)}})
        except ConflictError:
            outcomes.append("lost")
        else:
            outcomes.append("won")

    threads = [Thread(target=race, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["lost"] * 7 + ["won"]
    assert api_server.troubles.writes_of("configmaps", name="a") == 2


def test_a_guard_keeps_writes_and_lets_reads_pass(api_server: ApiServer, kube: Kube) -> None:
    def refuse() -> None:
        raise NotLeadingError("not any more")

    guarded = kube.adjusted(guard=refuse)
    with pytest.raises(NotLeadingError):
        guarded.create(CONFIG_MAPS, config_map("a"))
    assert not guarded.list(CONFIG_MAPS, namespace="default").items
    assert not api_server.troubles.writes


def test_what_is_too_large_for_any_request_is_refused(kube: Kube) -> None:
    with pytest.raises(InvalidError, match="Request entity too large: limit is 3145728"):
        kube.create(CONFIG_MAPS, config_map("a", x="y" * 3 * 1024 * 1024))


def test_a_user_may_do_what_roles_that_are_bound_to_it_say(
    api_server: ApiServer, kube: Kube, tmp_path: Path
) -> None:
    user = service_account("default", "reader")
    reader = connect(kubeconfig=api_server.kubeconfig(tmp_path, user=user))
    kube.create(CONFIG_MAPS, config_map("a"))
    message = (
        'Error from server (Forbidden): configmaps "a" is forbidden: User '
        '"system:serviceaccount:default:reader" cannot get resource "configmaps" in API group "" in the '
        'namespace "default"'
    )
    with pytest.raises(ForbiddenError) as caught:
        reader.get(CONFIG_MAPS, "a", namespace="default")
    assert str(caught.value) == message
    rbac = "rbac.authorization.k8s.io/v1"
    kube.create(
        kube.resource_of(rbac, "Role"),
        {
            "metadata": {"name": "read", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}],
        },
    )
    kube.create(
        kube.resource_of(rbac, "RoleBinding"),
        {
            "metadata": {"name": "read", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
        },
    )
    assert reader.get(CONFIG_MAPS, "a", namespace="default")
    for forbidden in (
        lambda: reader.list(CONFIG_MAPS),
        lambda: reader.list(CONFIG_MAPS, namespace="kube-system"),
        lambda: reader.create(CONFIG_MAPS, config_map("b")),
        lambda: reader.list(NODES),
    ):
        with pytest.raises(ForbiddenError):
            forbidden()


def test_a_token_that_nobody_knows_is_refused(api_server: ApiServer, tmp_path: Path) -> None:
    path = api_server.kubeconfig(tmp_path, user=User(name="ghost", groups=()))
    api_server.access._tokens.clear()
    with pytest.raises(ForbiddenError, match="Unauthorized"):
        connect(kubeconfig=path).server_version()


def test_events_are_written_counted_and_never_in_the_way(api_server: ApiServer, kube: Kube) -> None:
    made = kube.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", **config_map("a")})
    recorder = Recorder(kube, controller="shardpack.dev/controller", instance="c-1")
    for _ in range(3):
        recorder.record(made, "Assigned", "to shard news-1", action="Assign")
    recorder.record(made, "Refused", "é" * 2000, action="Assign", kind="Warning")
    assigned, refused = sorted(
        kube.list(EVENTS, namespace="default").items, key=lambda event: str(event["reason"])
    )
    assert assigned["regarding"]["uid"] == made["metadata"]["uid"]
    assert assigned["series"]["count"] == 3
    assert (refused["type"], refused["note"][-2:]) == ("Warning", "é…")
    assert len(refused["note"].encode()) in range(1020, 1025), "Kubernetes counts bytes"
    kube.delete(EVENTS, assigned["metadata"]["name"], namespace="default")
    recorder.record(made, "Assigned", "to shard news-1", action="Assign")
    api_server.troubles.add(Trouble(kind="answer", code=500))
    recorder.record(made, "Lost", "nobody hears it", action="Assign")
    api_server.troubles.clear()
    assert {event["reason"] for event in kube.list(EVENTS, namespace="default").items} == {
        "Assigned",
        "Refused",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid kube-config"),
        ("apiVersion: v1\nkind: Config\n", "no cluster to talk to"),
        ("{", "no cluster to talk to"),
    ],
)
def test_a_bad_kubeconfig_is_bad_input(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        connect(kubeconfig=path)


def test_a_missing_kubeconfig_or_context_is_bad_input(api_server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such kubeconfig"):
        connect(kubeconfig=tmp_path / "missing")
    with pytest.raises(InputError, match="elsewhere"):
        connect(kubeconfig=api_server.kubeconfig(tmp_path), context="elsewhere")


def test_the_namespace_of_the_context_is_known(api_server: ApiServer, tmp_path: Path) -> None:
    path = api_server.kubeconfig(tmp_path, namespace="models")
    assert connect(kubeconfig=path, context="test").namespace == "models"
    with pytest.raises(NotFoundError):
        connect(kubeconfig=path).get(CONFIG_MAPS, "a", namespace="models")
