"""Validating webhooks of the tests' API server: when they are asked, and what their answers do."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from planner.cluster import Kube, connect
from planner.cluster.resources import CONFIG_MAPS
from planner.controller.https import Certificates, HttpsServer
from planner.errors import ClusterError, ForbiddenError
from tests.support.api_server.server import ApiServer
from tests.support.private_ca import PrivateCa, make_ca

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")


class Hook:
    """A webhook that answers what it is told, and keeps what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[dict[str, Any]] = []
        self._stopped = False
        self.response: dict[str, Any] = {"allowed": True}
        self.made: PrivateCa = make_ca(folder / "ca", "hook")
        certificates = Certificates(self.made.certificate, self.made.key)
        self.https = HttpsServer("127.0.0.1", 0, certificates=certificates, path="/ask", answer=self._answer)

    def stop(self) -> None:
        """End; a second time nothing is left to end."""
        if not self._stopped:
            self._stopped = True
            self.https.stop()

    def _answer(self, body: bytes) -> bytes:
        review = json.loads(body)
        self.asked.append(review["request"])
        response = {"uid": review["request"]["uid"], **self.response}
        return json.dumps({**review, "response": response}).encode()

    def configuration(self, **changes: Any) -> dict[str, Any]:
        rule = {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["configmaps"],
            "operations": ["CREATE", "UPDATE"],
        }
        client = {
            "url": f"https://127.0.0.1:{self.https.port}/ask",
            "caBundle": base64.b64encode(self.made.ca.read_bytes()).decode(),
        }
        hook = {
            "name": "a.test.example",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": client,
            "rules": [rule],
        }
        kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
        return {**kind, "metadata": {"name": "test"}, "webhooks": [{**hook, **changes}]}


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Hook]:
    made = Hook(tmp_path)
    made.https.start()
    yield made
    made.stop()


@pytest.fixture
def kube(api_server: ApiServer, tmp_path: Path) -> Iterator[Kube]:
    client = connect(kubeconfig=api_server.kubeconfig(tmp_path))
    yield client
    client.close()


def install(kube: Kube, item: dict[str, Any]) -> None:
    kube.create(kube.resource_of(item["apiVersion"], item["kind"]), item)


def a_map(name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def test_it_is_asked_with_the_object_as_it_will_be(kube: Kube, hook: Hook) -> None:
    install(kube, hook.configuration())
    kube.create(CONFIG_MAPS, a_map("one"))
    kube.patch(CONFIG_MAPS, "one", {"data": {"a": "2"}}, namespace="default")
    kube.delete(CONFIG_MAPS, "one", namespace="default")
    created, patched = hook.asked
    assert (created["operation"], created["object"]["data"], created["oldObject"]) == (
        "CREATE",
        {"a": "1"},
        None,
    )
    assert (patched["operation"], patched["object"]["data"]) == ("UPDATE", {"a": "2"})
    assert patched["oldObject"]["data"] == {"a": "1"}


def test_a_refusal_is_told_and_nothing_is_stored(kube: Kube, hook: Hook) -> None:
    hook.response = {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not now"}}
    install(kube, hook.configuration())
    with pytest.raises(ForbiddenError, match=r'webhook "a\.test\.example" denied the request: not now'):
        kube.create(CONFIG_MAPS, a_map("one"))
    assert not kube.list(CONFIG_MAPS, namespace="default").items


def test_warnings_reach_the_client(kube: Kube, hook: Hook) -> None:
    hook.response = {"allowed": True, "warnings": ["mind the gap"]}
    install(kube, hook.configuration())
    told: list[str] = []
    kube.adjusted(on_warning=told.append).create(CONFIG_MAPS, a_map("one"))
    assert told == ["mind the gap"]


def test_selectors_leave_others_alone(kube: Kube, hook: Hook) -> None:
    hook.response = {"allowed": False}
    chosen = {"matchExpressions": [{"key": "mine", "operator": "Exists"}]}
    install(kube, hook.configuration(objectSelector=chosen))
    kube.create(CONFIG_MAPS, a_map("theirs"))
    with pytest.raises(ClusterError, match="without explanation"):
        kube.create(CONFIG_MAPS, a_map("one", mine="yes"))
    assert len(hook.asked) == 1


@pytest.mark.parametrize(("policy", "passes"), [("Ignore", True), ("Fail", False)])
@pytest.mark.parametrize("fault", ["nobody listens", "another authority", "another uid"])
def test_one_that_gives_no_answer(
    kube: Kube, hook: Hook, tmp_path: Path, *, policy: str, passes: bool, fault: str
) -> None:
    item = hook.configuration(failurePolicy=policy)
    client = item["webhooks"][0]["clientConfig"]
    if fault == "nobody listens":
        hook.stop()
    elif fault == "another authority":
        client["caBundle"] = base64.b64encode(make_ca(tmp_path / "other", "other").ca.read_bytes()).decode()
    else:
        hook.response = {"allowed": True, "uid": "another"}
    install(kube, item)
    if passes:
        kube.create(CONFIG_MAPS, a_map("one"))
    else:
        with pytest.raises(ClusterError, match="failed calling webhook"):
            kube.create(CONFIG_MAPS, a_map("one"))


def test_a_dry_run_asks_only_those_without_side_effects(kube: Kube, hook: Hook) -> None:
    install(kube, hook.configuration(sideEffects="Some"))
    with pytest.raises(ClusterError, match="does not support dry run"):
        kube.create(CONFIG_MAPS, a_map("one"), dry_run=True)
    assert hook.asked == []
