"""From nothing to served models: the controller, real Triton servers and agents for pods, a real gateway."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from planner.cluster.resources import INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from planner.rehearsal.triton_files import TritonHome
from tests.support.asking_clients import RATE_PER_S, Clients
from tests.support.controllers import all_loaded, documents, eventually, models, running
from tests.support.model_traffic import QUESTION
from tests.support.nginx import needs_nginx
from tests.support.real_pods import ShardPods
from tests.support.services import Services
from tests.support.sim_fleet import asked, bring, offer
from tests.support.standing_in import GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600), needs_nginx]

MODELS, PER_SHARD = 50, 20
STYLE = Style(options=ManifestOptions(gateway="nginx"))


def test_fifty_models_from_nothing_are_served_under_one_address(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace = here.kube, here.namespace
    offer(kube, namespace, max_models=PER_SHARD)
    with (
        ShardPods(kube, namespace, folder=tmp_path / "pods", home=triton_home),
        Services(kube, namespace) as services,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=STYLE),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=services.address) as gateway,
    ):
        for index in range(MODELS):
            bring(kube, namespace, f"m-{index:02}", store=tmp_path / "store")
        eventually(lambda: all_loaded(kube, namespace, MODELS), longest_s=300)
        shards = [
            item["metadata"]["name"] for item in kube.list(INFERENCE_SERVICES, namespace=namespace).items
        ]
        assert sorted(shards) == ["news", "news-1", "news-2"]
        assert {len(on) for on in documents(kube, namespace).values()} == {1}
        for name, item in models(kube, namespace).items():
            url = item["metadata"]["annotations"]["shardpack.dev/url"]
            assert url == f"http://news-gateway.{namespace}.svc/v2/models/{name}/infer"
            eventually(partial(_answers, gateway.url, name))
            assert here.own is None or here.own.troubles.writes_of("trainedmodels/status", name=name) <= 2
        assert kserve.deleted == []


def test_a_model_moves_between_real_servers_and_no_request_fails(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace = here.kube, here.namespace
    offer(kube, namespace)
    with (
        ShardPods(kube, namespace, folder=tmp_path / "pods", home=triton_home) as pods,
        Services(kube, namespace) as services,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=STYLE),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=services.address) as gateway,
    ):
        for name in ("a", "b"):
            bring(kube, namespace, name, store=tmp_path / "store", memory="3Gi")
        eventually(lambda: all_loaded(kube, namespace, 2), longest_s=300)
        eventually(lambda: _answers(gateway.url, "b"))
        eventually(gateway.is_settled)
        with Clients(f"{gateway.url}/v2/models/b/infer", QUESTION) as clients:
            eventually(lambda: clients.answered > RATE_PER_S)
            says = json.dumps({"footprints": [{"class": "cpu", "memory": "6Gi"}]})
            annotations = {"annotations": {"shardpack.dev/model": says}}
            kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=namespace)
            eventually(lambda: documents(kube, namespace)["b"] == {"news-1"}, longest_s=300)
            after = clients.answered
            eventually(lambda: "b" not in pods.models("news"))
            eventually(lambda: clients.answered > after + RATE_PER_S)
        assert clients.failures == []
        assert kserve.deleted == []


def _answers(url: str, model: str) -> bool:
    return bool(asked(url, model) == 7)
