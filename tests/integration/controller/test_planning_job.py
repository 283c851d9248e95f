"""The planning job as it is shipped: under its own roles, it publishes, and writes nothing else."""

from __future__ import annotations

import base64
import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from planner.cli.app import cli
from planner.cli.exitcodes import Outcome
from planner.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    NODES,
    PODS,
    TRAINED_MODELS,
)
from planner.controller.metrics import Metrics
from planner.controller.objects import Mode, Style
from planner.controller.proposal_document import NAME, SUMMARY_KEY
from planner.controller.views import read_config_map
from planner.errors import NotFoundError
from planner.scenario.plan_file import parse_plan
from tests.support.kubernetes_objects import core_faults
from tests.support.kustomizations import IMAGE, built, granted, of_kind
from tests.support.memory_cluster import (
    NAMESPACE,
    MemoryCluster,
    Run,
    a_fleet_text,
    a_trained_model,
    fleet_map,
    loaded_agents,
)
from tests.support.standing_in import _serve

if TYPE_CHECKING:
    from tests.integration.controller.conftest import Here

ACCOUNT = "shardpack-planning"

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("no_elses_cluster"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization"),
]

FOLDERS: dict[Mode, str] = {"kserve": "planning", "standalone": "planning-standalone"}
ON_A_NODE = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {name: pool, namespace: NAMESPACE}
spec:
  shardTypes:
    - {name: pool-t4, runtime: triton, devices: {class: nvidia-t4, count: 1}, provision: existing,
       group: pool, resources: {cpu: "2", memory: 16Gi}}
  nodes:
    - {name: gpu-a, allocatable: {cpu: "16", memory: 64Gi, pods: 50}, devices: [{class: nvidia-t4}]}
"""


def container_of(items: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = of_kind(items, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def stood(here: Here, mode: Mode) -> None:
    """A cluster with two shards where one would do, and a group on a node."""
    cluster, namespace = MemoryCluster(), here.namespace
    cluster.put("ConfigMap", fleet_map(a_fleet_text(namespace=namespace), namespace=namespace))
    cluster.put(
        "ConfigMap", fleet_map(ON_A_NODE.replace("NAMESPACE", namespace), "pool", namespace=namespace)
    )
    for index in range(24):
        cluster.put("TrainedModel", a_trained_model(f"m-{index:02}", namespace=namespace))
    cluster.put("TrainedModel", a_trained_model("p", parent="pool", namespace=namespace))
    run = Run(cluster, style=Style(mode=mode), namespace=namespace)
    run.settle(agents=loaded_agents())
    for index in range(8):
        cluster.remove("TrainedModel", f"m-{index:02}")
    run.settle(agents=loaded_agents())
    for resource in (CONFIG_MAPS, INFERENCE_SERVICES, DEPLOYMENTS, TRAINED_MODELS):
        for item in cluster.of(resource.kind).values():
            if item["metadata"]["name"] != "fleet":
                metadata = {
                    key: value
                    for key, value in item["metadata"].items()
                    if key not in ("uid", "resourceVersion")
                }
                here.kube.create(resource, {**item, "metadata": metadata})
    status = {
        "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": "1"},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    labels = {"nvidia.com/gpu.product": "Tesla-T4"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-a", "labels": labels}}
    with suppress(NotFoundError):  # of an earlier test: nodes live in no namespace
        here.kube.delete(NODES, "gpu-a")
    here.kube.create(NODES, node)
    here.kube.patch(NODES, "gpu-a", {"status": status}, subresource="status")
    here.kube.patch(NODES, "gpu-a", {"spec": {"taints": None}})  # as a cluster does when a node is ready


@contextmanager
def agents(here: Here, measured: dict[str, int]) -> Iterator[None]:
    """A pod for each shard, whose agent has measured some models."""
    servers: list[ThreadingHTTPServer] = []
    told: dict[str, dict[str, Any]] = {}
    for item in here.kube.list(CONFIG_MAPS, namespace=here.namespace, labels="shardpack.dev/shard").items:
        entries = told.setdefault(item["metadata"]["labels"]["shardpack.dev/shard"], {})
        for key, text in item["data"].items():
            for name in json.loads(text)["models"] if key.startswith("placement-") else ():
                entries[name] = {"state": "Loaded", "device": "0", "measuredBytes": measured.get(name)}
    for shard, entries in told.items():
        both = _serve(partial(dict, version=1, models=entries), lambda _: (404, {}))
        servers += both
        labels = {"shardpack.dev/shard": shard, "app.kubernetes.io/managed-by": "shardpack"}
        metadata = {"name": f"{shard}-pod", "namespace": here.namespace, "labels": labels}
        spec = {"containers": [{"name": "agent", "image": "agent"}]}
        here.kube.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        status = {"podIP": str(both[0].server_address[0]), "phase": "Running"}
        change = {"status": status}
        here.kube.patch(PODS, f"{shard}-pod", change, namespace=here.namespace, subresource="status")
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize("mode", FOLDERS)
def test_objects_are_valid(tmp_path: Path, mode: Mode) -> None:
    items = built(tmp_path, FOLDERS[mode], namespace=NAMESPACE)
    assert [fault for item in items for fault in core_faults(item)] == []
    spec = of_kind(items, "CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    limit = int(next(arg for arg in container_of(items)["args"] if "--time-limit" in arg).partition("=")[2])
    assert 2 * limit < spec["jobTemplate"]["spec"]["activeDeadlineSeconds"] < spec["startingDeadlineSeconds"]
    assert container_of(items)["image"].startswith(IMAGE)
    assert of_kind(items, "ConfigMap")["metadata"]["name"] == NAME


@pytest.mark.parametrize("mode", FOLDERS)
def test_it_publishes_what_would_be_better_and_writes_nothing_else(
    here: Here, tmp_path: Path, mode: Mode
) -> None:
    stood(here, mode)
    (tmp_path / "overlay").mkdir()
    items = built(tmp_path / "overlay", FOLDERS[mode], namespace=here.namespace)
    for item in items:
        if item["apiVersion"].startswith("rbac.") or item["kind"] == "ConfigMap":
            here.kube.apply(here.kube.resource_of(item["apiVersion"], item["kind"]), item)
    kubeconfig = here.account(ACCOUNT, tmp_path)
    container = container_of(items)
    assert {item["name"] for item in container["env"]} == {"POD_NAME", "POD_NAMESPACE", "NUMBA_CACHE_DIR"}
    arguments = [text.replace("$(POD_NAMESPACE)", here.namespace) for text in container["args"]]
    with agents(here, {"m-08": 3 * 2**30}):
        here.reset_counts()
        command = [*arguments, "--kubeconfig", str(kubeconfig), "-q", "--work=20"]
        result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert result.return_value is Outcome.DONE, (result.output, result.exception)
    assert here.used() in (granted(items), None)
    if here.own is not None:
        written = {(deed.verb, deed.resource, deed.name) for deed in here.own.troubles.writes}
        assert {(verb, resource) for verb, resource, _ in written} == {
            ("patch", "configmaps"),
            ("create", "events"),
        }
        assert ("patch", "configmaps", NAME) in written
    item = here.kube.get(CONFIG_MAPS, NAME, namespace=here.namespace)
    news, pool = json.loads(item["data"][SUMMARY_KEY])["groups"]
    assert (news["now"]["shards"], news["proposed"]["shards"], news["models"]) == (2, 1, 16)
    assert news["footprintsRevised"] == 1
    assert (pool["group"], pool["changes"]["moves"], pool["now"]["brokenRules"]) == ("pool", 0, 0)
    plan = gzip.decompress(base64.b64decode(item["binaryData"]["news.plan.json.gz"])).decode()
    assert len(parse_plan(plan, file="p").placement.placed) == 16
    (event,) = here.kube.list(EVENTS, namespace=here.namespace).items
    assert (event["reason"], event["regarding"]["name"]) == ("Proposed", "fleet")
    assert "0.5 instead of 1 USD/h" in event["note"]
    assert "0.5 instead of 1 USD/h" in result.stdout
    metrics = Metrics()
    metrics.proposals.look({NAME: read_config_map(item)})
    value = metrics.registry.get_sample_value("shardpack_proposal_cost_usd_per_hour", {"group": "news"})
    assert value == 0.5


def test_by_hand_it_writes_files_that_the_other_commands_read(here: Here, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[Any, str]:
        result = CliRunner().invoke(cli, list(arguments), standalone_mode=False)
        assert result.exception is None, result.output
        return result.return_value, result.stdout

    stood(here, "kserve")
    out = tmp_path / "proposal"
    propose = (
        "propose",
        "--kubeconfig",
        str(here.kubeconfig),
        "-n",
        here.namespace,
        "-q",
        "--work=20",
        "--measured=ignore",
    )
    here.reset_counts()
    assert run(*propose, "-o", "name", "--out", str(out)) == (Outcome.DONE, "group/news\n")
    assert here.own is None or not here.own.troubles.writes
    scenario, now, plan = (str(out / f"news.{name}.json") for name in ("scenario", "now", "plan"))
    assert run("verify", scenario, plan)[0] is Outcome.DONE
    assert "- shard news-1 (t4)" in run("diff", now, plan, "-f", scenario)[1]
    told = json.loads(run(*propose, "-o", "json")[1])
    assert [item["group"] for item in told["groups"]] == ["news", "pool"]
    few = json.loads(run(*propose, "-o", "json", "--max-moves=0")[1])
    assert few["groups"][0]["changes"] == {**few["groups"][0]["changes"], "moves": 0, "shardsClosed": 0}
    here.kube.create(CONFIG_MAPS, fleet_map("kind: Scenario", "bad", namespace=here.namespace))
    outcome, table = run(*propose)
    assert outcome is Outcome.INPUT
    assert table.splitlines()[1].split() == ["news", "16", "2", "1", "1", "0.5", "0.5", "4", "0"]


def test_that_there_is_nothing_to_plan_is_told(here: Here) -> None:
    command = ["propose", "--kubeconfig", str(here.kubeconfig), "-n", here.namespace]
    result = CliRunner().invoke(cli, command, standalone_mode=False)
    assert result.return_value is Outcome.DONE, result.output
    told = f"no group of a fleet document of namespace {here.namespace} has models: nothing to plan\n"
    assert result.stderr == told
