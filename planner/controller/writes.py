"""What has to be written to the cluster, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verb = Literal["create", "patch", "rewrite", "delete"]
Kind = Literal[
    "TrainedModel", "ConfigMap", "InferenceService", "Deployment", "Service", "PodDisruptionBudget"
]
Level = Literal["Normal", "Warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write to one object.

    Parameters
    ----------
    verb
        ``patch`` is a JSON merge patch; its body names the resource version that it was made from, so that it
        is refused where somebody else was faster. ``rewrite`` is the JSON patch under ``operations``.
    kind, name
        Which object.
    body
        The object, the patch, or the preconditions of the deletion.
    status
        Whether it is the status that is written.
    """

    verb: Verb
    kind: Kind
    name: str
    body: Mapping[str, Any]
    status: bool = False

    @property
    def target(self) -> tuple[Kind, str]:
        """Return the object that it is about."""
        return self.kind, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event: what was decided about which object, and why.

    Parameters
    ----------
    kind, name, uid
        The object; an unknown uid is empty.
    level, reason, message
        As Kubernetes' events have them.
    """

    kind: Kind
    name: str
    uid: str
    level: Level
    reason: str
    message: str


def create(kind: Kind, body: Mapping[str, Any]) -> Write:
    """Return the creation of an object."""
    return Write(verb="create", kind=kind, name=body["metadata"]["name"], body=body)


def patch(
    kind: Kind, name: str, body: Mapping[str, Any], *, resource_version: str, status: bool = False
) -> Write:
    """Return a merge patch of an object that was read at a resource version."""
    metadata = {**body.get("metadata", {}), "resourceVersion": resource_version}
    return Write(verb="patch", kind=kind, name=name, body={**body, "metadata": metadata}, status=status)


def rewrite(kind: Kind, name: str, body: Mapping[str, Any], *, resource_version: str) -> Write:
    """Return what gives an object that was read at a resource version another's spec, and its labels."""
    labels = body["metadata"]["labels"]
    operations = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        *(
            {"op": "add", "path": f"/metadata/labels/{key.replace('/', '~1')}", "value": labels[key]}
            for key in sorted(labels)
        ),
        {"op": "replace", "path": "/spec", "value": body["spec"]},
    ]
    return Write(verb="rewrite", kind=kind, name=name, body={"operations": operations})


def delete(kind: Kind, name: str, *, uid: str, resource_version: str) -> Write:
    """Return the deletion of exactly the object that was read."""
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    return Write(
        verb="delete",
        kind=kind,
        name=name,
        body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions},
    )
