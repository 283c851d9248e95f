"""The written folder as kubectl's own kustomize builds it; no cluster is asked."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from planner.manifests import ManifestOptions, render_plan, write_manifests
from tests.support.builders import a_model, a_scenario
from tests.support.kubernetes_objects import KUSTOMIZE, objects_in
from tests.support.plans import a_plan, everything, on

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization")


def built_by_kubectl(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return objects_in(done.stdout)


def test_kubectl_reads_names_as_the_text_that_they_are(tmp_path):
    """PyYAML and Go disagree on what is a number: 1e3 is text for one and 1000 for the other."""
    names = ("0o17", "12e4567", "1e3", "n", "y")
    scenario = a_scenario(*(a_model(name) for name in names), name="1e3")
    write_manifests(
        render_plan(a_plan(scenario, *(on(name) for name in names)), scenario), tmp_path / "manifests"
    )
    built = built_by_kubectl(tmp_path / "manifests")
    models = [item["metadata"] for item in built if item["kind"] == "TrainedModel"]
    assert sorted(item["name"] for item in models) == list(names)
    assert {item["labels"]["shardpack.dev/scenario"] for item in models} == {"1e3"}


def test_kubectl_builds_what_monitoring_needs():
    built = built_by_kubectl(Path(__file__).parents[3] / "kustomize" / "monitoring")
    assert {item["kind"] for item in built} == {"ConfigMap", "PodMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    "options",
    [
        ManifestOptions(),
        ManifestOptions(gateway="nginx", network_policies=True),
        ManifestOptions(gateway="httproute", gateway_parent="infra/public"),
    ],
    ids=lambda options: options.gateway,
)
def test_kubectl_builds_every_object_and_brings_services_before_models(tmp_path, options):
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario, options=options)
    write_manifests(files, tmp_path / "manifests")
    built = built_by_kubectl(tmp_path / "manifests")
    written = [item for file in files for item in objects_in(file.text)]
    written = [item for item in written if not item["apiVersion"].startswith(KUSTOMIZE)]
    assert sorted(map(str, built)) == sorted(map(str, written))
    kinds = [item["kind"] for item in built]
    assert kinds[0] == "Namespace"
    assert kinds.index("ServiceAccount") < kinds.index("InferenceService")
    last_service = max(index for index, kind in enumerate(kinds) if kind == "InferenceService")
    assert last_service < kinds.index("TrainedModel")
