"""The kinds that the server knows: Kubernetes' own that are listed here, and what definitions add."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support.api_server.refusals import Object
from tests.support.api_server.schema import Schema, built_in_schema

OWN_DEFINITIONS = Path(__file__).with_name("definitions")
"""Narrow definitions of KServe's and the gateway's kinds, for tests that were given no real ones."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind in one version.

    ``generation`` says whether versions of its spec are counted; ``custom`` whether a definition made it.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    status: bool
    generation: bool
    custom: bool = False
    short_names: tuple[str, ...] = ()
    definition: Mapping[str, Any] | None = field(default=None, repr=False, compare=False, hash=False)

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def table(self) -> tuple[str, str]:
        """Where its objects are kept, whatever the version."""
        return (self.group, self.plural)

    @cached_property
    def schema(self) -> Schema:
        if self.definition is not None:
            return Schema(self.definition)
        return built_in_schema(self.group, self.version, self.kind)


# plural, kind, then: n namespaced, s has a status, g counts generations
_OWN: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "v1": (
        ("configmaps", "ConfigMap", "n"),
        ("events", "Event", "n"),
        ("namespaces", "Namespace", "s"),
        ("nodes", "Node", "s"),
        ("persistentvolumeclaims", "PersistentVolumeClaim", "ns"),
        ("pods", "Pod", "nsg"),
        ("secrets", "Secret", "n"),
        ("serviceaccounts", "ServiceAccount", "n"),
        ("services", "Service", "ns"),
    ),
    "admissionregistration.k8s.io/v1": (
        ("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", "g"),
    ),
    "apiextensions.k8s.io/v1": (("customresourcedefinitions", "CustomResourceDefinition", "sg"),),
    "apps/v1": (
        ("daemonsets", "DaemonSet", "nsg"),
        ("deployments", "Deployment", "nsg"),
        ("replicasets", "ReplicaSet", "nsg"),
        ("statefulsets", "StatefulSet", "nsg"),
    ),
    "batch/v1": (("cronjobs", "CronJob", "nsg"), ("jobs", "Job", "nsg")),
    "coordination.k8s.io/v1": (("leases", "Lease", "n"),),
    "discovery.k8s.io/v1": (("endpointslices", "EndpointSlice", "ng"),),
    "events.k8s.io/v1": (("events", "Event", "n"),),
    "networking.k8s.io/v1": (("ingresses", "Ingress", "nsg"), ("networkpolicies", "NetworkPolicy", "ng")),
    "policy/v1": (("poddisruptionbudgets", "PodDisruptionBudget", "nsg"),),
    "rbac.authorization.k8s.io/v1": (
        ("clusterrolebindings", "ClusterRoleBinding", ""),
        ("clusterroles", "ClusterRole", ""),
        ("rolebindings", "RoleBinding", "n"),
        ("roles", "Role", "n"),
    ),
}


_SHORT: Mapping[str, tuple[str, ...]] = {
    "configmaps": ("cm",),
    "customresourcedefinitions": ("crd", "crds"),
    "cronjobs": ("cj",),
    "daemonsets": ("ds",),
    "deployments": ("deploy",),
    "events": ("ev",),
    "ingresses": ("ing",),
    "namespaces": ("ns",),
    "networkpolicies": ("netpol",),
    "nodes": ("no",),
    "persistentvolumeclaims": ("pvc",),
    "poddisruptionbudgets": ("pdb",),
    "pods": ("po",),
    "replicasets": ("rs",),
    "serviceaccounts": ("sa",),
    "services": ("svc",),
    "statefulsets": ("sts",),
}


class Catalogue:
    """All kinds by their place in paths; definitions add to it while the server runs."""

    def __init__(self, definitions: Path | None = None) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        for kind in _own_kinds():
            self._add(kind)
        for folder in (OWN_DEFINITIONS, *([definitions] if definitions else [])):
            for item in definitions_in(folder):
                self.define(item)

    def get(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._kinds.values()))

    def define(self, definition: Object) -> None:
        """Add the kinds of a custom resource definition; they take the place of those it defined before."""
        self.forget(definition)
        for kind in _defined(definition):
            self._add(kind)

    def forget(self, definition: Object) -> None:
        spec = definition["spec"]
        place = (spec["group"], spec["names"]["plural"])
        for key in [key for key in self._kinds if (key[0], key[2]) == place]:
            del self._kinds[key]

    def _add(self, kind: Kind) -> None:
        self._kinds[(kind.group, kind.version, kind.plural)] = kind


def _own_kinds() -> Iterator[Kind]:
    for api_version, rows in _OWN.items():
        group, _, version = api_version.rpartition("/")
        for plural, kind, has in rows:
            yield Kind(
                group=group,
                version=version,
                plural=plural,
                kind=kind,
                namespaced="n" in has,
                status="s" in has,
                generation="g" in has,
                short_names=_SHORT.get(plural, ()),
            )


def _defined(definition: Object) -> Iterator[Kind]:
    spec = definition["spec"]
    names = spec["names"]
    for version in spec["versions"]:
        if version["served"]:
            yield Kind(
                group=spec["group"],
                version=version["name"],
                plural=names["plural"],
                kind=names["kind"],
                namespaced=spec["scope"] == "Namespaced",
                status="status" in version.get("subresources", {}),
                generation=True,
                custom=True,
                short_names=tuple(names.get("shortNames", ())),
                definition=version["schema"]["openAPIV3Schema"],
            )


@cache
def definitions_in(folder: Path) -> tuple[Object, ...]:
    """The custom resource definitions of a folder, sorted by file."""
    found: list[Object] = []
    for path in sorted(folder.glob("*.yaml")):
        items = yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
        found.extend(item for item in items if item and item["kind"] == "CustomResourceDefinition")
    return tuple(found)
