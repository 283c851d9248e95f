"""Every object that is written passes a server-side dry run without a warning, on a real server and ours."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from planner.cluster.rollout import Rollout
from planner.manifests import ManifestOptions, render_plan
from planner.manifests.rollout import PRUNED
from tests.support.api_server.fixtures import TestCluster
from tests.support.kustomizations import KUSTOMIZE, built
from tests.support.plans import a_plan, everything

OPTIONS = {
    "alone": ManifestOptions(),
    "nginx": ManifestOptions(gateway="nginx", network_policies=True),
    "httproute": ManifestOptions(gateway="httproute", gateway_parent="infra/public"),
    "stores": ManifestOptions(
        secrets=("s3",),
        gcs_secret="gcs",
        storage_config="storage-config",
        environment=(("HF_HOME", "/x"),),
        shared_cache="/var/lib/shardpack",
        shared_cache_bytes=1 << 40,
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_dry_run_of_every_manifest_passes_without_a_warning(cluster: TestCluster, name: str) -> None:
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario, options=OPTIONS[name])
    objects = [item for file in files for item in yaml.load_all(file.text, yaml.CSafeLoader)]
    objects = [item for item in objects if item["kind"] not in ("Kustomization", "Namespace")]
    for item in objects:
        cluster.need(item["apiVersion"], item["kind"])
        item["metadata"]["namespace"] = cluster.namespace
    warnings: list[str] = []
    kube = cluster.kube.adjusted(on_warning=warnings.append)
    results = list(Rollout(kube, dry_run="server").apply(objects))
    assert [str(result.error) for result in results if result.error is not None] == []
    assert warnings == []
    assert {result.outcome for result in results} == {"created"}


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization")
@pytest.mark.parametrize(
    "folder", sorted(path.parent.name for path in KUSTOMIZE.glob("*/kustomization.yaml"))
)
def test_a_dry_run_of_every_overlay_passes_without_a_warning(
    cluster: TestCluster, tmp_path: Path, folder: str
) -> None:
    items = built(tmp_path, folder, namespace=cluster.namespace)
    known = [item for item in items if not item["apiVersion"].startswith("monitoring.coreos.com/")]
    warnings: list[str] = []
    rollout = Rollout(cluster.kube.adjusted(on_warning=warnings.append), dry_run="server", force=True)
    results = list(rollout.apply(known))
    assert [str(result.error) for result in results if result.error is not None] == []
    assert warnings == []
    assert results


@pytest.mark.parametrize("name", OPTIONS)
def test_every_kind_that_is_written_is_known_to_the_order_of_deletions(name: str) -> None:
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario, options=OPTIONS[name])
    objects = (item for file in files for item in yaml.load_all(file.text, yaml.CSafeLoader))
    kinds = {(item["apiVersion"], item["kind"]) for item in objects}
    unpruned = {kind for kind in kinds if kind[1] in ("Kustomization", "Namespace")}
    assert kinds - unpruned <= set(PRUNED)
