"""A model moves between shards, by the controller, while clients ask for it through real nginx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

from planner.cluster.resources import INFERENCE_SERVICES, TRAINED_MODELS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from tests.support.asking_clients import Clients
from tests.support.controllers import all_loaded, documents, eventually, running
from tests.support.memory_cluster import a_trained_model
from tests.support.nginx import needs_nginx
from tests.support.standing_in import Agents, GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [pytest.mark.timeout(300), needs_nginx]


def test_a_live_move_loses_no_request(here: Here, tmp_path: Path) -> None:
    kube, namespace = here.kube, here.namespace
    style = Style(options=ManifestOptions(gateway="nginx"))
    with (
        Agents(kube, namespace) as agents,
        KServeStandIn(kube, namespace) as kserve,
        running(kube, namespace, style=style),
        GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=agents.address) as gateway,
    ):
        eventually(lambda: kube.list(INFERENCE_SERVICES, namespace=namespace).items)
        for name in ("a", "b"):
            kube.create(TRAINED_MODELS, a_trained_model(name, memory="6Gi", namespace=namespace))
        eventually(lambda: all_loaded(kube, namespace, 2))
        url = f"{gateway.url}/v2/models/b/infer"
        eventually(lambda: urllib3.request("POST", url, body=b"{}", retries=False).status == 200)
        eventually(gateway.is_settled)
        with Clients(url) as clients:
            eventually(lambda: clients.answers["news"] > 100)
            more = {"footprints": [{"class": "nvidia-t4", "gpuMemory": "9Gi"}]}
            annotations = {"annotations": {"shardpack.dev/model": json.dumps(more)}}
            kube.patch(TRAINED_MODELS, "b", {"metadata": annotations}, namespace=namespace)
            eventually(lambda: documents(kube, namespace)["b"] == {"news-1"})
            before = clients.answers["news-1"]
            eventually(lambda: clients.answers["news-1"] > before + 100)
        assert clients.failures == []
        assert clients.answers["news"] > 100
        assert kserve.deleted == []
