"""Whether objects are what an API server would take, without one.

Three judges: Kubernetes' own schemas for core objects (strict: an unknown field is a fault), our narrow
schema of the KServe fields that we emit, and KServe's real custom resource definitions where they are given.
A real API server silently drops a field that a definition does not know, so an unknown field is a fault here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

KSERVE = "serving.kserve.io/"
KUSTOMIZE = "kustomize.config.k8s.io/"
KUBERNETES_VERSION = "1.30"

_NARROW = Path(__file__).with_name("kserve_narrow.schema.json")


def objects_in(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML text."""
    return list(yaml.load_all(text, Loader=yaml.CSafeLoader))


def core_faults(item: dict[str, Any]) -> list[str]:
    """What Kubernetes' own schema has against an object of a core kind."""
    try:
        kubernetes_validate.validate(item, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{item['kind']}: {list(error.path)}: {error.message}"]
    return []


@cache
def _narrow() -> jsonschema.Draft202012Validator:
    schema = json.loads(_NARROW.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def narrow_faults(item: dict[str, Any]) -> list[str]:
    """What our schema of KServe's objects has against one; it knows only the fields that we emit."""
    return [f"{item['kind']}: {error.json_path}: {error.message}" for error in _narrow().iter_errors(item)]


@cache
def _definition(folder: Path, kind: str, version: str) -> dict[str, Any]:
    for path in sorted(folder.glob("*.yaml")):
        definition = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        if definition["spec"]["names"]["kind"] == kind:
            for entry in definition["spec"]["versions"]:
                if entry["name"] == version:
                    schema: dict[str, Any] = entry["schema"]["openAPIV3Schema"]
                    return schema
    raise LookupError(f"{folder} defines no {kind} {version}")


def definition_faults(item: dict[str, Any], folder: Path) -> list[str]:
    """What KServe's real definition has against an object, fields that it would drop included."""
    version = item["apiVersion"].removeprefix(KSERVE)
    schema = _definition(folder, item["kind"], version)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(item)
    found = [f"{item['kind']}: {error.json_path}: {error.message}" for error in errors]
    rest = {key: value for key, value in item.items() if key not in ("apiVersion", "kind", "metadata")}
    return [*found, *(f"{item['kind']}: {path}: would be dropped" for path in unknown_fields(rest, schema))]


def unknown_fields(value: Any, schema: dict[str, Any], path: str = "$") -> Iterator[str]:
    """The paths that a structural schema does not know."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, schema.get("items", {}), f"{path}[{index}]")
    elif isinstance(value, dict):
        known, further = schema.get("properties", {}), schema.get("additionalProperties")
        for key, item in value.items():
            if key in known:
                yield from unknown_fields(item, known[key], f"{path}.{key}")
            elif isinstance(further, dict):
                yield from unknown_fields(item, further, f"{path}.{key}")
            elif further is not True:
                yield f"{path}.{key}"
