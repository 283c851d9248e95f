"""A server's template is replaced as a whole, by one request, and only as it was read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from planner.controller.engine import Engine
from planner.controller.executing import RESOURCES, Executor
from planner.controller.objects import Mode, Style, server_kind, server_objects
from planner.controller.writes import Write, rewrite
from tests.support.memory_cluster import MemoryCluster, a_fleet_text, fleet_map

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here


def body_of(mode: Mode, text: str, namespace: str) -> dict[str, Any]:
    """The server of a fleet's first shard."""
    cluster = MemoryCluster()
    cluster.put("ConfigMap", fleet_map(text, namespace=namespace))
    style = Style(mode=mode)
    engine = Engine(namespace, style=style)
    engine.replace("ConfigMap", cluster.of("ConfigMap").values(), 0.0)
    engine.step(0.0, "2026-01-01T00:00:00Z")
    (plan,) = engine.plans
    return dict(server_objects(plan.contents("news"), plan.fleet, style, documents=1))[server_kind(mode)]


@pytest.mark.parametrize("mode", ["kserve", "standalone"])
def test_what_the_new_one_has_not_is_gone_and_what_others_wrote_stays(here: Here, mode: Mode) -> None:
    kind = server_kind(mode)
    text = a_fleet_text(namespace=here.namespace)
    chosen = text.replace("      group: news", "      group: news\n      nodeSelector: {disk: fast}")
    before = body_of(mode, chosen, here.namespace)
    after = body_of(mode, text, here.namespace)
    made = here.kube.create(RESOURCES[kind], before)
    theirs = {"metadata": {"annotations": {"example.com/note": "theirs"}}}
    known = here.kube.patch(RESOURCES[kind], made["metadata"]["name"], theirs, namespace=here.namespace)
    executor = Executor(here.kube, namespace=here.namespace, threads=1)

    def carried_out(version: str) -> tuple[str | None, dict[str, Any] | None]:
        write: Write = rewrite(kind, known["metadata"]["name"], after, resource_version=version)
        (answer,) = executor.carry_out([write])
        return answer.miss, answer.item

    assert carried_out(made["metadata"]["resourceVersion"])[0] == "conflict"
    miss, item = carried_out(known["metadata"]["resourceVersion"])
    assert miss is None
    assert item is not None
    assert "fast" not in str(item["spec"])
    assert item["metadata"]["annotations"]["example.com/note"] == "theirs"
    assert item["metadata"]["labels"] == after["metadata"]["labels"] != before["metadata"]["labels"]
    executor.stop()
