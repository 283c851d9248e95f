"""Models are asked through the transformers that they name: real processes and servers, a real gateway."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from planner.cluster import Kube
from planner.cluster.resources import DEPLOYMENTS, PODS
from planner.controller.objects import Style
from planner.manifests.options import ManifestOptions
from planner.manifests.transformer import LABEL_TRANSFORMER
from planner.rehearsal.triton_files import TritonHome
from tests.support.controllers import all_loaded, documents, eventually, models, running
from tests.support.nginx import needs_nginx
from tests.support.real_pods import ShardPods, TransformerPods
from tests.support.services import Services
from tests.support.sim_fleet import asked, bring, offer
from tests.support.standing_in import GatewayPod, KServeStandIn

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

pytestmark = [pytest.mark.triton, pytest.mark.timeout(600), needs_nginx]

STYLE = Style(options=ManifestOptions(gateway="nginx"))
MODELS, PER_SHARD = 60, 31
"""Two shards take those, one without a transformer, and one more."""

FACTORS = {"double": 2, "triple": 3, "fivefold": 5}
GIVEN = 7
MONEY = """\
  policy: {limits: {maxCostPerHour: 1.9}}
"""
"""Two shards for 0.5 and three transformers for 0.2 leave 0.3, which is no third shard. It would be one if a
transformer were not counted, and if each were counted twice, there would be no money for the second."""


def test_sixty_models_are_asked_through_the_transformers_that_they_name(
    here: Here, tmp_path: Path, triton_home: TritonHome
) -> None:
    kube, namespace = here.kube, here.namespace
    rows = [
        f"    - {{name: {name}, image: x, pricePerHour: 0.2, resources: {{cpu: 1, memory: 1Gi}},\n"
        f'       env: {{FACTOR: "{factor}"}}}}\n'
        for name, factor in FACTORS.items()
    ]
    offer(kube, namespace, max_models=PER_SHARD, more="  transformers:\n" + "".join(rows) + MONEY)
    names = [f"m-{number:02}" for number in range(MODELS)]
    through = {name: [*FACTORS][number % 3] for number, name in enumerate(names)}
    with ExitStack() as stack:
        stack.enter_context(ShardPods(kube, namespace, folder=tmp_path / "pods", home=triton_home))
        pods = stack.enter_context(TransformerPods(kube, namespace, folder=tmp_path))
        services = stack.enter_context(Services(kube, namespace))
        kserve = stack.enter_context(KServeStandIn(kube, namespace))
        stack.enter_context(running(kube, namespace, style=STYLE))
        gateway = stack.enter_context(
            GatewayPod(kube, namespace, "news", folder=tmp_path / "gw", resolve=services.address, direct=True)
        )
        pods.predictor_url = gateway.direct_url
        bring(kube, namespace, "plain", store=tmp_path / "store")
        for name in names:
            bring(kube, namespace, name, store=tmp_path / "store", says={"transformer": through[name]})
        eventually(lambda: all_loaded(kube, namespace, MODELS + 1), longest_s=300)
        expected = {"plain": GIVEN, **{name: GIVEN * FACTORS[through[name]] for name in names}}
        eventually(lambda: {name: asked(gateway.url, name) for name in expected} == expected)
        assert {name: asked(gateway.direct_url, name) for name in expected} == dict.fromkeys(expected, GIVEN)
        assert _conditions(kube, namespace, "m-00")["TransformerReady"]["status"] == "True"
        standing = {f"news-transformer-{name}" for name in FACTORS}
        assert {len(pods.of(name)) for name in standing} == {1}
        found = kube.list(PODS, namespace=namespace, labels=LABEL_TRANSFORMER).items
        assert len(found) == 3
        deployments = kube.list(DEPLOYMENTS, namespace=namespace, labels=LABEL_TRANSFORMER).items
        assert {item["metadata"]["name"] for item in deployments} == standing
        bring(kube, namespace, "last", store=tmp_path / "store")
        bring(kube, namespace, "too-many", store=tmp_path / "store")
        eventually(lambda: "Assigned" in _conditions(kube, namespace, "too-many"))
        assert "cost limit" in _conditions(kube, namespace, "too-many")["Assigned"]["message"]
        assert set().union(*documents(kube, namespace).values()) == {"news", "news-1"}
        assert kserve.deleted == []


def _conditions(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    status = models(kube, namespace)[name].get("status", {})
    return {one["type"]: one for one in status.get("conditions", [])}
