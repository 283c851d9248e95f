"""From nothing to served models: the controller, real Triton servers and agents for pods, a real gateway."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

from planner.cluster.resources import CONFIG_MAPS, INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from planner.rehearsal.triton_files import TritonHome
from tests.support.agent_models import model_folder
from tests.support.asking_clients import RATE_PER_S, Clients
from tests.support.controllers import all_loaded, documents, eventually, models, running
from tests.support.memory_cluster import NAMESPACE, a_trained_model, fleet_map
from tests.support.real_pods import RealPods
from tests.support.standing_in import GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [
    pytest.mark.triton,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None,
        reason="the gateway is nginx, which is not installed (apt-get install nginx-light)",
    ),
]

MODELS, PER_SHARD = 50, 20
FLEET = f"""\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {{name: news, namespace: {NAMESPACE}}}
spec:
  catalog:
    backends: [{{name: sim}}]
    runtimes: [{{name: triton}}]
  shardTypes:
    - name: plain
      runtime: triton
      devices: {{class: cpu}}
      resources: {{cpu: "4", memory: 8Gi}}
      group: news
      maxModels: {PER_SHARD}
"""
QUESTION = json.dumps(
    {"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1], "data": [7]}]}
).encode()


def fleet_of(namespace: str) -> str:
    return FLEET.replace(f"namespace: {NAMESPACE}", f"namespace: {namespace}")


def test_fifty_models_from_nothing_are_served_under_one_address(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace = here.kube, here.namespace
    kube.patch(CONFIG_MAPS, "fleet", {"data": fleet_map(fleet_of(namespace))["data"]}, namespace=namespace)
    style = Style(options=ManifestOptions(gateway="nginx"))
    with (
        RealPods(kube, namespace, folder=tmp_path / "pods", home=triton_home) as pods,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=style),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=pods.address) as gateway,
    ):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        for index in range(MODELS):
            uri = model_folder(tmp_path / "store" / f"m-{index:02}")
            item = a_trained_model(f"m-{index:02}", memory="20Mi", uri=uri, namespace=here.namespace)
            item["spec"]["model"]["framework"] = "sim"
            kube.create(TRAINED_MODELS, item)
        eventually(lambda: all_loaded(kube, namespace, MODELS), longest_s=300)
        shards = [
            item["metadata"]["name"] for item in kube.list(INFERENCE_SERVICES, namespace=namespace).items
        ]
        assert sorted(shards) == ["news", "news-1", "news-2"]
        assert {len(on) for on in documents(kube, namespace).values()} == {1}
        for name, item in models(kube, namespace).items():
            url = item["metadata"]["annotations"]["shardpack.dev/url"]
            path = url.removeprefix(f"http://news-gateway.{namespace}.svc")
            eventually(partial(_answers, f"{gateway.url}{path}", name))
            assert here.own is None or here.own.troubles.writes_of("trainedmodels/status", name=name) <= 2
        assert kserve.deleted == []


def test_a_model_moves_between_real_servers_and_no_request_fails(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace = here.kube, here.namespace
    kube.patch(CONFIG_MAPS, "fleet", {"data": fleet_map(fleet_of(namespace))["data"]}, namespace=namespace)
    style = Style(options=ManifestOptions(gateway="nginx"))
    with (
        RealPods(kube, namespace, folder=tmp_path / "pods", home=triton_home) as pods,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=style),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=pods.address) as gateway,
    ):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        for name in ("a", "b"):
            item = a_trained_model(
                name, memory="3Gi", uri=model_folder(tmp_path / "store" / name), namespace=namespace
            )
            item["spec"]["model"]["framework"] = "sim"
            kube.create(TRAINED_MODELS, item)
        eventually(lambda: all_loaded(kube, namespace, 2), longest_s=300)
        url = f"{gateway.url}/v2/models/b/infer"
        eventually(partial(_answers, url, "b"))
        eventually(gateway.is_settled)
        with Clients(url, QUESTION) as clients:
            eventually(lambda: clients.answered > RATE_PER_S)
            says = json.dumps({"footprints": [{"class": "cpu", "memory": "6Gi"}]})
            annotations = {"annotations": {"shardpack.dev/model": says}}
            kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=namespace)
            eventually(lambda: documents(kube, namespace)["b"] == {"news-1"}, longest_s=300)
            after = clients.answered
            eventually(lambda: "b" not in pods.cluster.pods["news"].status()["models"])
            eventually(lambda: clients.answered > after + RATE_PER_S)
        assert clients.failures == []
        assert kserve.deleted == []


def _answers(url: str, name: str) -> bool:
    answer = urllib3.request("POST", url, body=QUESTION, retries=False)
    return answer.status == 200 and json.loads(answer.data)["model_name"] == name
