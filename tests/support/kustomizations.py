"""The shipped kustomizations, built as people build them: in an overlay with a namespace and an image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes_objects import objects_in

KUSTOMIZE = Path(__file__).parents[2] / "kustomize"
IMAGE = "registry.example/shardpack"

Object = dict[str, Any]


def built(folder: Path, *resources: str, namespace: str) -> list[Object]:
    """The objects of an overlay on folders of ``kustomize/``, built in an empty folder."""
    overlay = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [f"kustomize/{name}" for name in resources],
        "images": [{"name": "shardpack", "newName": IMAGE}],
    }
    shutil.copytree(KUSTOMIZE, folder / "kustomize")
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return objects_in(done.stdout)


def of_kind(items: list[Object], kind: str) -> Object:
    """The only object of a kind."""
    (found,) = (item for item in items if item["kind"] == kind)
    return found


def granted(items: list[Object]) -> set[tuple[str, str, str]]:
    """What the roles among objects allow: verb, API group and resource."""
    return {
        (verb, group, resource)
        for item in items
        if item["kind"] in ("Role", "ClusterRole")
        for rule in item["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
