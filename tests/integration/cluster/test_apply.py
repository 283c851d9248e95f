"""``shardpack apply``: plans into a cluster; also on a real one (--kubeconfig) that has KServe."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from planner.cli.app import cli
from planner.cluster import Object
from planner.cluster.resources import CONFIG_MAPS, INFERENCE_SERVICES, SERVICES, TRAINED_MODELS
from tests.support.api_server.fixtures import TestCluster
from tests.support.api_server.server import ApiServer
from tests.support.api_server.troubles import Trouble

SCENARIO = """\
apiVersion: shardpack.dev/v1alpha1
kind: Scenario
metadata: {{name: news, namespace: {namespace}}}
spec:
  catalog:
    deviceClasses:
      - {{name: tiny-gpu, kind: gpu, memory: 16Gi, product: Tiny-GPU, source: invented for a test}}
  shardTypes:
    - name: gpu
      runtime: triton
      devices: {{class: tiny-gpu, count: 1}}
      resources: {{cpu: "8", memory: 32Gi}}
      pricePerHour: 0.5
      maxModels: {most}
      group: news
  models: {models}
"""

Run = Callable[..., Result]


@pytest.fixture
def run(cluster: TestCluster) -> Run:
    cluster.need("serving.kserve.io/v1alpha1", "TrainedModel")
    cluster.need("serving.kserve.io/v1beta1", "InferenceService")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["apply", *arguments, "--kubeconfig", str(cluster.kubeconfig)])

    return invoke


@pytest.fixture
def planned(cluster: TestCluster, tmp_path: Path) -> Callable[..., tuple[str, str]]:
    """Plans models named so, with so many on a shard at most; returns the files of scenario and plan."""

    def plan(*names: str, most: int = 2) -> tuple[str, str]:
        footprint = {"class": "tiny-gpu", "gpuMemory": "1Gi", "cpu": "100m", "memory": "1Gi"}
        models = [
            {
                "name": name,
                "backend": "onnxruntime",
                "storageUri": f"s3://m/{name}",
                "footprints": [footprint],
            }
            for name in names
        ]
        scenario, found = tmp_path / "scenario.yaml", tmp_path / "plan.json"
        text = SCENARIO.format(namespace=cluster.namespace, most=most, models=json.dumps(models))
        scenario.write_text(text)
        result = CliRunner().invoke(cli, ["plan", str(scenario), "--out", str(found), "-q", "--work", "1"])
        assert result.exit_code == 0, result.stderr
        return str(scenario), str(found)

    return plan


def names(cluster: TestCluster, resource: object) -> list[str]:
    found = cluster.kube.list(resource, namespace=cluster.namespace)  # type: ignore[arg-type]
    labelled = (item["metadata"] for item in found.items)
    return [
        metadata["name"]
        for metadata in labelled
        if (metadata.get("labels") or {}).get("shardpack.dev/scenario")
    ]


def test_a_plan_is_put_into_a_cluster_and_a_second_time_changes_nothing(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    files = planned("a", "b", "c")
    first = run(*files)
    assert first.exit_code == 0, first.stderr
    lines = first.stdout.splitlines()
    assert (
        f"namespace/{cluster.namespace} configured" in lines
        or f"namespace/{cluster.namespace} unchanged" in lines
    )
    assert lines[-1].startswith("trainedmodel.serving.kserve.io/"), "TrainedModels come last"
    assert names(cluster, INFERENCE_SERVICES) == ["news", "news-1"]
    assert names(cluster, TRAINED_MODELS) == ["a", "b", "c"]
    second = run(*files)
    assert second.exit_code == 0
    assert {line.split()[1] for line in second.stdout.splitlines()} == {"unchanged"}
    (manager, *_) = cluster.kube.get(TRAINED_MODELS, "a", namespace=cluster.namespace)["metadata"][
        "managedFields"
    ]
    assert (manager["manager"], manager["operation"]) == ("shardpack", "Apply")


def test_a_difference_is_shown_and_nothing_changed(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    files = planned("a")
    new = run(*files, "--diff")
    assert new.exit_code == 1
    assert "+++ plan/trainedmodel.serving.kserve.io/a\n" in new.stdout
    assert names(cluster, TRAINED_MODELS) == []
    assert run(*files).exit_code == 0
    same = run(*files, "--diff")
    assert (same.exit_code, same.stdout) == (0, "")
    patch = {"spec": {"model": {"storageUri": "s3://m/other"}}}
    cluster.kube.patch(TRAINED_MODELS, "a", patch, namespace=cluster.namespace)
    other = run(*files, "--diff", "--force-conflicts")
    assert other.exit_code == 1
    assert "-    storageUri: s3://m/other\n+    storageUri: s3://m/a\n" in other.stdout
    conflict = run(*files, "--diff")
    assert conflict.exit_code == 3
    assert "conflict" in conflict.stderr


def test_what_an_earlier_plan_left_behind_is_told_and_pruned_on_request(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    assert run(*planned("a", "b", "c")).exit_code == 0
    kube, namespace = cluster.kube, cluster.namespace
    labels = {"app.kubernetes.io/managed-by": "shardpack", "shardpack.dev/scenario": "news"}
    owner = kube.get(INFERENCE_SERVICES, "news-1", namespace=namespace)
    reference = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "news-1"}
    strangers: list[tuple[str, Object]] = [
        ("another-scenarios", {"labels": {**labels, "shardpack.dev/scenario": "other"}}),
        ("somebody-elses", {"labels": {**labels, "app.kubernetes.io/managed-by": "helm"}}),
        (
            "kept-by-its-owner",
            {"labels": labels, "ownerReferences": [{**reference, "uid": owner["metadata"]["uid"]}]},
        ),
    ]
    for name, metadata in strangers:
        kube.create(CONFIG_MAPS, {"metadata": {"name": name, "namespace": namespace, **metadata}})
    files = planned("a", "b")
    advised = run(*files)
    assert advised.exit_code == 0
    assert "of an earlier plan of this scenario" in advised.stderr
    assert names(cluster, TRAINED_MODELS) == ["a", "b", "c"]
    dry = run(*files, "--prune", "--dry-run", "server")
    assert "trainedmodel.serving.kserve.io/c deleted (server dry run)" in dry.stdout
    assert names(cluster, TRAINED_MODELS) == ["a", "b", "c"]
    pruned = run(*files, "--prune")
    assert pruned.exit_code == 0, pruned.stderr
    deleted = [line.split()[0] for line in pruned.stdout.splitlines() if line.endswith(" deleted")]
    assert deleted == [
        "trainedmodel.serving.kserve.io/c",
        "inferenceservice.serving.kserve.io/news-1",
        "configmap/modelconfig-news-1-0",
        "configmap/shardpack-news-1-0",
    ]
    assert names(cluster, INFERENCE_SERVICES) == ["news"]
    left = {item["metadata"]["name"] for item in kube.list(CONFIG_MAPS, namespace=namespace).items}
    assert {"another-scenarios", "somebody-elses"} <= left
    assert "earlier plan" not in run(*files).stderr


def test_a_shard_that_somebody_elses_model_names_is_not_pruned(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    assert run(*planned("a", "b", "c")).exit_code == 0
    theirs = {
        "apiVersion": TRAINED_MODELS.api_version,
        "kind": "TrainedModel",
        "metadata": {"name": "theirs", "namespace": cluster.namespace},
        "spec": {
            "inferenceService": "news-1",
            "model": {"storageUri": "s3://m/x", "framework": "onnx", "memory": "1Gi"},
        },
    }
    cluster.kube.create(TRAINED_MODELS, theirs)
    files = planned("a", "b")
    for further in ((), ("--dry-run", "server")):
        refused = run(*files, "--prune", *further)
        assert refused.exit_code == 1
        assert "nothing is pruned: shard news-1 would go" in refused.stderr
        assert "(theirs)" in refused.stderr
        assert "deleted" not in refused.stdout
    assert "news-1" in names(cluster, INFERENCE_SERVICES)
    cluster.kube.delete(TRAINED_MODELS, "theirs", namespace=cluster.namespace)
    assert run(*files, "--prune").exit_code == 0
    assert names(cluster, INFERENCE_SERVICES) == ["news"]


@pytest.mark.parametrize("mode", ["client", "server"])
def test_a_dry_run_says_what_would_become_of_objects(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]], mode: str
) -> None:
    files = planned("a")
    result = run(*files, "--dry-run", mode)
    assert result.exit_code == 0, result.stderr
    assert f"trainedmodel.serving.kserve.io/a created ({mode} dry run)" in result.stdout
    assert names(cluster, TRAINED_MODELS) == []
    assert run(*files).exit_code == 0
    again = run(*files, "--dry-run", mode)
    assert {line.split()[1] for line in again.stdout.splitlines()} == {"unchanged"}


def test_a_folder_is_applied_as_the_plan_it_was_written_from(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    scenario, plan = planned("a", "b", "c")
    folder = str(tmp_path / "deploy")
    assert CliRunner().invoke(cli, ["manifests", scenario, plan, "--out", folder]).exit_code == 0
    written = run(folder, "-o", "json")
    assert written.exit_code == 0, written.stderr
    outcomes = {(item["kind"], item["name"]): item["outcome"] for item in json.loads(written.stdout)}
    assert outcomes["TrainedModel", "a"] == "created"
    again = run(scenario, plan)
    assert {line.split()[1] for line in again.stdout.splitlines()} == {"unchanged"}
    assert "trainedmodel.serving.kserve.io/a\n" in run(folder, "-o", "name").stdout
    rows = [line.split() for line in run(folder, "-o", "wide").stdout.splitlines()]
    assert rows[0] == ["KIND", "NAME", "OUTCOME", "API", "VERSION", "NAMESPACE", "ERROR"]
    model = ["TrainedModel", "a", "unchanged", "serving.kserve.io/v1alpha1", cluster.namespace, "-"]
    assert model in rows


def test_a_namespace_that_is_not_there_yet_is_no_hindrance_for_a_look(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    scenario, plan = planned("a")
    folder = tmp_path / "deploy"
    assert CliRunner().invoke(cli, ["manifests", scenario, plan, "--out", str(folder)]).exit_code == 0
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text().replace(cluster.namespace, f"{cluster.namespace}-new"))
    result = run(str(folder), "--diff")
    assert result.exit_code == 1, result.stderr
    assert f"+++ plan/namespace/{cluster.namespace}-new" in result.stdout
    assert "+++ plan/trainedmodel.serving.kserve.io/a" in result.stdout


def test_fields_that_others_own_are_named_and_how_to_take_them(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    plan = planned("a")
    assert run(*plan).exit_code == 0
    theirs = {"spec": {"predictor": {"minReplicas": 3}}}
    cluster.kube.patch(INFERENCE_SERVICES, "news", theirs, namespace=cluster.namespace)
    result = run(*plan)
    assert result.exit_code == 1
    assert "spec.predictor.minReplicas" in result.stderr
    assert "1 object failed; --force-conflicts takes" in result.stderr
    assert run(*plan, "--force-conflicts").exit_code == 0
    assert run(*plan, "--diff").exit_code == 0


def test_what_is_on_its_way_out_is_not_said_to_be_applied(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    plan = planned("a", "b")
    assert run(*plan).exit_code == 0
    patch = partial(cluster.kube.patch, TRAINED_MODELS, "a", namespace=cluster.namespace)
    patch({"metadata": {"finalizers": ["example.com/kept"]}})
    cluster.kube.delete(TRAINED_MODELS, "a", namespace=cluster.namespace)
    result = run(*plan)
    patch({"metadata": {"finalizers": None}})
    assert result.exit_code == 1
    assert "trainedmodel.serving.kserve.io/a: it is being deleted" in result.stderr
    assert "trainedmodel.serving.kserve.io/b unchanged" in result.stdout
    assert "trainedmodel.serving.kserve.io/a created" in run(*plan).stdout


def test_objects_that_fail_are_listed_and_nothing_that_builds_on_them_is_tried(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    scenario, plan = planned("a", "b", "c")
    folder = tmp_path / "deploy"
    assert CliRunner().invoke(cli, ["manifests", scenario, plan, "--out", str(folder)]).exit_code == 0
    path = folder / "shards/news/inferenceservice.yaml"
    content = yaml.safe_load(path.read_text())
    content["spec"]["predictor"]["minReplicas"] = "one"
    content["spec"]["oops"] = True
    path.write_text(yaml.safe_dump(content))
    result = run(str(folder), "--prune")
    assert result.exit_code == 1
    assert "inferenceservice.serving.kserve.io/news: Error from server" in result.stderr
    assert "1 object failed" in result.stderr
    assert "inferenceservice.serving.kserve.io/news-1 created" in result.stdout
    assert names(cluster, TRAINED_MODELS) == []


def test_a_kind_that_the_cluster_does_not_know_fails_by_name(
    cluster: TestCluster, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    body = {
        "apiVersion": "nothing.dev/v1",
        "kind": "Nothing",
        "metadata": {"name": "n", "namespace": cluster.namespace},
    }
    (folder / "nothing.yaml").write_text(yaml.safe_dump(body))
    result = run(str(folder))
    assert result.exit_code == 1
    assert 'nothing.nothing.dev/n: no matches for kind "Nothing" in version "nothing.dev/v1"' in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "holds no objects"),
        ({"a.yaml": "a: ["}, "is not YAML"),
        ({"a.yaml": "a: 1\n"}, "document 1 is no Kubernetes object"),
        ({"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n"}, "changes objects (namePrefix)"),
        ({"kustomization.yaml": "resources: [a.yaml]\n"}, "a.yaml: cannot be read"),
    ],
)
def test_a_folder_of_something_else_is_bad_input(
    run: Run, tmp_path: Path, content: dict[str, str], message: str
) -> None:
    folder = tmp_path / "deploy"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    result = run(str(folder))
    assert result.exit_code == 2
    assert message in result.stderr


def test_waiting_is_for_shards_first_and_says_for_which_when_it_ends(
    api_server: ApiServer, cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    files = planned("a")
    result = run(*files, "--wait", "--timeout", "1")
    assert result.exit_code == 1
    assert "not ready after 1 s:\ninferenceservice.serving.kserve.io/news: not ready" in result.stderr
    assert names(cluster, TRAINED_MODELS) == []
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    cluster.kube.patch(INFERENCE_SERVICES, "news", ready, namespace=cluster.namespace, subresource="status")
    assert run(*files).exit_code == 0
    failed = [{"type": "Ready", "status": "False", "message": "no room"}]
    cluster.kube.patch(
        TRAINED_MODELS,
        "a",
        {"status": {"conditions": failed}},
        namespace=cluster.namespace,
        subresource="status",
    )
    waited = run(*files, "--wait", "--timeout", "1")
    assert waited.exit_code == 1
    assert "trainedmodel.serving.kserve.io/a: Ready: no room" in waited.stderr
    cluster.kube.patch(TRAINED_MODELS, "a", ready, namespace=cluster.namespace, subresource="status")
    assert run(*files, "--wait", "--timeout", "1").exit_code == 0


def test_a_server_that_stumbles_is_asked_again(
    api_server: ApiServer, cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]]
) -> None:
    files = planned("a")
    api_server.troubles.add(Trouble(kind="answer", code=503, verbs=("patch",), times=2))
    api_server.troubles.add(Trouble(kind="lose the answer", verbs=("patch",), times=1))
    result = run(*files)
    assert result.exit_code == 0, result.stderr
    assert names(cluster, TRAINED_MODELS) == ["a"]


def test_who_may_not_look_for_what_is_left_over_applies_and_prunes_nothing(
    real_kubeconfig: Path | None,
    api_server: ApiServer,
    cluster: TestCluster,
    run: Run,
    planned: Callable[..., tuple[str, str]],
) -> None:
    if real_kubeconfig:
        pytest.skip("makes trouble with the server: not for a real one")
    files = planned("a", "b", "c")
    assert run(*files).exit_code == 0
    files = planned("a")
    refused = Trouble(kind="answer", code=403, reason="Forbidden", verbs=("list",), resources=("services",))
    api_server.troubles.add(refused)
    pruned = run(*files, "--prune", "-o", "json")
    assert pruned.exit_code == 1
    assert "nothing is pruned: Error from server (Forbidden)" in pruned.stderr
    assert {item["outcome"] for item in json.loads(pruned.stdout)} >= {"unchanged", "configured"}
    assert names(cluster, TRAINED_MODELS) == ["a", "b", "c"]
    applied = run(*files)
    assert applied.exit_code == 0
    assert "what an earlier plan left behind is not known: Error from server" in applied.stderr


def test_a_gateway_of_a_plan_is_applied_too(
    cluster: TestCluster, run: Run, planned: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    scenario, plan = planned("a")
    folder = str(tmp_path / "deploy")
    arguments = ["manifests", scenario, plan, "--out", folder, "--gateway", "nginx"]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    assert run(folder).exit_code == 0
    assert "news-gateway" in names(cluster, SERVICES)
    again = run(folder)
    assert {line.split()[1] for line in again.stdout.splitlines()} == {"unchanged"}


def test_a_difference_goes_with_nothing_that_writes(run: Run, tmp_path: Path) -> None:
    result = run(str(tmp_path), "--diff", "--wait")
    assert result.exit_code == 2
    assert "--diff changes nothing" in result.stderr
