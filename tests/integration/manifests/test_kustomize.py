"""The written folder as kubectl's own kustomize builds it; no cluster is asked."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from planner.manifests import render_plan, write_manifests
from tests.support.kubernetes_objects import KUSTOMIZE, objects_in
from tests.support.plans import a_plan, everything

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl builds the kustomization")


def test_kubectl_builds_every_object_and_brings_services_before_models(tmp_path):
    scenario, *items = everything()
    files = render_plan(a_plan(scenario, *items), scenario)
    write_manifests(files, tmp_path / "manifests")
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / "manifests")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = objects_in(done.stdout)
    written = [item for file in files for item in objects_in(file.text)]
    written = [item for item in written if not item["apiVersion"].startswith(KUSTOMIZE)]
    assert sorted(map(str, built)) == sorted(map(str, written))
    kinds = [item["kind"] for item in built]
    assert kinds[:2] == ["Namespace", "ServiceAccount"]
    last_service = max(index for index, kind in enumerate(kinds) if kind == "InferenceService")
    assert last_service < kinds.index("TrainedModel")
