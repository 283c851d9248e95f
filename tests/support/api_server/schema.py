"""Schemas of kinds: what a structural schema drops, fills in and refuses, and how its lists merge.

The same walk serves custom resource definitions (``openAPIV3Schema``) and Kubernetes' own kinds, whose
schemas (of the package kubernetes-validate) refer to shared definitions.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from referencing import Registry, Resource

from tests.support.api_server.refusals import Cause

KUBERNETES_VERSION = "1.36.0"
"""The newest whose behaviour the server was written after."""

Node = Mapping[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"

OPEN: Node = {_PRESERVE: True}
"""The schema of what may be anything."""


class Schema:
    """A kind's schema.

    ``root`` is the schema of the whole object; ``definitions`` what its ``$ref`` end in.
    """

    def __init__(
        self, root: Node, *, definitions: Mapping[str, Node] | None = None, registry: Any = None
    ) -> None:
        self._root = root
        self._definitions = definitions or {}
        checked = root if definitions else _for_jsonschema(root)
        options = {"registry": registry} if registry is not None else {}
        self._validator = jsonschema.Draft202012Validator(checked, **options)

    @property
    def root(self) -> Node:
        return self._root

    def resolve(self, node: Node) -> Node:
        """The schema that a node is, its reference followed."""
        while "$ref" in node:
            node = self._definitions[node["$ref"].rpartition("/")[2]]
        return node

    def below(self, node: Node, key: str) -> Node | None:
        """The schema of a field of an object; None if the object has no such field."""
        node = self.resolve(node)
        known = node.get("properties", {})
        if key in known:
            return self.resolve(known[key])
        further = node.get("additionalProperties")
        if isinstance(further, Mapping):
            return self.resolve(further)
        # Kubernetes' own schemas say nothing of what is any JSON, structural ones say so.
        anything = bool(self._definitions) and "properties" not in node
        return OPEN if further is True or anything or node.get(_PRESERVE) else None

    def items(self, node: Node) -> Node:
        return self.resolve(self.resolve(node).get("items", OPEN))

    # ------------------------------------------------------------------------------------------------ pruning

    def prune(self, item: dict[str, Any]) -> list[str]:
        """Remove from an object what its schema does not know; return the paths, as ``spec.foo``."""
        dropped: list[str] = []
        for key in list(item):
            if key in ("apiVersion", "kind", "metadata"):
                continue
            known = self.below(self._root, key)
            if known is None:
                dropped.append(key)
                del item[key]
            else:
                self._prune(item[key], known, key, dropped)
        return dropped

    def _prune(self, value: Any, node: Node, path: str, dropped: list[str]) -> None:
        node = self.resolve(node)
        if isinstance(value, list):
            for index, element in enumerate(value):
                self._prune(element, self.items(node), f"{path}[{index}]", dropped)
            return
        if not isinstance(value, dict):
            return
        for key in list(value):
            known = self.below(node, key)
            if known is None:
                if node.get("x-kubernetes-embedded-resource") and key in ("apiVersion", "kind", "metadata"):
                    continue
                dropped.append(f"{path}.{key}")
                del value[key]
            else:
                self._prune(value[key], known, f"{path}.{key}", dropped)

    # ----------------------------------------------------------------------------------------------- defaults

    def fill(self, item: dict[str, Any]) -> None:
        """Put defaults where a field is missing, as structural schemas say (top down)."""
        self._fill(item, self._root)

    def _fill(self, value: Any, node: Node) -> None:
        node = self.resolve(node)
        if isinstance(value, list):
            for element in value:
                self._fill(element, self.items(node))
        elif isinstance(value, dict):
            for key, child in node.get("properties", {}).items():
                wanted = self.resolve(child)
                missing = key not in value or (value[key] is None and not wanted.get("nullable"))
                if missing and wanted.get("default"):  # Go's zero values are no defaults
                    value[key] = copy.deepcopy(wanted["default"])
            for key, element in value.items():
                if isinstance(element, (dict, list)):
                    known = self.below(node, key)
                    if known is not None:
                        self._fill(element, known)

    # ---------------------------------------------------------------------------------------------- judgement

    def causes(self, item: Mapping[str, Any]) -> Iterator[Cause]:
        """Everything that is wrong with an object."""
        for error in self._validator.iter_errors(item):
            yield from _causes(error)


def _causes(error: jsonschema.ValidationError) -> Iterator[Cause]:
    path = _path(error)
    match error.validator:
        case "required":
            missing = re.match(r"'(.*)' is a required property", error.message)
            name = missing[1] if missing else "?"
            yield Cause(
                reason="FieldValueRequired",
                field=f"{path}.{name}".removeprefix("."),
                message="Required value",
            )
        case "enum":
            known = ", ".join(json.dumps(item) for item in error.validator_value if item is not None)
            yield Cause(
                reason="FieldValueNotSupported",
                field=path,
                message=f"Unsupported value: {json.dumps(error.instance)}: supported values: {known}",
            )
        case "type":
            wanted = error.validator_value
            name = wanted if isinstance(wanted, str) else next(item for item in wanted if item != "null")
            yield Cause(
                reason="FieldValueTypeInvalid",
                field=path,
                message=f"Invalid value: {_short(error.instance)}: {path} in body must be of type {name}: "
                f'"{_type_name(error.instance)}"',
            )
        case _:
            yield Cause(
                reason="FieldValueInvalid",
                field=path,
                message=f"Invalid value: {_short(error.instance)}: {path} in body {error.message}",
            )


def _path(error: jsonschema.ValidationError) -> str:
    text = ""
    for part in error.absolute_path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


_TYPE_NAMES = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


def _type_name(value: object) -> str:
    return next((name for kind, name in _TYPE_NAMES if isinstance(value, kind)), "null")


_OF_SCHEMAS = ("items", "additionalProperties", "not", "allOf", "anyOf", "oneOf")
_SAYS_NOTHING = ("description", "default", "example", "format")


def _for_jsonschema(node: Any) -> Any:
    """A structural schema in JSON Schema's words: ``nullable`` and int-or-string are its own."""
    if isinstance(node, list):
        return [_for_jsonschema(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    found: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            found[key] = {name: _for_jsonschema(child) for name, child in value.items()}
        elif key in _OF_SCHEMAS:
            found[key] = _for_jsonschema(value)
        elif key not in _SAYS_NOTHING:
            found[key] = value
    _translate(found)
    return found


def _translate(found: dict[str, Any]) -> None:
    """Put what OpenAPI says otherwise into JSON Schema's words."""
    if found.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    if found.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
        found["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    for bound in ("Maximum", "Minimum"):
        # A boolean in OpenAPI 3.0, a number in JSON Schema.
        if found.pop(f"exclusive{bound}", False):
            found[f"exclusive{bound}"] = found.pop(bound.lower())


# ------------------------------------------------------------------------------------------- Kubernetes' own


@cache
def _definitions() -> tuple[Mapping[str, Node], Any]:
    text = _file("_definitions.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return content["$defs"], Resource.from_contents(content) @ Registry()


def _file(name: str) -> Any:
    folder = f"v{KUBERNETES_VERSION}-local"
    return files("kubernetes_validate") / "kubernetes-json-schema" / folder / name


@cache
def built_in_schema(group: str, version: str, kind: str) -> Schema:
    """The schema of a kind that Kubernetes has."""
    definitions, registry = _definitions()
    prefix = f"{group.split('.', maxsplit=1)[0]}-" if group else ""
    root = json.loads(_file(f"{kind.lower()}-{prefix}{version}.json").read_text(encoding="utf-8"))
    return Schema(root, definitions=definitions, registry=registry)
