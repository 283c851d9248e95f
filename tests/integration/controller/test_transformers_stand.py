"""Models that name a transformer are asked through it, by the controller's routes and real nginx."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from planner.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from tests.support.controllers import all_loaded, eventually, running
from tests.support.memory_cluster import a_fleet_text, a_trained_model
from tests.support.standing_in import Agents, GatewayPod, KServeStandIn, TransformerPods

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin") is None,
        reason="the gateway is nginx, which is not installed (apt-get install nginx-light)",
    ),
]

NAMES = ("scale", "tokens", "words")


def test_sixty_models_are_asked_through_the_transformers_that_they_name(here: Here, tmp_path: Path) -> None:
    kube, namespace = here.kube, here.namespace
    rows = [f"    - {{name: {name}, image: x, resources: {{cpu: 1, memory: 1Gi}}}}" for name in NAMES]
    text = a_fleet_text(extra="\n".join(["  transformers:", *rows]), namespace=namespace)
    kube.patch(CONFIG_MAPS, "fleet", {"data": {"scenario.yaml": text}}, namespace=namespace)
    style = Style(options=ManifestOptions(gateway="nginx"))
    with (
        Agents(kube, namespace) as agents,
        KServeStandIn(kube, namespace) as kserve,
        TransformerPods(kube, namespace, shards=agents.address) as pods,
        running(kube, namespace, style=style),
        GatewayPod(
            kube, namespace, "news", folder=tmp_path / "gw", resolve=pods.address, direct=True
        ) as gateway,
    ):
        pods.predictor_url = gateway.direct_url
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        expected: dict[str, str | None] = {"plain": None}
        kube.create(TRAINED_MODELS, a_trained_model("plain", namespace=namespace))
        for number in range(60):
            name, through = f"m-{number:02}", NAMES[number % 3]
            expected[name] = f"news-transformer-{through}"
            says = {"transformer": through}
            kube.create(TRAINED_MODELS, a_trained_model(name, says=says, namespace=namespace))
        eventually(lambda: all_loaded(kube, namespace, 61))
        eventually(lambda: {name: passed(gateway.url, name) for name in expected} == expected)
        assert {name: passed(gateway.direct_url, name) for name in expected} == dict.fromkeys(expected)
        assert kserve.deleted == []
    deployments = {item["metadata"]["name"] for item in kube.list(DEPLOYMENTS, namespace=namespace).items}
    assert deployments == {"news-gateway", *(f"news-transformer-{name}" for name in NAMES)}


def passed(url: str, model: str) -> Any:
    """What a request for a model passed through on its way; None is nothing."""
    answer = urllib3.request("POST", f"{url}/v2/models/{model}/infer", body=b"{}", retries=False)
    return answer.json().get("through") if answer.status == 200 else answer.status
