"""What an object must be beside its schema: names, labels, sizes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.api_server.kinds import Kind
from tests.support.api_server.refusals import Cause, Object

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_KEY = re.compile(r"[-._a-zA-Z0-9]+")

MAX_CONFIG_MAP_BYTES = 1024 * 1024
MAX_ANNOTATIONS_BYTES = 256 * 1024

_RULES = {
    "subdomain": (
        _SUBDOMAIN,
        253,
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    ),
    "label": (
        _LABEL_1123,
        63,
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
    ),
    "dns1035": (
        _LABEL_1035,
        63,
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-' and start with a letter",
    ),
}
_NAMES = {"namespaces": "label", "services": "dns1035"}
_ANY_NAME = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
"""Kinds of RBAC may be called anything that is a segment of a path."""


def further_causes(kind: Kind, item: Object) -> Iterator[Cause]:
    """What is wrong with an object that its schema does not say."""
    metadata = item["metadata"]
    yield from _name_causes(kind, metadata)
    yield from _label_causes(metadata)
    yield from _annotation_causes(metadata)
    if kind.table == ("", "configmaps"):
        yield from _config_map_causes(item)


def _name_causes(kind: Kind, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    name = metadata["name"]
    if kind.group == "rbac.authorization.k8s.io" and kind.plural in _ANY_NAME:
        return
    pattern, longest, rule = _RULES[_NAMES.get(kind.plural if not kind.group else "", "subdomain")]
    if len(name) > longest:
        yield _invalid("metadata.name", name, f"must be no more than {longest} characters")
    if not pattern.fullmatch(name):
        yield _invalid("metadata.name", name, rule)


def _label_causes(metadata: Mapping[str, Any]) -> Iterator[Cause]:
    for key, value in (metadata.get("labels") or {}).items():
        yield from _key_causes("metadata.labels", key)
        if value and (len(value) > 63 or not _QUALIFIED.fullmatch(value)):
            rule = "a valid label is at most 63 alphanumeric characters, '-', '_' or '.', or empty"
            yield _invalid("metadata.labels", value, rule)


def _key_causes(field: str, key: str) -> Iterator[Cause]:
    prefix, slash, name = key.rpartition("/")
    if len(name) > 63 or not _QUALIFIED.fullmatch(name) or (slash and not _SUBDOMAIN.fullmatch(prefix)):
        yield _invalid(field, key, "name part must consist of alphanumeric characters, '-', '_' or '.'")


def _annotation_causes(metadata: Mapping[str, Any]) -> Iterator[Cause]:
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        yield from _key_causes("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > MAX_ANNOTATIONS_BYTES:
        yield Cause(
            reason="FieldValueTooLong",
            field="metadata.annotations",
            message=f"Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes",
        )


def _config_map_causes(item: Object) -> Iterator[Cause]:
    data, binary = item.get("data") or {}, item.get("binaryData") or {}
    for field, content in (("data", data), ("binaryData", binary)):
        for key in content:
            if not _KEY.fullmatch(key) or len(key) > 253:
                rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
                yield _invalid(f"{field}[{key}]", key, rule)
    size = sum(len(value.encode()) for value in data.values() if isinstance(value, str))
    size += sum(3 * len(value) // 4 for value in binary.values() if isinstance(value, str))
    if size > MAX_CONFIG_MAP_BYTES:
        yield Cause(
            reason="FieldValueTooLong",
            field="[]",
            message=f"Too long: may not be more than {MAX_CONFIG_MAP_BYTES} bytes",
        )


def _invalid(field: str, value: str, rule: str) -> Cause:
    return Cause(
        reason="FieldValueInvalid", field=field, message=f"Invalid value: {json.dumps(value)}: {rule}"
    )
