"""New pods of a shard, and pods that go, under requests through the real gateway, servers and agents."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planner.cluster.resources import INFERENCE_SERVICES, PODS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from planner.rehearsal.triton_files import TritonHome
from tests.support.asking_clients import Clients
from tests.support.controllers import all_loaded, eventually, running
from tests.support.model_traffic import QUESTION
from tests.support.nginx import needs_nginx
from tests.support.real_pods import RealPod, RealPods, ShardPods, TransformerPods
from tests.support.services import Services
from tests.support.sim_fleet import asked, bring, offer
from tests.support.standing_in import GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [pytest.mark.triton, needs_nginx]

STYLE = Style(options=ManifestOptions(gateway="nginx"))
SLOW = {"load_ms": "700"}
"""So that a server runs for a while before it has its models."""


@pytest.mark.timeout(300)
def test_a_new_pod_is_asked_once_it_is_ready_and_no_request_fails(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    _replaced(here, tmp_path, triton_home, times=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_twenty_pods_one_after_the_other(here: Here, tmp_path: Path, triton_home: TritonHome) -> None:
    _replaced(here, tmp_path, triton_home, times=20)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_pods_of_a_transformer_one_after_the_other(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace, owner = here.kube, here.namespace, "news-transformer-double"
    double = '{name: double, image: x, replicas: 2, resources: {cpu: 1, memory: 1Gi}, env: {FACTOR: "2"}}'
    offer(kube, namespace, more=f"  transformers:\n    - {double}\n")
    with (
        ShardPods(kube, namespace, folder=tmp_path / "pods", home=triton_home),
        TransformerPods(kube, namespace, folder=tmp_path) as pods,
        Services(kube, namespace) as services,
        KServeStandIn(kube, namespace),
        running(kube, namespace, style=STYLE),
        GatewayPod(
            kube, namespace, "news", folder=tmp_path / "gw", resolve=services.address, direct=True
        ) as gateway,
    ):
        pods.predictor_url = gateway.direct_url
        bring(kube, namespace, "m", store=tmp_path / "store", says={"transformer": "double"})
        eventually(lambda: asked(gateway.url, "m") == 14)
        eventually(lambda: all(pod.is_ready() for pod in pods.of(owner)))
        eventually(gateway.is_settled)
        with Clients(f"{gateway.url}/v2/models/m/infer", QUESTION) as clients:
            everybody = pods.of(owner)
            for _ in range(10):
                delete = partial(kube.delete, PODS, pods.of(owner)[0].name, namespace=namespace)
                everybody.append(_after(delete, pods, owner, clients))
            assert all(pod.has_ended.wait(60) for pod in everybody[:10])
            _go_on(clients)
        assert clients.failures == []
        assert [pod.early for pod in everybody] == [0] * 12


def _replaced(here: Here, folder: Path, home: TritonHome, *, times: int) -> None:
    """Give a shard of one pod a second one, and delete the older of both, again and again."""
    kube, namespace = here.kube, here.namespace
    offer(kube, namespace)
    with (
        ShardPods(kube, namespace, folder=folder / "pods", home=home) as pods,
        Services(kube, namespace) as services,
        KServeStandIn(kube, namespace),
        running(kube, namespace, style=STYLE),
        GatewayPod(kube, namespace, "news", folder=folder / "gw", resolve=services.address) as gateway,
    ):
        bring(kube, namespace, "m", store=folder / "store", parameters=SLOW)
        eventually(lambda: all_loaded(kube, namespace, 1))
        eventually(lambda: asked(gateway.url, "m") == 7)
        eventually(gateway.is_settled)
        with Clients(f"{gateway.url}/v2/models/m/infer", QUESTION) as clients:
            everybody = pods.of("news")
            two = {"spec": {"predictor": {"minReplicas": 2, "maxReplicas": 2}}}
            scale = partial(kube.patch, INFERENCE_SERVICES, "news", two, namespace=namespace)
            everybody.append(_after(scale, pods, "news", clients))
            for _ in range(times):
                delete = partial(kube.delete, PODS, pods.of("news")[0].name, namespace=namespace)
                everybody.append(_after(delete, pods, "news", clients))
            assert all(pod.has_ended.wait(60) for pod in everybody[:times])
            _go_on(clients)
        assert clients.failures == []
        assert [pod.early for pod in everybody] == [0] * (2 + times)


def _after(change: Callable[[], object], pods: RealPods, owner: str, clients: Clients) -> RealPod:
    """Return the pod that a change brings, once it answers; until it was ready others answered."""
    known, before = pods.of(owner), clients.answered
    change()
    eventually(lambda: [pod for pod in pods.of(owner) if pod not in known and pod.is_ready()])
    (fresh,) = (pod for pod in pods.of(owner) if pod not in known)
    assert clients.answered > before
    eventually(lambda: fresh.asked > 20)
    return fresh


def _go_on(clients: Clients) -> None:
    before = clients.answered
    eventually(lambda: clients.answered > before + 20)
